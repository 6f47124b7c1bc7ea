"""Is a patched program right? The reference solution is the oracle, on a hidden assert and on inputs mutated by type from all asserts.

The two programs run in sandboxes of their own; only what they returned is compared. A program that knew this judge could still forge
its own values, as it could forge a test report (see sandbox.limits.NOT_STOPPED).
"""

from __future__ import annotations

import ast
import copy
import json
import math
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training.benchmark.isolation import run_python
from training.benchmark.mutation.source import parse

NEEDED = 50
"""Held-back inputs below which a task is not used."""
WANTED = 80
ATTEMPTS = 240
SECONDS = 0.5
"""Processor time for one call of a candidate."""
REFERENCE_SECONDS = 0.1
"""Processor time for one call of the reference; inputs that need more are dropped, so that a right candidate has a margin."""
_SCRIPT = Path(__file__).with_name("_ledex_judge.py")

Outcome = list[Any]


@dataclass(frozen=True)
class Outcomes:
    """What one program did: itself, each assert, each call."""

    program: Outcome
    asserts: tuple[Outcome, ...]
    calls: tuple[Outcome, ...]

    def holds(self, index: int) -> bool:
        return bool(self.asserts[index][0] == "value")


@dataclass(frozen=True)
class Oracle:
    """Held-back inputs as source of calls, and what the reference does on them."""

    hidden: str
    calls: tuple[str, ...]
    expected: tuple[Outcome, ...]


def execute(
    runner: Runner, program: str, asserts: Sequence[str], calls: Sequence[str], *, hash_seed: int = 0, seconds: float = SECONDS,
    timeouts: int = 1,
) -> Outcomes:  # fmt: skip
    """Runs a program in the sandbox; after ``timeouts`` calls that ran out of time all others count as such.

    A program that kills its interpreter or runs out of memory counts as failing everywhere.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "tree")  # a folder of its own: the temporary one is closed to the sandbox's uid
        root.mkdir(mode=0o755)
        shutil.copy(_SCRIPT, root / _SCRIPT.name)
        job = {"program": program, "asserts": list(asserts), "calls": list(calls), "seconds": seconds, "timeouts": timeouts}
        (root / "job.json").write_text(json.dumps(job), encoding="utf-8")
        limit = 10 + 4.0 * (1 + len(asserts)) + seconds * timeouts + 0.02 * len(calls)
        execution = run_python(
            runner, ["-I", "-X", "int_max_str_digits=0", "-W", "ignore", _SCRIPT.name, "job.json"], root,
            environment={"PYTHONHASHSEED": str(hash_seed)}, seconds=limit, memory_mib=512,
        )  # fmt: skip
    try:
        report = json.loads(execution.report)
        return Outcomes(report["program"], tuple(report["asserts"]), tuple(report["calls"]))
    except (ValueError, KeyError, TypeError):
        dead: Outcome = ["dead", execution.reason]
        return Outcomes(dead, (dead,) * len(asserts), (dead,) * len(calls))


def make_oracle(runner: Runner, reference: str, asserts: Sequence[str], seed: int) -> tuple[Oracle | None, str]:
    """The oracle of a task (its last assert hidden), or None and the reason why the task cannot be judged."""
    try:
        calls = mutated_calls(reference, asserts, seed)
    except SyntaxError:
        return None, "reference does not parse"
    first = execute(runner, reference, asserts, calls, hash_seed=1, seconds=REFERENCE_SECONDS, timeouts=20)
    calls = tuple(call for call, outcome in zip(calls, first.calls, strict=True) if outcome[0] != "timeout")
    first = replace(first, calls=tuple(outcome for outcome in first.calls if outcome[0] != "timeout"))
    second = execute(runner, reference, asserts, calls, hash_seed=2, seconds=REFERENCE_SECONDS, timeouts=20)
    return choose_oracle(asserts, calls, first, second)


def choose_oracle(asserts: Sequence[str], calls: Sequence[str], first: Outcomes, second: Outcomes) -> tuple[Oracle | None, str]:
    """The oracle of a reference by what it did on ``calls`` under two hash seeds, or None and the reason."""
    if not all(o.holds(i) for o in (first, second) for i in range(len(asserts))):
        return None, "reference fails its asserts"
    usable = [
        (call, a)
        for call, a, b in zip(calls, first.calls, second.calls, strict=True)
        if a[0] in ("value", "exception") and same(a, b) and not _opaque(a)
    ]
    returning = [pair for pair in usable if pair[1][0] == "value"]
    raising = [pair for pair in usable if pair[1][0] == "exception"]
    # Outside its domain a function may fail in any way; such inputs are at most a fifth, or a right patch would be judged on noise.
    chosen = returning[:WANTED]
    chosen += raising[: len(chosen) // 4]
    if len(chosen) < NEEDED:
        return None, "too few held-back inputs"
    return Oracle(asserts[-1], tuple(c for c, _ in chosen), tuple(e for _, e in chosen)), ""


def agrees(oracle: Oracle, outcomes: Outcomes) -> bool:
    """Whether a program, executed with ``[oracle.hidden]`` and ``oracle.calls``, behaves like the reference on all of them."""
    return outcomes.holds(0) and all(same(a, b) for a, b in zip(oracle.expected, outcomes.calls, strict=True))


def right(runner: Runner, oracle: Oracle, program: str) -> bool:
    return agrees(oracle, execute(runner, program, [oracle.hidden], oracle.calls))


def same(first: Any, second: Any) -> bool:
    """Equal as Python's == has it on decoded values, floats within 1e-9 (a sum in another order is no bug), NaN equal to itself."""
    a, b = _number(first), _number(second)
    if a is not None and b is not None:
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        try:
            x, y = float(a), float(b)
        except OverflowError:
            return False
        return math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(x) and math.isnan(y))
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(same(x, y) for x, y in zip(first, second, strict=True))
    return type(first) is type(second) and bool(first == second)


