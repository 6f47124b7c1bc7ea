"""Observed values as sentences: from what a warm server answers, which is the only thing made up here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from inference.localization import Suspect
from inference.observation import observed_values
from inference.proposer import Problem
from inference.templates import functions
from sandbox import CandidateServerError
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.candidates import CandidateServer, Unit
from sandbox.environment import Environment
from sandbox.frameworks import Framework, TestPlan
from sandbox.frameworks.records import Coverage
from sandbox.limits import Limits
from sandbox.reproduction import Reproduction
from sandbox.testing import Bench
from sandbox.workspace import Workspace

CODE = """\
class Cart:
    def total(self, items, rate):
        if items is None:
            return 0
        return sum(items) * rate
"""
TEST = "t.py::test_total"


class Recorded(CandidateServer):
    """Answers as a recorded server did; ``None`` stands for one that broke down."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        self.answer, self.asked = answer, list[tuple[Unit, list[tuple[int, int, int, int]], str]]()

    def observe(
        self, unit: Unit, edits: Sequence[tuple[int, int, str]], wanted: Sequence[tuple[int, int, int, int]], test: str
    ) -> dict[str, Any]:
        self.asked.append((unit, list(wanted), test))
        if self.answer is None:
            raise CandidateServerError("the server is gone")
        return self.answer


def problem(framework: Framework = "pytest") -> Problem:
    bench = Bench(BubblewrapRunner(), Environment("python", (3, 11), (), {}, None, None, "none", True, 0.0), TestPlan(framework), Limits())
    reproduction = Reproduction("failing", "", failing=("t.py::test_first", TEST), coverage=Coverage({"cart.py": {TEST: frozenset({5})}}))
    from dataclasses import replace

    suspects = [Suspect(replace(f, lines=frozenset({5})), 1.0, 2) for f in functions("cart.py", CODE)]
    return Problem(Workspace(Path("/"), "cart", ()), bench, reproduction, suspects, 60.0)


def test_arguments_are_told_without_the_object_itself() -> None:
    server = Recorded({"arguments": [{"self": "<Cart>", "items": "[1, 2]", "rate": "19"}], "values": []})
    assert observed_values(problem(), server) == ("Cart.total(items=[1, 2], rate=19) was called at cart.py:2",)


def test_values_are_told_with_their_expression_and_line() -> None:
    server = Recorded({"arguments": [], "values": [[0, "57"], [0, "57"], [0, "0"], [2, "False"]]})
    assert observed_values(problem(), server)[0].endswith(" at cart.py:3")
    places = server.asked[0][1]
    told = {p[0]: s for p, s in zip(places, [[0, "x"], [1, "x"]], strict=False)}
    assert told


def test_the_test_that_runs_the_function_is_the_one_that_is_watched() -> None:
    server = Recorded({})
    observed_values(problem(), server)
    assert [test for *_, test in server.asked] == [TEST]


def test_values_are_short_and_of_one_line() -> None:
    server = Recorded({"arguments": [{"items": "a\n" * 500}], "values": [["0", 1], "nonsense", [0]]})
    (sentence,) = observed_values(problem(), server)
    assert len(sentence) < 150
    assert "\n" not in sentence


def test_a_server_that_breaks_down_tells_nothing() -> None:
    assert observed_values(problem(), Recorded(None)) == ()


@pytest.mark.parametrize("framework", ["command"])
def test_other_frameworks_are_not_asked(framework: Framework) -> None:
    server = Recorded({})
    assert (observed_values(problem(framework), server), server.asked) == ((), [])
