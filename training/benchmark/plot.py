"""The picture of a benchmark run: what was fixed per kind, and how fast. matplotlib is imported only here, only when called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.benchmark.mutation import LABELS
from training.benchmark.run import Result
from training.benchmark.tables import fix_rates


def draw(results: Sequence[Result], title: str, path: Path) -> None:
    """Writes a PNG: bars of fixed and right (or place right) per kind, and the share fixed over seconds of search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (bars, curve) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    rows = fix_rates(results).rows
    judged = any(r.right is not None for r in results)
    names = [row[0].replace(", ", ",\n").replace(" or ", "\nor ") for row in rows]
    total = [int(row[1]) for row in rows]
    at = range(len(rows))
    bars.bar([x - 0.2 for x in at], [100 * int(row[2]) / n for row, n in zip(rows, total, strict=True)], 0.4, label="fixed")
    second = [100 * int(row[4]) / n for row, n in zip(rows, total, strict=True)]
    bars.bar([x + 0.2 for x in at], second, 0.4, label="right" if judged else "place right")
    bars.set_xticks(list(at), [f"{name}\n(n={n})" for name, n in zip(names, total, strict=True)], fontsize=7)
    bars.set_ylim(0, 120)  # room for the legend
    bars.set_ylabel("% of tasks")
    bars.legend()
    longest = max((float(r.timings["chosen"]) for r in results if isinstance(r.timings.get("chosen"), (int, float))), default=1.0)
    for kind in dict.fromkeys(r.kind for r in results):
        group = [r for r in results if r.kind == kind]
        times = sorted(float(r.timings["chosen"]) for r in group if r.fixed and isinstance(r.timings.get("chosen"), (int, float)))
        if times:
            shares = [0.0, *(100 * (i + 1) / len(group) for i in range(len(times)))]
            curve.step([0.0, *times, longest], [*shares, shares[-1]], where="post", label=LABELS.get(kind, kind))
            curve.legend(fontsize=7)
    curve.set_xlabel("seconds to the chosen patch")
    curve.set_ylabel("% of the kind fixed")
    curve.set_ylim(0, 100)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
