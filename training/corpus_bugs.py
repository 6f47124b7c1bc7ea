"""Bugs to learn from and to be measured on, thousands of them: planted by the benchmark's mutator, run in batches, told in few words.

A bug is one line of one file. The dialogue is ``inference.prompt.render_prompt``'s of a context that holds that file and what the first
failing tests report; the answer is ``inference.completion.render_completion``'s. A model of a million weights can read and write those.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inference.completion import Malformed, Parsed, apply_edits, parse_completion, render_completion, survives
from inference.context import Context, Excerpt
from inference.prompt import Turn, render_prompt
from inference.trajectory import Message
from sandbox.runner import Runner
from training.benchmark.judging import Oracle, agrees
from training.benchmark.mbpp import Bug, Task
from training.benchmark.mutation import Kind, Mutant, mutants
from training.corpus_execution import Job, Seen, execute_many
from training.teaching import known_edit

PATH = "solution.py"
SHOWN = 2
"""Asserts that a prompt may tell of."""
_TEST_NAMES = ("test_first", "test_second")
_MOST_MESSAGE, _MOST_VALUE, _MOST_FAILURES = 160, 16, 2
_PART = re.compile(r"\w+|\s+|[^\w\s]")
_COMPARED = re.compile(r"assert (.*) == (.*)\n", re.S)


@dataclass(frozen=True)
class Checked:
    """A right program with asserts that hold; those from the third on are not shown."""

    name: str
    text: str
    asserts: tuple[str, ...]


@dataclass(frozen=True)
class Planted:
    """A bug as data. ``messages``: of each shown assert, "" where it holds. ``group``: the right program's name, which splits go by.
    ``hidden``: further asserts, which a reward may count and no prompt shows.
    ``tried``: an answer that was given already and does not repair it, with the messages that it led to."""

    id: str
    group: str
    kind: str
    operator: str
    wrong: str
    right: str
    asserts: tuple[str, ...]
    messages: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    tried: tuple[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Solved:
    """What a completion makes of a bug's file: its text, or why there is none."""

    text: str | None
    explanation: str
    explanation_end: int | None
    refinement: str
    trouble: str = ""


