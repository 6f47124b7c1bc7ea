"""The mutator: five kinds of mistakes, always valid, always a change, fixed by the seed."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys

import pytest

from training.benchmark.mutation import KINDS, Kind, apply, enumerate_mutations, mutants, quotas

PROGRAM = '''import math

def score(items, limit=10):
    """Sum of the even items below a limit."""
    total = 0
    if not items:
        return 0
    for index, item in enumerate(items):
        if item < 0:
            continue
        elif item % 2 == 0 and item < limit:
            total += (item + 1) * 2
        else:
            total = max(total - items[index], 0)
    label = "über"
    return math.floor(total / len(items[1:])) if total else len(label)
'''


def texts(kind: Kind, program: str = PROGRAM) -> set[str]:
    return {apply(program, m.spans) for m in enumerate_mutations(program, kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutant_parses_and_differs(kind: Kind) -> None:
    original = ast.dump(ast.parse(PROGRAM))
    made = list(itertools.islice(mutants(PROGRAM, kind, seed=3), 200))
    assert len(made) >= 5
    assert all(ast.dump(ast.parse(m.text)) != original for m in made)


@pytest.mark.parametrize("kind", KINDS)
def test_no_mutant_comes_twice(kind: Kind) -> None:
    made = [m.text for m in itertools.islice(mutants(PROGRAM, kind, seed=3), 300)]
    assert len(made) == len(set(made))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_mutants(kind: Kind) -> None:
    first, second = (list(itertools.islice(mutants(PROGRAM, kind, seed=8), 20)) for _ in range(2))
    assert first == second


def test_another_seed_gives_another_order() -> None:
    first, second = (list(itertools.islice(mutants(PROGRAM, "expression", seed), 20)) for seed in (1, 2))
    assert first != second


def test_the_seed_does_not_depend_on_the_process() -> None:
    code = f"from training.benchmark.mutation import mutants; print(next(iter(mutants({PROGRAM!r}, 'expression', 5))).text)"
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=".").stdout for _ in range(2)}
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("token", ("item < 0", "item <= 0")),
        ("token", ("total += (", "total -= (")),
        ("token", (" and item < limit", " or item < limit")),
        ("token", ("elif item", "if item")),
        ("token", ("continue", "break")),
        ("token", ("return 0", "return 1")),
        ("token", ("math.floor", "math.ceil")),
        ("token", ("max(total", "min(total")),
        ("token", ("if not items", "if items")),
        ("expression", ("(item + 1) * 2", "item + 1 * 2")),
        ("expression", ("total - items[index]", "items[index] - total")),
        ("expression", ("items[index], 0", "items[index + 1], 0")),
        ("expression", ("item % 2 == 0 and item < limit", "item % 2 == 0")),
        ("expression", ("items[1:]", "items[:]")),
        ("expression", ("max(total - items[index], 0)", "(total - items[index])")),
        ("guard", ("    if not items:\n        return 0\n", "")),
        ("guard", ("        elif item % 2 == 0 and item < limit:\n            total += (item + 1) * 2\n", "")),
        ("guard", ("        if item < 0:\n            continue\n        elif", "        if")),
        ("statement", ("    total = 0\n", "")),
        ("statement", ("    total = 0\n", "    total = 0\n    total = 0\n")),
        ("statement", ("import math\n", "")),
        ("statement", ('    label = "über"\n', '        label = "über"\n')),
    ],
)
def test_a_typical_slip_is_made(kind: Kind, expected: tuple[str, str]) -> None:
    assert PROGRAM.replace(*expected, 1) in texts(kind)


def test_docstrings_and_annotations_stay() -> None:
    program = 'def f(a: int = 1) -> int:\n    """One."""\n    return a\n'
    kinds: tuple[Kind, Kind] = ("token", "expression")
    for kind in kinds:
        assert all('"""One."""' in t and "a: int" in t and "-> int" in t for t in texts(kind, program))


def test_two_places_are_two_lines() -> None:
    for mutant in itertools.islice(mutants(PROGRAM, "two_places", seed=1), 50):
        assert " + " in mutant.operator


def test_a_body_of_one_statement_is_left_with_pass() -> None:
    assert "def f():\n    pass\n" in texts("statement", "def f():\n    return 1\n")


def test_the_mix_is_fixed() -> None:
    assert quotas(200) == {"token": 50, "expression": 70, "guard": 30, "statement": 30, "two_places": 20}


@pytest.mark.parametrize("tasks", [1, 7, 33, 199])
def test_quotas_add_up(tasks: int) -> None:
    assert sum(quotas(tasks).values()) == tasks


def test_a_program_that_does_not_parse_is_refused() -> None:
    with pytest.raises(SyntaxError):
        next(mutants("def f(:\n", "token", 1))
