"""The judge: equivalent programs are right, others are not, and nothing they do reaches it."""

from __future__ import annotations

import pytest

from sandbox.runner import Runner
from training.benchmark.judging import NEEDED, Oracle, execute, make_oracle, mutated_calls, right, same


def test_an_equivalent_program_is_right(runner: Runner, oracle: Oracle) -> None:
    assert right(runner, oracle, "def add(a, b):\n    return sum((b, a))\n")


def test_the_reference_itself_is_right(runner: Runner, oracle: Oracle) -> None:
    assert right(runner, oracle, "def add(a, b):\n    return a + b\n")


def test_a_program_that_knows_only_the_asserts_is_wrong(runner: Runner, oracle: Oracle) -> None:
    assert not right(runner, oracle, "def add(a, b):\n    return {(1, 2): 3, (2, 5): 7, (0, 4): 4}.get((a, b), 0)\n")


def test_a_program_wrong_only_on_negative_numbers_is_wrong(runner: Runner, oracle: Oracle) -> None:
    assert not right(runner, oracle, "def add(a, b):\n    return abs(a) + b\n")


def test_an_equal_to_everything_answer_is_wrong(runner: Runner, oracle: Oracle) -> None:
    program = "class Any:\n    def __eq__(self, other):\n        return True\n\ndef add(a, b):\n    return Any()\n"
    assert not right(runner, oracle, program)


def test_a_program_that_ends_its_process_is_wrong(runner: Runner, oracle: Oracle) -> None:
    assert not right(runner, oracle, "import os\n\ndef add(a, b):\n    os._exit(0)\n")


def test_an_endless_call_is_a_timeout(runner: Runner) -> None:
    outcomes = execute(runner, "def f(n):\n    while n: pass\n    return 1\n", ["assert f(0) == 1"], ["f(0)", "f(1)"])
    assert [o[0] for o in outcomes.calls] == ["value", "timeout"]


def test_printing_does_not_disturb_the_report(runner: Runner) -> None:
    assert execute(runner, "print('[]')\nf = print\n", [], ["f('{}')"]).calls == (["value", None],)


def test_there_are_enough_held_back_inputs(oracle: Oracle) -> None:
    assert len(oracle.calls) >= NEEDED
    assert len(set(oracle.calls)) == len(oracle.calls)


def test_inputs_of_every_type_are_mutated() -> None:
    asserts = ["assert f([1, 2], 'ab', (1.5, True), -3) == 1"]
    calls = mutated_calls("def f(*a):\n    return 1\n", asserts, seed=1)
    assert any("'ab'" not in call for call in calls)
    assert any("-3" not in call for call in calls)
    assert any("[1, 2]" not in call for call in calls)
    assert any("True" not in call for call in calls)


def test_inputs_depend_only_on_the_seed() -> None:
    asserts = ["assert f(1, 'x') == 1"]
    assert mutated_calls("def f(*a): pass\n", asserts, 4) == mutated_calls("def f(*a): pass\n", asserts, 4)
    assert mutated_calls("def f(*a): pass\n", asserts, 4) != mutated_calls("def f(*a): pass\n", asserts, 5)


@pytest.mark.parametrize(
    ("program", "asserts", "reason"),
    [
        ("def f():\n    return 1\n", ["assert f() == 1"] * 3, "too few held-back inputs"),
        ("def f(n):\n    return n\n", ["assert f(1) == 2"] * 3, "reference fails its asserts"),
        ("import random\ndef f(n):\n    return n + random.random()\n", ["assert f(1) > 0"] * 3, "too few held-back inputs"),
        ("def f(n) return n\n", ["assert f(1) == 1"] * 3, "reference does not parse"),
    ],
)
def test_an_unusable_reference_is_named(runner: Runner, program: str, asserts: list[str], reason: str) -> None:
    assert make_oracle(runner, program, asserts, seed=0) == (None, reason)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (["value", 2], ["value", ["float", "2.0"]], True),
        (["value", ["float", "0.30000000000000004"]], ["value", ["float", "0.3"]], True),
        (["value", ["float", "nan"]], ["value", ["float", "nan"]], True),
        (["value", ["int", hex(2**70)]], ["value", ["int", hex(2**70 + 1)]], False),
        (["value", ["list", [1]]], ["value", ["tuple", [1]]], False),
        (["value", "1"], ["value", 1], False),
        (["value", None], ["exception", "ValueError"], False),
        (["exception", "ValueError"], ["exception", "KeyError"], False),
    ],
)
def test_values_are_compared_as_python_does(first: object, second: object, equal: bool) -> None:
    assert same(first, second) is equal