@dataclass
class Refused:
    """Mutants that were not used, by reason."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


def explain(wrong: str, right: str, messages: Sequence[str]) -> str:
    """Two sentences: what the first failing test saw, and what has to become what. "" where more than one line differs."""
    lines = _changed_lines(wrong, right)
    if lines is None:
        return ""
    old, new = _changed_part(*lines)
    message = next((one for one in messages if one), "")
    compared = _COMPARED.match(message)
    if compared is not None and max(map(len, compared.groups())) <= _MOST_VALUE:
        seen = f"It gives {compared[1]} instead of {compared[2]}."
    elif compared is not None or not message:
        seen = "The result is wrong."
    else:
        seen = "It does not end." if message == "it does not end" else f"It raises {message.split(':')[0]}."
    return f"{seen} `{old}` has to be `{new}`."


def answer(wrong: str, right: str, messages: Sequence[str]) -> str | None:
    """The completion that turns one text into the other; None where that takes more than one line, or the parser would not read it."""
    if _changed_lines(wrong, right) is None:
        return None
    found = known_edit(PATH, wrong, right)
    if found is None or found.search.count("\n") > 1:
        return None
    edit = replace(found, search=found.search.removesuffix("\n"), replace=found.replace.removesuffix("\n"))
    said = explain(wrong, right, messages)
    if not survives(said, [edit]):
        return None
    return render_completion(said, [edit])


def _changed_lines(wrong: str, right: str) -> tuple[str, str] | None:
    before, after = wrong.split("\n"), right.split("\n")
    if len(before) != len(after):
        return None
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    return changed[0] if len(changed) == 1 and changed[0][0].strip() and changed[0][1].strip() else None


def _changed_part(old: str, new: str) -> tuple[str, str]:
    """The smallest runs of tokens that differ; neither is empty: a neighbour stays with what was added or lost."""
    before, after = _PART.findall(old.strip()), _PART.findall(new.strip())
    codes = [c for c in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if c[0] != "equal"]
    if not codes:
        return old.strip(), new.strip()
    i, j, k, m = codes[0][1], codes[-1][2], codes[0][3], codes[-1][4]
    while not ("".join(before[i:j]).strip() and "".join(after[k:m]).strip()):
        if i and k:
            i, k = i - 1, k - 1
        else:
            j, m = j + 1, m + 1
    return "".join(before[i:j]).strip().replace("`", "'"), "".join(after[k:m]).strip().replace("`", "'")


def prompt(planted: Planted, turns: Sequence[tuple[str, Sequence[str] | str]] = ()) -> tuple[Message, ...]:
    """The dialogue. ``turns``: earlier answers, each with the messages of its run or the reason why it could not be used."""
    told = [f"test_solution.py::{name}\n{_short(m)}" for name, m in zip(_TEST_NAMES, planted.messages, strict=False) if m]
    excerpt = Excerpt(PATH, 1, planted.wrong.removesuffix("\n"), "")
    context = Context("", (excerpt,), (), tuple(told[:_MOST_FAILURES]))
    return render_prompt(context, [Turn(text, _feedback(came)) for text, came in turns], "explain")


def _feedback(came: Sequence[str] | str) -> str:
    """In the manner of ``render_feedback``, one failure long."""
    if isinstance(came, str):
        return f"Your answer could not be used: {came}."
    failing = [(name, m) for name, m in zip(_TEST_NAMES, came, strict=False) if m]
    if not failing:
        return "Your patch was refused: it fails on other inputs."
    return f"Your patch was refused: {failing[0][0]} fails.\n\n```\n{_short(failing[0][1])}\n```"


def _short(message: str) -> str:
    message = message.replace("```", "'''")
    return message if len(message) <= _MOST_MESSAGE else f"{message[: _MOST_MESSAGE - 1]}…"


def solve(planted: Planted, completion: str, finished: bool = True) -> Solved:
    """Read a completion as production does, and apply it."""
    parsed = parse_completion(completion, "explain", finished)
    if isinstance(parsed, Malformed):
        return Solved(None, "", None, "", parsed.message)
    assert isinstance(parsed, Parsed)
    end = parsed.explanation_span[1] if parsed.explanation_span is not None else None
    refinement = completion[slice(*parsed.refinement_span)]
    content = planted.wrong.encode()
    changes = apply_edits(parsed.edits, lambda path: content if path == PATH else None, [Excerpt(PATH, 1, planted.wrong, "")])
    if isinstance(changes, Malformed):
        return Solved(None, parsed.explanation, end, refinement, changes.message)
    if set(changes) != {PATH} or changes[PATH] == content:
        return Solved(None, parsed.explanation, end, refinement, "the changes change nothing")
    return Solved(changes[PATH].decode("utf-8", "replace"), parsed.explanation, end, refinement)


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
            if _changed_lines(mutant.text, program) is None:
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


def example(planted: Planted) -> tuple[tuple[Message, ...], str] | None:
    """The dialogue and the right answer."""
    turns = [planted.tried] if planted.tried is not None else []
    messages = planted.tried[1] if planted.tried is not None else planted.messages
    text = answer(planted.wrong, planted.right, messages)
    return (prompt(planted, turns), text) if text is not None else None


def to_json(planted: Planted) -> dict[str, Any]:
    return dict(planted.__dict__)


def from_json(rows: Iterable[dict[str, Any]]) -> list[Planted]:
    found = []
    for row in rows:
        tried = (row["tried"][0], tuple(row["tried"][1])) if row["tried"] is not None else None
        found.append(Planted(**{**row, "asserts": tuple(row["asserts"]), "messages": tuple(row["messages"]),
                                "hidden": tuple(row["hidden"]), "tried": tried}))
    return found
