"""Bugs to learn from and to be measured on by the thousand: the benchmark's mutator plants them, batches run them; one line of one file."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.runner import Runner
from training.benchmark.judging import Oracle, agrees
from training.benchmark.mbpp import Bug, Task
from training.benchmark.mutation import Kind, Mutant, mutants
from training.corpus_dialogue import Planted, answer, changed_lines
from training.corpus_execution import Job, Seen, execute_many

SHOWN = 2
"""Asserts that a prompt may tell of."""


@dataclass(frozen=True)
class Checked:
    """A right program with asserts that hold; those from the third on are not shown."""

    name: str
    text: str
    asserts: tuple[str, ...]


@dataclass
class Refused:
    """Mutants that were not used, by reason."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


def plant_many(
    runner: Runner, programs: Sequence[Checked], kinds: Sequence[Kind], each: int, seed: int, refused: Refused
) -> list[Planted]:
    """Up to ``each`` bugs of one line of every kind in every program whose shown asserts notice them."""
    made: list[tuple[Checked, Mutant]] = []
    for one in programs:
        for kind in kinds:
            made += [(one, mutant) for mutant in _some(one.text, kind, f"{seed}/{one.name}", each, refused)]
    found: dict[tuple[str, str], list[Planted]] = {}
    jobs = [Job(mutant.text, one.asserts[:SHOWN]) for one, mutant in made]
    for (one, mutant), seen in zip(made, execute_many(runner, jobs), strict=True):
        same = found.setdefault((one.name, mutant.kind), [])
        if _usable(seen, refused) and len(same) < each and answer(mutant.text, one.text, seen.messages) is not None:
            same.append(Planted(f"{one.name}/{mutant.kind}/{len(same)}", one.name, mutant.kind, mutant.operator, mutant.text, one.text,
                                one.asserts[:SHOWN], seen.messages, one.asserts[SHOWN:]))  # fmt: skip
    return [one for same in found.values() for one in same]


def _some(program: str, kind: Kind, seed: str, each: int, refused: Refused) -> Iterator[Mutant]:
    """One more than is wanted, since tests do not notice each."""
    number = random.Random(seed).randrange(1 << 30)
    left = each + 1
    try:
        for mutant in mutants(program, kind, number):
            if changed_lines(mutant.text, program) is None:
                refused.add("more than one line")
                continue
            yield mutant
            left -= 1
            if not left:
                return
    except SyntaxError:
        refused.add("does not parse")


def _usable(seen: Seen, refused: Refused) -> bool:
    if seen.outcomes.program[0] != "value":
        refused.add("does not import")
    elif not any(seen.messages):
        refused.add("no shown assert fails")
    elif any(o[0] in ("timeout", "dead") for o in seen.outcomes.asserts):
        refused.add("hangs")
    else:
        return True
    return False


def plant_measured(
    runner: Runner, tasks: Sequence[Task], oracles: dict[int, Oracle], kinds: Sequence[Kind], seed: int, refused: Refused, attempts: int = 4
) -> list[tuple[Bug, Planted]]:
    """One bug of each task, as ``benchmark.mbpp.plant`` takes it: a shown assert fails, none hangs, held-back behaviour differs. Kinds
    take turns, so that each has its share."""
    made: list[tuple[Task, Mutant]] = []
    for task in tasks:
        if task.id in oracles:
            for kind in kinds:
                made += [(task, one) for one in list(_some(task.program, kind, f"{seed}/{task.id}", attempts, refused))]
    jobs = [Job(m.text, (*t.shown, oracles[t.id].hidden), oracles[t.id].calls) for t, m in made]
    found: dict[int, dict[str, tuple[Bug, Planted]]] = {}
    for (task, mutant), seen in zip(made, execute_many(runner, jobs), strict=True):
        shown = _first(seen, len(task.shown))
        if mutant.kind in found.get(task.id, {}) or not _usable(shown, refused) or is_right(seen, oracles[task.id], len(task.shown)):
            continue
        if answer(mutant.text, task.program, shown.messages) is None:
            refused.add("not one line that stands once")
            continue
        bug = Bug(f"mbpp/{task.id}/{mutant.kind}/0", task, mutant, oracles[task.id])
        planted = Planted(bug.id, f"mbpp/{task.id}", mutant.kind, mutant.operator, mutant.text, task.program, task.shown, shown.messages)
        found.setdefault(task.id, {})[mutant.kind] = (bug, planted)
    chosen = []
    for place, own in enumerate(found.values()):
        wanted = kinds[place % len(kinds)]
        chosen.append(own.get(wanted) or next(iter(own.values())))
    return chosen


def _first(seen: Seen, count: int) -> Seen:
    return Seen(replace(seen.outcomes, asserts=seen.outcomes.asserts[:count]), seen.messages[:count])


def is_right(seen: Seen, oracle: Oracle, shown: int) -> bool:
    """Whether all shown asserts hold, the hidden one too, and held-back calls give what the reference gives. ``seen`` ran the shown ones,
    then the hidden one, and the calls."""
    outcomes = seen.outcomes
    rest = replace(outcomes, asserts=outcomes.asserts[shown:])
    return all(outcomes.holds(n) for n in range(shown)) and agrees(oracle, rest)


def with_attempts(runner: Runner, bugs: Sequence[Planted], kinds: Sequence[Kind], seed: int) -> list[Planted]:
    """The bugs with a wrong answer each: another slip in the same file that some mutation makes. Those that find none are left out."""
    made = []
    for number, bug in enumerate(bugs):
        rng = random.Random(f"attempt/{seed}/{bug.id}")
        for mutant in _some(bug.wrong, kinds[number % len(kinds)], str(rng.random()), 1, Refused()):
            if mutant.text != bug.right:
                made.append((bug, mutant.text))
                break
    found = []
    for (bug, text), seen in zip(made, execute_many(runner, [Job(text, bug.asserts) for bug, text in made]), strict=True):
        tried = answer(bug.wrong, text, bug.messages)
        if tried is not None and any(seen.messages):
            found.append(replace(bug, id=f"{bug.id}/tried", tried=(tried, seen.messages)))
    return found


def to_json(planted: Planted) -> dict[str, Any]:
    return dict(planted.__dict__)


def from_json(rows: Iterable[dict[str, Any]]) -> list[Planted]:
    found = []
    for row in rows:
        tried = (row["tried"][0], tuple(row["tried"][1])) if row["tried"] is not None else None
        found.append(Planted(**{**row, "asserts": tuple(row["asserts"]), "messages": tuple(row["messages"]),
                                "hidden": tuple(row["hidden"]), "tried": tried}))
    return found
