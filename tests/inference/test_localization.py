"""Suspicion by hand-computed numbers: Ochiai, frames, names, the pull request's diff, the module's top level."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from inference.localization import Suspect, localize
from inference.templates import functions
from sandbox.frameworks.records import Coverage
from sandbox.report import Failure, Frame
from sandbox.reproduction import Reproduction

CODE = """\
LIMIT = 3


def alpha(n):
    return n + LIMIT


def gamma(n):
    return n * 2


class Box:
    def delta(self):
        return gamma(1)
"""
ALPHA, GAMMA, DELTA = 5, 9, 14
FAILING, PASSING = ("t.py::test_1", "t.py::test_2"), ("t.py::test_3", "t.py::test_4", "t.py::test_5")


def suspects(
    lines: Mapping[str, set[int]], failures: tuple[Failure, ...] = (), touched: Mapping[str, frozenset[int]] | None = None,
    failing: tuple[str, ...] = FAILING, path: str = "code.py", text: str = CODE,
) -> list[Suspect]:  # fmt: skip
    """Suspects of one file from the lines that each test ran."""
    coverage = Coverage({path: {test: frozenset(numbers) for test, numbers in lines.items()}})
    known = failures or tuple(Failure(t, "AssertionError", "") for t in failing)
    reproduction = Reproduction("failing", "", known, failing, PASSING, coverage=coverage)
    return localize(reproduction, {path: text}.get, functions, touched)


def scores(found: list[Suspect]) -> dict[str, float]:
    return {s.function.qualname: s.score for s in found}


@pytest.mark.parametrize(("lines", "expected"), [
    ({"t.py::test_1": {ALPHA}, "t.py::test_2": {ALPHA}}, 1.0),  # 2 / sqrt(2 * 2)
    ({"t.py::test_1": {ALPHA}, "t.py::test_2": {ALPHA}, "t.py::test_3": {ALPHA}}, 2 / math.sqrt(6)),
    ({"t.py::test_1": {ALPHA}}, 1 / math.sqrt(2)),
    ({"t.py::test_1": {ALPHA}, "t.py::test_3": {ALPHA}, "t.py::test_4": {ALPHA}, "t.py::test_5": {ALPHA}}, 1 / math.sqrt(8)),
])  # fmt: skip
def test_a_function_is_as_suspicious_as_ochiai_says(lines: Mapping[str, set[int]], expected: float) -> None:
    assert scores(suspects(lines))["alpha"] == pytest.approx(expected)


def test_a_function_that_no_failing_test_ran_is_no_suspect() -> None:
    assert "gamma" not in scores(suspects({"t.py::test_1": {ALPHA}, "t.py::test_3": {GAMMA}}))


def test_the_most_suspicious_function_comes_first() -> None:
    lines = {"t.py::test_1": {ALPHA, GAMMA}, "t.py::test_2": {ALPHA, GAMMA}, "t.py::test_3": {GAMMA}}
    assert [s.function.qualname for s in suspects(lines)] == ["alpha", "gamma", "<module>"]


def test_a_method_is_named_with_its_class() -> None:
    assert "Box.delta" in scores(suspects({"t.py::test_1": {DELTA}}))


def test_tests_and_their_fixtures_are_no_suspects() -> None:
    assert suspects({"t.py::test_1": {ALPHA}}, path="tests/code.py") == []


def test_a_file_that_does_not_parse_has_no_suspects() -> None:
    assert suspects({"t.py::test_1": {1}}, text="def (") == []


def test_lines_are_as_suspicious_as_ochiai_says() -> None:
    found = suspects({"t.py::test_1": {ALPHA}, "t.py::test_3": {ALPHA}})
    assert found[0].function.suspicion == pytest.approx({ALPHA: 0.5})  # 1 / sqrt(2 * 2)


def test_the_lines_that_failing_tests_ran_are_kept() -> None:
    found = suspects({"t.py::test_1": {ALPHA, GAMMA}, "t.py::test_3": {GAMMA}})
    assert {s.function.qualname: s.function.lines for s in found if s.function.lines} == {
        "alpha": frozenset({ALPHA}), "gamma": frozenset({GAMMA})}  # fmt: skip


def raised(*frames: Frame, exception: str = "TypeError") -> tuple[Failure, ...]:
    return (Failure("t.py::test_1", exception, "no", frames),)


def test_the_innermost_frame_of_the_project_adds_what_frame_and_raise_are_worth() -> None:
    frames = (Frame("t.py", 3, "test_1"), Frame("code.py", DELTA, "delta"), Frame("code.py", GAMMA, "gamma"), Frame("/usr/x.py", 1, "f"))
    found = scores(suspects({"t.py::test_1": {DELTA, GAMMA}}, raised(*frames), failing=FAILING[:1]))
    assert [found["gamma"], found["Box.delta"]] == pytest.approx([1.45, 1.15])


def test_the_line_that_raised_is_told_to_the_templates() -> None:
    failures = raised(Frame("code.py", GAMMA, "gamma"), exception="TypeError")
    (gamma,) = [s.function for s in suspects({"t.py::test_1": {GAMMA}}, failures) if s.function.qualname == "gamma"]
    assert (gamma.hot, gamma.exception, gamma.message) == (GAMMA, "TypeError", "no")


def test_a_test_that_names_the_function_adds_to_its_suspicion() -> None:
    tests = ("t.py::test_alpha",)
    assert scores(suspects({tests[0]: {ALPHA, GAMMA}}, failing=tests)) == {
        "alpha": pytest.approx(1.2), "gamma": pytest.approx(1.0), "<module>": pytest.approx(0.42)}  # fmt: skip


def test_a_function_that_the_pull_request_touched_comes_before_one_that_it_did_not() -> None:
    lines = {"t.py::test_1": {ALPHA, GAMMA}, "t.py::test_2": {ALPHA, GAMMA}, "t.py::test_3": {GAMMA}}
    found = suspects(lines, touched={"code.py": frozenset({GAMMA})})
    assert [s.function.qualname for s in found[:2]] == ["gamma", "alpha"]
    assert [s.score for s in found[:2]] == pytest.approx([2 / math.sqrt(6) + 1.0, 1.0])


def test_a_touched_line_is_more_suspicious_than_its_neighbours() -> None:
    found = suspects({"t.py::test_1": {ALPHA}}, touched={"code.py": frozenset({ALPHA})}, failing=FAILING[:1])
    assert found[0].function.suspicion == pytest.approx({ALPHA: 1.5})


@pytest.mark.parametrize(
    ("exception", "share"), [("AssertionError", 0.35), ("NameError", 0.8), ("ImportError", 0.8), ("AttributeError", 0.8)]
)
def test_the_module_has_a_share_of_its_most_suspicious_function(exception: str, share: float) -> None:
    failures = tuple(Failure(t, exception, "") for t in FAILING)
    found = scores(suspects({t: {ALPHA} for t in FAILING}, failures))
    assert found["<module>"] == pytest.approx(share)


def test_a_module_of_which_no_function_ran_is_no_suspect() -> None:
    assert suspects({"t.py::test_1": {1}}) == []


def test_line_ends_do_not_move_functions() -> None:
    assert scores(suspects({"t.py::test_1": {GAMMA}}, text=CODE.replace("\n", "\r\n"))) == scores(suspects({"t.py::test_1": {GAMMA}}))


def test_suspects_are_limited_in_number() -> None:
    text = "\n".join(f"def f{n}():\n    return {n}\n" for n in range(60))
    assert len(suspects({"t.py::test_1": set(range(1, 181))}, text=text)) == 40
