"""Tables of a benchmark run: pure functions from results to rows, and rows to markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.benchmark.mutation import KINDS, LABELS
from training.benchmark.run import Result

TIERS = ("in_process", "fork", "import", "cold")


@dataclass(frozen=True)
class Table:
    """A title, column names, and rows of text of the same length."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(results: Sequence[Result]) -> list[Table]:
    """All tables of one suite's results, in reading order."""
    made = [fix_rates(results), seconds(results), throughput(results), misses(results)]
    return [table for table in made if table.rows]


def fix_rates(results: Sequence[Result]) -> Table:
    """Fixed and right per kind; the real bugs have no judge of rightness beyond their tests, so the place of the change stands there."""
    judged = any(r.right is not None for r in results)
    last = ("right", "right, %", "right in the first 5") if judged else ("place right",)
    rows = []
    groups = [(kind, [r for r in results if r.kind == kind]) for kind in _kinds(results)]
    for name, group in [*groups, ("all", list(results))] if results else []:
        fixed, right = sum(r.fixed for r in group), sum(bool(r.right) for r in group)
        shown = (str(right), _percent(right, len(group)), str(sum(r.right_rank is not None for r in group)))
        places = (str(sum(bool(r.place) for r in group)),)
        rows.append((LABELS.get(name, name), str(len(group)), str(fixed), _percent(fixed, len(group)), *(shown if judged else places)))
    return Table("Fixed", ("kind", "tasks", "fixed", "fixed, %", *last), tuple(rows))


def seconds(results: Sequence[Result]) -> Table:
    """Median and 90th percentile, over the tasks that got there."""
    names = {
        "first plausible patch": "first_plausible", "chosen patch": "chosen", "reproduction": "reproduction", "environment": "environment",
        "in all": "total",
    }  # fmt: skip
    rows = []
    for label, key in names.items():
        values = [float(r.timings[key]) for r in results if isinstance(r.timings.get(key), (int, float))]
        if values:
            rows.append(
                (label, str(len(values)), f"{statistics.median(values):.2f}", f"{percentile(values, 0.9):.2f}", f"{max(values):.2f}")
            )
    return Table("Seconds to", ("", "tasks", "median", "p90", "longest"), tuple(rows))


def throughput(results: Sequence[Result]) -> Table:
    """Candidates judged in each tier, how many a second, and the peak memory of a repair (its largest process)."""
    rows = []
    for tier in TIERS:
        count, spent = 0, 0.0
        for result in results:
            by_tier = result.candidates.get("seconds")
            if isinstance(by_tier, dict):
                count += int(result.candidates.get(tier) or 0)
                spent += float(by_tier.get(tier) or 0.0)
        if count:
            rows.append((f"candidates, {tier.replace('_', ' ')}", str(count), f"{count / spent:.1f}" if spent else "-"))
    memory = [r.peak_memory_bytes / 2**20 for r in results if r.peak_memory_bytes]
    if memory:
        rows.append(("peak memory, MiB (median / largest)", f"{statistics.median(memory):.0f}", f"{max(memory):.0f}"))
    return Table("Throughput and memory", ("", "all", "a second"), tuple(rows))


def strategies(by_strategy: Mapping[str, Sequence[Result]]) -> Table:
    """What refining and resampling came to, and what each spent of the model."""
    rows = []
    for name, results in by_strategy.items():
        asked = [r.model for r in results if r.model]
        tokens = [m.get("tokens", {}) for m in asked]
        rows.append((
            name, str(len(results)), str(sum(r.fixed for r in results)), str(sum(bool(r.right) for r in results)),
            str(sum(m.get("answers", 0) for m in asked)), str(sum(t.get("prompt", 0) - t.get("cached", 0) for t in tokens)),
            str(sum(t.get("completion", 0) for t in tokens)), f"{sum(m.get('gpu_seconds', 0.0) for m in asked):.1f}",
            f"{sum(m.get('cost', 0.0) for m in asked):.4f}"))  # fmt: skip
    columns = ("", "tasks", "fixed", "right", "answers", "prompt tokens, uncached", "completion tokens", "GPU-seconds", "cost")
    return Table("At the same samples, tokens and seconds", columns, tuple(rows))


def misses(results: Sequence[Result]) -> Table:
    """Tasks that were not fixed by reason, per kind."""
    kinds = _kinds(results)
    counts = Counter((r.miss, r.kind) for r in results if r.miss)
    reasons = sorted({reason for reason, _ in counts}, key=lambda reason: -sum(counts[reason, kind] for kind in kinds))
    rows = [
        (reason, *(str(counts[reason, kind]) for kind in kinds), str(sum(counts[reason, kind] for kind in kinds))) for reason in reasons
    ]
    return Table("Misses", ("reason", *(LABELS.get(kind, kind) for kind in kinds), "all"), tuple(rows))


def per_task(results: Sequence[Result]) -> Table:
    """One row per task, for suites small enough to read."""
    rows = [
        (
            r.id,
            r.kind,
            "fixed" if r.fixed else r.miss,
            {True: "yes", False: "no", None: ""}[r.place],
            r.level,
            f"{r.seconds:.0f}",
            r.detail[:80],
        )
        for r in results
    ]
    return Table("Every task", ("id", "kind", "result", "place right", "level", "s", "detail"), tuple(rows))


def markdown(made: Sequence[Table]) -> str:
    """The tables as GitHub markdown."""
    parts = []
    for table in made:
        lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
        parts.append(f"### {table.title}\n\n{body}\n")
    return "\n".join(parts)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _kinds(results: Sequence[Result]) -> list[str]:
    present = dict.fromkeys(r.kind for r in results)
    return [k for k in KINDS if k in present] + sorted(k for k in present if k not in KINDS)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "-"
