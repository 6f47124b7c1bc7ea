"""Fit the probability that a verified patch is right, and say how far it can be believed.

``python -m training.benchmark.calibration RESULTS... --check RESULTS...`` reads what ``ledex-train bench mbpp`` wrote, fits
``inference/confidence.json`` on the first files (ids 601-974) and prints reliability and Brier score on the others (ids 511-600), beside a
constant: the share of right patches where it was fitted. Where the estimate is not better than the constant, the constant is written.

It is fitted and judged on the patches that were chosen and verified. ``--of behaviours`` fits it on every behaviour that passed the shown
tests, chosen or not, of which one search has several: that is for few bugs. On 104 verified patches it was the worse of the two, by ten
folds (Brier score 0.125 against 0.115) and on the 42 of the held-out ids (0.143 against 0.117): among all that passes, a surprising
expression is mostly one of many bad ones beside a good one; once it was chosen, that it is surprising says more.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.confidence import DATA, Coefficients, features, shipped
from training.benchmark import mbpp
from training.benchmark.run import Result, read_results

CHOSEN = ("odds", "alternatives", "surprise")
"""The features that are read; chosen by the Brier score of ten folds on ids 601-974 (``--features`` tries others)."""
RIDGE = 3.0
"""Pulls every weight towards none, as a penalty of so much for each one squared; the best of 1, 3, 5, 10 and 20 by 5, 7, 10 and 13 folds
of ids 601-974."""
FOLDS = 10
_BINS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.0))


@dataclass(frozen=True)
class Row:
    """A verified patch: the features of its signals, and whether it is right."""

    id: str
    features: Mapping[str, float]
    right: bool


@dataclass(frozen=True)
class Bin:
    """Patches whose estimate lies from ``low`` to ``high``: how many, their mean estimate, and the share that is right."""

    low: float
    high: float
    count: int
    estimate: float
    right: float


def rows_of(results: Iterable[Result], origin: str = "templates") -> list[Row]:
    """The first verified patch of each task, shown or withheld; tasks of held-back ids are left out."""
    found = []
    for result in results:
        if result.first_right is None or result.signals.get("origin") != origin or _is_held_back(result.id):
            continue
        signals = {name: float(value) for name, value in result.signals.items() if isinstance(value, (int, float))}
        found.append(Row(result.id, features(signals), result.first_right))
    return found


def behaviours_of(results: Iterable[Result]) -> list[Row]:
    """Every behaviour that was judged, of tasks that were searched once and are not held back."""
    found = []
    for result in results:
        if len(result.ranked) != 1 or _is_held_back(result.id):
            continue
        others = float(len(result.ranked[0]) - 1)
        found += [Row(result.id, features({**behaviour["signals"], "alternatives": others}), bool(behaviour["right"]))
                  for behaviour in result.ranked[0]]  # fmt: skip
    return found


def fit(rows: Sequence[Row], names: Sequence[str] = CHOSEN, ridge: float = RIDGE) -> Coefficients:
    """Logistic regression with a ridge penalty on standardized features, by Newton's method. The estimates stay one bug in two
    more than there are away from 0 and 1: no more can be told by so few."""
    bugs = len({r.id for r in rows})
    edge = 1.0 / (bugs + 2)
    means = {name: statistics.fmean(r.features.get(name, 0.0) for r in rows) for name in names}
    scales = {name: statistics.pstdev([r.features.get(name, 0.0) for r in rows]) or 1.0 for name in names}
    inputs = [[1.0, *((r.features.get(n, means[n]) - means[n]) / scales[n] for n in names)] for r in rows]
    weights = [0.0] * (len(names) + 1)
    for _ in range(50):
        gradient = [0.0 if at == 0 else ridge * w for at, w in enumerate(weights)]
        curvature = [[0.0] * len(weights) for _ in weights]
        for at in range(len(weights)):
            curvature[at][at] = ridge if at else 1e-9
        for row, x in zip(rows, inputs, strict=True):
            p = _logistic(sum(w * v for w, v in zip(weights, x, strict=True)))
            for at, value in enumerate(x):
                gradient[at] += (p - row.right) * value
                for to, other in enumerate(x):
                    curvature[at][to] += p * (1 - p) * value * other
        step = _solved(curvature, gradient)
        weights = [w - max(min(s, 2.0), -2.0) for w, s in zip(weights, step, strict=True)]
        if max(abs(s) for s in step) < 1e-10:
            break
    read = {n: (means[n], scales[n], w) for n, w in zip(names, weights[1:], strict=True)}
    return Coefficients(weights[0], read, edge, 1 - edge, bugs)


def constant(rows: Sequence[Row]) -> Coefficients:
    """Says the same of every patch: the share of right ones."""
    return fit(rows, ())


def brier(estimates: Sequence[float], rows: Sequence[Row]) -> float:
    """The mean squared distance of the estimates from what was true; smaller is better."""
    return statistics.fmean((p - r.right) ** 2 for p, r in zip(estimates, rows, strict=True))


def ranks_above(estimates: Sequence[float], rows: Sequence[Row]) -> float | None:
    """How often a right patch has a higher estimate than a wrong one (the area under the ROC curve); None without both kinds."""
    right = [p for p, r in zip(estimates, rows, strict=True) if r.right]
    wrong = [p for p, r in zip(estimates, rows, strict=True) if not r.right]
    if not right or not wrong:
        return None
    return sum((a > b) + 0.5 * (a == b) for a in right for b in wrong) / (len(right) * len(wrong))


def cross_validated(
    rows: Sequence[Row], make: Callable[[Sequence[Row]], Coefficients], seen: Sequence[Row] | None = None, folds: int = FOLDS
) -> list[float]:
    """An estimate for each row by coefficients made of ``seen`` (by default the rows) without its task; rows of one task are in one
    fold."""
    seen = rows if seen is None else seen
    tasks = sorted({_task(r.id) for r in [*rows, *seen]})
    fold = {task: n % folds for n, task in enumerate(tasks)}
    made = {n: make([r for r in seen if fold[_task(r.id)] != n]) for n in set(fold.values())}
    return [made[fold[_task(r.id)]].probability(r.features) for r in rows]


def reliability(estimates: Sequence[float], rows: Sequence[Row], bins: Sequence[tuple[float, float]] = _BINS) -> list[Bin]:
    """Bins that hold any patch, from the lowest estimate up."""
    found = []
    for low, high in bins:
        inside = [(p, r.right) for p, r in zip(estimates, rows, strict=True) if low <= p < high or p == high == 1.0]
        if inside:
            found.append(Bin(low, high, len(inside), statistics.fmean(p for p, _ in inside), statistics.fmean(r for _, r in inside)))
    return found


def report(title: str, estimates: Sequence[float], baseline: Sequence[float], rows: Sequence[Row]) -> str:
    """The reliability table, the Brier scores, and what withholding below each threshold comes to."""
    above = ranks_above(estimates, rows)
    lines = [f"{title}: {len(rows)} verified patches, {sum(r.right for r in rows)} right",
             f"  Brier score {brier(estimates, rows):.4f}, of a constant {brier(baseline, rows):.4f}; "
             f"a right one above a wrong one {f'{above:.2f}' if above is not None else 'undefined'}",
             "  estimate      patches  mean estimate  right"]  # fmt: skip
    lines += [f"  {b.low:.2f} to {b.high:.2f}  {b.count:7}  {b.estimate:13.2f}  {b.right:5.2f}" for b in reliability(estimates, rows)]
    for asked in (0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8):
        kept = [r.right for p, r in zip(estimates, rows, strict=True) if p >= asked]
        left = [r.right for p, r in zip(estimates, rows, strict=True) if p < asked]
        lines.append(f"  below {asked:.1f} withheld: {len(left)} ({len(left) - sum(left)} wrong); shown: {len(kept)}"
                     + (f", {sum(kept) / len(kept):.0%} right" if kept else ""))  # fmt: skip
    return "\n".join(lines)


def write(tables: Mapping[str, Coefficients], path: Path) -> None:
    """The coefficients as JSON; the same data give the same bytes."""
    found = {
        origin: {"intercept": round(c.intercept, 6), "weights": {n: [round(v, 6) for v in w] for n, w in sorted(c.weights.items())},
                 "lowest": round(c.lowest, 4), "highest": round(c.highest, 4), "bugs": c.bugs}
        for origin, c in sorted(tables.items())
    }  # fmt: skip
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _task(id_: str) -> int:
    return int(id_.split("/")[1])


def _is_held_back(id_: str) -> bool:
    return id_.startswith("mbpp/") and _task(id_) in mbpp.REPORTED


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(min(odds, 30.0), -30.0)))


def _solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """x of ``matrix`` x = ``right``, by elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for at in range(size):
        pivot = max(range(at, size), key=lambda n: abs(rows[n][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            rows[below] = [a - factor * b for a, b in zip(rows[below], rows[at], strict=True)]
    found = [0.0] * size
    for at in reversed(range(size)):
        found[at] = (rows[at][size] - sum(rows[at][n] * found[n] for n in range(at + 1, size))) / rows[at][at]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.benchmark.calibration", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="JSONL of `ledex-train bench mbpp --ids 601-974 --seed N`")
    parser.add_argument("--check", nargs="*", type=Path, default=[], help="the same of ids 511-600, which nothing is fitted on")
    parser.add_argument("--of", choices=("verified", "behaviours"), default="verified", help="what it is fitted on")
    parser.add_argument("--features", nargs="*", default=list(CHOSEN), help="read these instead")
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--dry-run", action="store_true", help="print only")
    given = parser.parse_args(arguments)
    results = [r for path in given.results for r in read_results(path) if _task(r.id) in mbpp.STATISTICS]
    rows, behaviours = rows_of(results), behaviours_of(results)
    seen = behaviours if given.of == "behaviours" else rows
    checked = [r for path in given.check for r in rows_of(read_results(path)) if _task(r.id) in mbpp.TUNING]
    if len({r.right for r in seen}) < 2 or not rows:
        print("right and wrong patches of ids 601-974 are needed: run ledex-train bench mbpp --ids 601-974 --seed N first", file=sys.stderr)
        return 2
    print(f"fitted on {given.of}: {len(seen)} patches of {len({r.id for r in seen})} bugs, {sum(r.right for r in seen)} right")
    fitted, same = fit(seen, given.features), constant(rows)
    folds, of_constant = cross_validated(rows, lambda some: fit(some, given.features), seen), cross_validated(rows, constant)
    print(report(f"Ids 601-974, each estimated by the other {FOLDS - 1} of {FOLDS} folds", folds, of_constant, rows))
    for name, (mean, scale, weight) in fitted.weights.items():
        print(f"  {name:13} mean {mean:7.3f}  scale {scale:6.3f}  weight {weight:+.3f}")
    carries = brier(folds, rows) < brier(of_constant, rows)
    if checked:
        estimates, baseline = ([c.probability(r.features) for r in checked] for c in (fitted, same))
        print(report("Ids 511-600, by all of 601-974", estimates, baseline, checked))
        if (in_use := shipped().get("templates")) is not None:
            print(report("Ids 511-600, by the table in use", [in_use.probability(r.features) for r in checked], baseline, checked))
        carries = carries and brier(estimates, checked) < brier(baseline, checked)
    if not carries:
        print(f"The signals say no more than a constant: {same.probability({}):.3f} is kept.")
    if not given.dry_run:
        write({"templates": fitted if carries else same}, given.out)
        print(f"written: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