def _number(value: Any) -> int | float | None:
    if isinstance(value, int):
        return value
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str):
        if value[0] == "int":
            return int(value[1], 16)
        if value[0] == "float":
            return float(value[1])
    return None


def _opaque(outcome: Any) -> bool:
    return isinstance(outcome, list) and (outcome[:1] == ["opaque"] or any(_opaque(part) for part in outcome))


def mutated_calls(program: str, asserts: Sequence[str], seed: int) -> tuple[str, ...]:
    """Up to ATTEMPTS different calls, as source, made from the calls in the asserts by changing literals according to their type."""
    defined = {n.name for n in parse(program).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    functions = {n.name for n in parse(program).body if isinstance(n, ast.FunctionDef)}
    originals = [call for text in asserts for call in _calls(text, functions)[:1]]
    if not originals or not defined:
        return ()
    rng = random.Random(f"inputs/{seed}")
    made: dict[str, None] = {}
    for _ in range(ATTEMPTS * 3):
        call = copy.deepcopy(rng.choice(originals))
        other = rng.choice(originals)
        for index in range(min(len(call.args), len(other.args))):
            if rng.random() < 0.15:
                call.args[index] = copy.deepcopy(other.args[index])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            _mutate_argument(call, rng)
        made[ast.unparse(call)] = None
        if len(made) >= ATTEMPTS:
            break
    return tuple(made)


def _calls(text: str, functions: set[str]) -> list[ast.Call]:
    return [n for n in ast.walk(parse(text)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in functions]


def _mutate_argument(call: ast.Call, rng: random.Random) -> None:
    """Changes one literal (or display of literals) somewhere in the arguments, in place."""
    places: list[tuple[ast.AST, str, int | None, ast.expr]] = []
    for node in ast.walk(call):
        for field, value in ast.iter_fields(node):
            if node is call and field == "func":
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                plain = isinstance(child, (ast.Constant, ast.List, ast.Tuple, ast.Set)) and not isinstance(node, ast.UnaryOp)
                if plain or (isinstance(child, ast.UnaryOp) and isinstance(child.operand, ast.Constant)):
                    places.append((node, field, index, child))
    if not places:
        return
    node, field, position, old = rng.choice(places)
    new = _changed(old, rng)
    if position is None:
        setattr(node, field, new)
    else:
        getattr(node, field)[position] = new


def _changed(node: ast.expr, rng: random.Random) -> ast.expr:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        elements = list(node.elts)
        action = rng.choice(("drop", "repeat", "swap", "sort", "add", "cut", "replace"))
        if elements:
            at, to = rng.randrange(len(elements)), rng.randrange(len(elements))
            if action == "drop":
                del elements[at]
            elif action == "repeat":
                elements.insert(to, copy.deepcopy(elements[at]))
            elif action == "swap":
                elements[at], elements[to] = elements[to], elements[at]
            elif action == "sort":
                elements.reverse()
            elif action == "add":
                elements.insert(to, _changed(copy.deepcopy(elements[at]), rng))
            elif action == "cut":
                elements = elements[: at + 1]
            else:
                elements[at] = _changed(elements[at], rng)
        if isinstance(node, ast.Set) and not elements:
            return node
        return type(node)(elts=elements) if isinstance(node, ast.Set) else type(node)(elts=elements, ctx=ast.Load())
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return node
    return ast.parse(repr(_value(value, rng)), mode="eval").body


def _value(value: object, rng: random.Random) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        wide = rng.randint(0, 10 * abs(value) + 1)
        return rng.choice((value + 1, value - 1, value + rng.randint(-5, 5), value * 2, value // 2, rng.randint(0, 20), wide, 0, -value))
    if isinstance(value, float):
        return rng.choice((value + 1, value - 0.5, value * 2, value / 2, round(value), -value, 0.0, round(rng.uniform(0, 10), 2)))
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        letter = rng.choice(value + "aZ0 e")
        choices = (value[:at] + letter + value[at:], value[:at] + value[at + 1 :], value[::-1], value + value[:at], value.upper(),
                   value.swapcase(), value[at:] + value[:at], value[:at], value[:at] + letter + value[at + 1 :])  # fmt: skip
        return rng.choice(choices)
    return value
