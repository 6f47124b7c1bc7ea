"""How well the plausible patches are ranked, and the templates' record, counted from what ``ledex-train bench mbpp`` wrote.

``python -m training.benchmark.ranking RESULTS...`` prints how often the right behaviour comes first where it is among those that passed
the shown tests, what each term of the cost does to that, each template's record as ``inference.prior`` weighs it, how often what is
doubtful is wrong, and how much of the budget the templates need.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.prior import RECORD, WEIGHTS, weighed
from training.benchmark import mbpp
from training.benchmark.run import Result, read_results

_FACTORS = (0.0, 0.5, 2.0)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Behaviour:
    """One behaviour that passed the shown tests, by its likeliest patch: ``agreement`` is what others that act alike add to its weight."""

    template: str
    terms: Mapping[str, float]
    agreement: float
    right: bool


def searches(results: Iterable[Result]) -> list[list[Behaviour]]:
    """Of each task that is not held back the behaviours of its one search, best first; tasks that were searched by parts are left out."""
    found = []
    for result in results:
        held_back = result.id.startswith("mbpp/") and int(result.id.split("/")[1]) in mbpp.REPORTED
        if len(result.ranked) == 1 and result.ranked[0] and not held_back:
            found.append([_behaviour(row) for row in result.ranked[0]])
    return found


def firsts(found: Sequence[Sequence[Behaviour]], weights: Mapping[str, float], record: Mapping[str, float]) -> tuple[int, int]:
    """(searches whose right behaviour comes first under these weights, searches that have a right one)."""
    having = [one for one in found if any(b.right for b in one)]
    return sum(min(one, key=lambda b: price(b, weights, record)).right for one in having), len(having)


def price(behaviour: Behaviour, weights: Mapping[str, float], record: Mapping[str, float]) -> float:
    return weighed({**behaviour.terms, "record": record.get(behaviour.template, 0.0)}, weights) - behaviour.agreement


def record_of(found: Iterable[Sequence[Behaviour]]) -> dict[str, tuple[int, int]]:
    """Template -> (right, wrong) behaviours."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for one in found:
        for behaviour in one:
            (right if behaviour.right else wrong)[behaviour.template] += 1
    return {name: (right[name], wrong[name]) for name in sorted({*right, *wrong})}


def half_log_odds(right: int, wrong: int) -> float:
    """Of wrong to right, one added to each."""
    return 0.5 * math.log((wrong + 1) / (right + 1))


def _behaviour(row: Mapping[str, object]) -> Behaviour:
    signals = row["signals"]
    assert isinstance(signals, dict)
    terms = {name: float(signals.get(name, 0.0)) for name in WEIGHTS}
    return Behaviour(str(row["template"]), terms, float(signals["agreement"]), bool(row["right"]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.benchmark.ranking", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="JSONL of `ledex-train bench mbpp`")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds that each repair had")
    given = parser.parse_args(arguments)
    results = [r for path in given.results for r in read_results(path)]
    found = searches(results)
    if not found:
        print("no search of these results holds a plausible patch: run ledex-train bench mbpp first", file=sys.stderr)
        return 2
    first, having = firsts(found, WEIGHTS, RECORD)
    print(f"{len(found)} searches, {sum(map(len, found))} behaviours that pass the shown tests; a right one is among {having}")
    print(f"the right one comes first in {first} of {having}; with a term's weight changed:")
    for name in WEIGHTS:
        factors = _FACTORS if WEIGHTS[name] else (1.0, 2.0, 4.0)
        base = WEIGHTS[name] or 0.5
        print(f"  {name:10}" + "".join(f"  x{f:g}: {firsts(found, {**WEIGHTS, name: base * f}, RECORD)[0]}" for f in factors))
    print("template: right, wrong, half the log odds of wrong to right (in use)")
    for name, (right, wrong) in record_of(found).items():
        print(f"  {name:24} {right:4} {wrong:4}  {half_log_odds(right, wrong):+.2f}  ({RECORD.get(name, 0.0):+.2f})")
    judged = [r for r in results if r.first_right is not None]
    for label, some in (("no overfit check had an opinion and others passed", [r for r in judged if _is_doubtful(r)]),
                        ("the others", [r for r in judged if not _is_doubtful(r)])):  # fmt: skip
        print(f"{label}: {len(some)} patches, {sum(not r.first_right for r in some)} wrong")
    chosen = [float(r.timings["chosen"]) for r in results if r.fixed and r.timings.get("chosen") is not None]
    if chosen:
        print(f"of {len(chosen)} fixes, chosen within a share of {given.budget:g} s: " + ", ".join(
            f"{share:.0%}: {sum(s <= share * given.budget for s in chosen)}" for share in _SHARES))  # fmt: skip
    return 0


def _is_doubtful(result: Result) -> bool:
    """The rule of ``inference.choice.is_doubtful`` for origins without a score."""
    return result.level in ("V3", "") and float(result.signals.get("alternatives") or 0) > 0


if __name__ == "__main__":
    sys.exit(main())
