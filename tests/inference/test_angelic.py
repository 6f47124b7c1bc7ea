"""Angelic sites: which values are put where, and what is said of those that help. The warm server's answers alone are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from inference.angelic import angelic_sites, expected_values
from inference.localization import Suspect
from inference.proposer import Problem
from inference.templates import functions
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.candidates import CandidateServer, Judgement, Status, Trial
from sandbox.environment import Environment
from sandbox.frameworks import Framework, TestPlan
from sandbox.limits import Limits
from sandbox.reproduction import Reproduction
from sandbox.testing import Bench
from sandbox.workspace import Workspace

CODE = """\
# é
class Cart:
    def total(self, items, rate):
        if items is None:
            return 0
        while rate > 9:
            rate -= 1
        return sum(items) if rate else 0
"""
TESTS = """\
def test_total():
    assert Cart().total([1], 2) == 7
    assert 7 == Cart().other() and x is None


def test_else():
    assert f() == 99
"""


class Judged(CandidateServer):
    """Answers each trial by what it would write."""

    def __init__(self, judge: Callable[[str], tuple[Status, int]]) -> None:
        self.judged, self.trials = judge, list[Trial]()

    def judge(self, trials: Sequence[Trial]) -> list[Judgement]:
        self.trials += trials
        return [Judgement(t.id, *self.judged(t.edits[0][2].strip()), None, "fork") for t in trials]


@pytest.fixture
def problem(tmp_path: Path) -> Callable[..., Problem]:
    (tmp_path / "t.py").write_text(TESTS, encoding="utf-8")

    def make(framework: Framework = "pytest", failing: tuple[str, ...] = ("t.py::test_total",)) -> Problem:
        environment = Environment("python", (3, 11), (), {}, None, None, "none", True, 0.0)
        bench = Bench(BubblewrapRunner(), environment, TestPlan(framework), Limits())
        suspects = [Suspect(replace(f, lines=frozenset({4, 6, 8})), 1.0, 2) for f in functions("cart.py", CODE)]
        return Problem(Workspace(tmp_path, "cart", ("t.py",)), bench, Reproduction("failing", "", failing=failing), suspects, 60.0)

    return make


def test_conditions_are_forced_and_returns_give_what_the_test_expects(problem: Callable[..., Problem]) -> None:
    server = Judged(lambda new: ("fails", 0))
    assert angelic_sites(problem(), server) == ()
    put = [(CODE[start:end], new.strip()) for trial in server.trials for start, end, new in trial.edits]
    assert ("items is None", "True") in put
    assert ("items is None", "False") in put
    assert ("rate > 9", "False") in put
    assert ("rate > 9", "True") not in put  # it would not end
    assert ("sum(items) if rate else 0", "(7)") in put
    assert not any(old == "0" for old, _ in put)  # no failing test ran that line


def test_what_helps_is_said_and_what_helps_most_comes_first(problem: Callable[..., Problem]) -> None:
    answers: dict[str, tuple[Status, int]] = {"False": ("fails", 1), "(7)": ("plausible", 2)}
    found = angelic_sites(problem(failing=("t.py::test_total", "t.py::test_else")), Judged(lambda new: answers.get(new, ("fails", 0))))
    assert found[0] == "all failing tests pass when `return sum(items) if rate else 0` at cart.py:8 gives 7"
    assert "1 of 2 failing tests pass when `items is None` at cart.py:4 is always false" in found


@pytest.mark.parametrize("framework", ["node", "go"])
def test_other_languages_have_none(problem: Callable[..., Problem], framework: Framework) -> None:
    assert angelic_sites(problem(framework), Judged(lambda new: ("plausible", 1))) == ()


@pytest.mark.parametrize(("failing", "expected"), [
    (("t.py::test_total",), ("7", "None")), (("t.py::test_total[a]", "t.py::test_else"), ("7", "None", "99")),
    (("gone.py::test_total",), ()), (("t.py::test_nowhere",), ()),
])  # fmt: skip
def test_expected_values_are_the_literals_that_failing_tests_compare_with(
    problem: Callable[..., Problem], failing: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert expected_values(problem(failing=failing)) == expected
