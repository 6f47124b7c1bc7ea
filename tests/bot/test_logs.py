"""Logs of every kind, as the tools printed them; and the signature that merges what is one failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.logs import canonical_id, clean_lines, normalised, read_log, signature, split_steps
from sandbox.frameworks.junit import read_junit
from sandbox.report import Failure, Frame

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
CART = {
    "tests/test_cart.py::test_needs_a_database",
    "tests/test_cart.py::test_total_takes_the_discount_off",
    "tests/test_cart.py::test_first_of_many[items1]",
    "tests/test_cart.py::TestCart::test_remove_of_nothing_is_told",
}
UNIT = {
    "checks.test_unit.CartCase.test_first",
    "checks.test_unit.CartCase.test_each",
    "checks.test_unit.CartCase.test_total",
    "setUpClass (checks.test_unit.SetUpCase)",
}
PYTEST = [
    "pytest",
    "pytest_color",
    "pytest_short",
    "pytest_native",
    "pytest_verbose",
    "pytest_xdist",
    "pytest_cov",
    "coverage_run",
    "tox",
    "nox",
]


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*PYTEST, "pytest_line"])
def test_every_style_of_pytest_gives_the_failing_tests(name: str) -> None:
    reading = read_log(log(name))
    assert {f.test_id for f in reading.failures} == CART
    assert (reading.started, reading.complete) == (True, True)


@pytest.mark.parametrize("name", PYTEST)
def test_every_style_of_pytest_gives_exception_message_and_frames(name: str) -> None:
    by_id = {f.test_id: f for f in read_log(log(name)).failures}
    total = by_id["tests/test_cart.py::test_total_takes_the_discount_off"]
    first = by_id["tests/test_cart.py::test_first_of_many[items1]"]
    assert (total.exception, total.message.splitlines()[0]) == ("AssertionError", "assert 14 == 10")
    assert (first.exception, first.message) == ("IndexError", "list index out of range")
    assert first.frames[-2:] == (Frame("tests/test_cart.py", 14, "test_first_of_many"), Frame("shop/cart.py", 11, "first"))


@pytest.mark.parametrize("name", ["unittest_verbose", "coverage_unittest"])
def test_unittest_gives_the_failing_tests_each_once(name: str) -> None:
    failures = read_log(log(name)).failures
    assert {f.test_id for f in failures} == UNIT
    assert len(failures) == len(UNIT)


def test_unittest_gives_exception_message_and_frames() -> None:
    first = next(f for f in read_log(log("unittest")).failures if f.test_id.endswith("test_first"))
    assert (first.exception, first.message) == ("IndexError", "list index out of range")
    assert first.frames == (Frame("checks/test_unit.py", 12, "test_first"), Frame("shop/cart.py", 11, "first"))


def test_a_module_that_unittest_cannot_import_is_a_failure_with_the_cause() -> None:
    missing = next(f for f in read_log(log("unittest")).failures if f.test_id == "test_missing")
    assert (missing.exception, missing.message) == ("ModuleNotFoundError", "No module named 'a_module_that_is_not_there'")


def test_older_unittest_names_are_read() -> None:
    text = "\n".join(
        [
            "=" * 70,
            "FAIL: test_a (pkg.tests.Case)",
            "-" * 70,
            "Traceback (most recent call last):",
            '  File "pkg/tests.py", line 3, in test_a',
            "    x",
            "AssertionError",
            "",
            "-" * 70,
            "Ran 1 test in 0.1s",
            "",
            "FAILED (failures=1)",
        ]
    )
    assert [(f.test_id, f.exception, f.message) for f in read_log(text).failures] == [("pkg.tests.Case.test_a", "AssertionError", "")]


def test_files_that_cannot_be_collected_are_failures() -> None:
    by_id = {f.test_id: f for f in read_log(log("pytest_collect")).failures}
    assert by_id["tests/test_broken_import.py"].exception == "ImportError"
    syntax = by_id["tests/test_syntax.py"]
    assert (syntax.exception, syntax.message, syntax.frames[-1].path) == ("SyntaxError", "invalid syntax", "tests/test_syntax.py")


def test_wrong_arguments_start_no_test() -> None:
    assert not read_log(log("pytest_usage")).started


@pytest.mark.parametrize("name", ["ruff_check", "ruff_format", "black", "isort", "flake8", "mypy"])
def test_a_linter_starts_no_test(name: str) -> None:
    reading = read_log(log(name))
    assert (reading.started, reading.failures) == (False, ())


def test_the_failed_step_is_told_from_the_others() -> None:
    reading = read_log(log("pytest"))
    assert [s.script[0] for s in reading.failed_steps] == ["pytest"]
    assert reading.failed_steps[0].exit_code == 1


def test_what_a_test_prints_is_not_outside() -> None:
    for name in ("pytest", "pytest_short", "unittest", "unittest_verbose"):
        (step,) = read_log(log(name)).failed_steps
        assert not any("No space left" in line or "Could not resolve" in line for line in step.outside), name


def test_a_log_cut_before_the_summary_still_gives_the_blocks() -> None:
    text = log("pytest").split("short test summary", 1)[0].rsplit("\n", 1)[0]
    reading = read_log(text)
    assert reading.complete is False
    assert {f.test_id for f in reading.failures} == CART


def test_a_log_cut_in_the_middle_still_gives_the_summary() -> None:
    lines = log("pytest").split("\n")
    at = next(i for i, line in enumerate(lines) if "= FAILURES =" in line)
    reading = read_log("\n".join([*lines[:30], "[... 1234 lines left out ...]", *lines[at + 30 :]]))
    assert {f.test_id for f in reading.failures} == CART


def test_a_verbose_log_cut_before_any_traceback_gives_the_names() -> None:
    for name in ("pytest_verbose", "pytest_xdist"):
        text = log(name).split("= ERRORS =", 1)[0].rsplit("\n", 1)[0]
        assert {f.test_id for f in read_log(text).failures} == CART, name


def test_two_environments_of_one_log_give_each_test_once() -> None:
    assert len(read_log(log("tox") + log("tox")).failures) == len(CART)


def test_a_parameter_may_hold_a_dash() -> None:
    told = ["FAILED t.py::test_a[x - y] - ValueError: z - w", "FAILED t.py::test_b - boom"]
    text = "\n".join(["=== short test summary info ===", *told, "=== 2 failed in 0.1s ==="])
    assert [(f.test_id, f.exception, f.message) for f in read_log(text).failures] == [
        ("t.py::test_a[x - y]", "ValueError", "z - w"),
        ("t.py::test_b", "", "boom"),
    ]


def test_two_files_with_the_same_test_keep_their_own_tracebacks() -> None:
    block = "{0}:3: in test_a\n    f()\nE   ValueError: {1}"
    text = "\n".join(
        [
            "=== FAILURES ===",
            "___ test_a ___",
            block.format("b/test_x.py", "of b"),
            "___ test_a ___",
            block.format("a/test_x.py", "of a"),
            "=== short test summary info ===",
            "FAILED a/test_x.py::test_a - ...",
            "FAILED b/test_x.py::test_a - ...",
            "=== 2 failed in 0.1s ===",
        ]
    )
    assert {f.test_id: f.message for f in read_log(text).failures} == {"a/test_x.py::test_a": "of a", "b/test_x.py::test_a": "of b"}


def test_two_tests_of_one_name_without_a_place_are_not_taken_for_one() -> None:
    text = ["=== FAILURES ===", "___ test_a ___", "E   ValueError: one", "___ test_a ___", "E   ValueError: two"]
    told = ["=== short test summary info ===", "FAILED a/test_x.py::test_a - V...", "FAILED b/test_x.py::test_a - V..."]
    failures = read_log("\n".join([*text, *told, "=== 2 failed in 1s ==="])).failures
    assert {f.test_id: f.message for f in failures} == {
        "a/test_x.py::test_a": "one",
        "b/test_x.py::test_a": "two",
    }


def test_time_stamps_colours_and_overdrawn_lines_are_gone() -> None:
    assert clean_lines("\ufeff2026-03-02T09:10:00.1234567Z \x1b[31mFAILED\x1b[0m\r\n2026-03-02T09:10:00Z 10%\r100%") == ["FAILED", "100%"]


def test_a_log_without_marks_is_one_failed_step() -> None:
    assert [(s.failed, s.script) for s in split_steps(["a", "b"])] == [(True, ())]


@given(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(
            [
                "=== FAILURES ===",
                "___ t ___",
                "E   x",
                "=" * 70,
                "FAIL: t (a.B)",
                "##[group]Run x",
                "##[endgroup]",
                "=== 1 failed in 0.1s ===",
                "FAILED a::b",
                "Ran 1 test in 1s",
                "a.py:1: ValueError",
                "Traceback (most recent call last):",
            ]
        )
    ),
)
def test_any_text_is_read(text: str, lines: list[str]) -> None:
    read_log("\n".join([*lines, text, *lines]))


# signatures


def test_every_style_and_wrapper_of_the_same_failure_has_one_signature() -> None:
    assert len({signature(read_log(log(name)).failures) for name in PYTEST}) == 1


def test_the_report_has_the_signature_of_the_log() -> None:
    assert signature(read_junit((LOGS / "junit.xml").read_bytes()).failures) == signature(read_log(log("pytest")).failures)


def fails(test_id: str = "tests/test_a.py::test_x", exception: str = "ValueError", message: str = "boom") -> Failure:
    return Failure(test_id, exception, message)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("took 1.52s", "took 20ms"),
        ("object at 0x7fb4576dec90", "object at 0x10"),
        ("no file /tmp/a1/x.txt", "no file /var/run/y/x.txt"),
        ("id 3f2a9c4e-1111-2222-3333-444455556666", "id 9f2a9c4e-1111-2222-3333-444455556660"),
        ("expected 3 got 4\nmore", "expected 5 got 6\nother"),
        ("D:\\a\\shop\\shop\\x.py is gone", "/home/runner/work/shop/x.py is gone"),
    ],
)
def test_numbers_addresses_paths_and_times_do_not_count(one: str, other: str) -> None:
    assert signature([fails(message=one)]) == signature([fails(message=other)])


@pytest.mark.parametrize("other", [fails("tests/test_a.py::test_y"), fails(exception="KeyError"), fails(message="bang")])
def test_another_test_exception_or_message_is_another_failure(other: Failure) -> None:
    assert signature([fails()]) != signature([other])


def test_order_and_repetition_do_not_count() -> None:
    a, b = fails(), fails("tests/test_b.py::test_y")
    assert signature([a, b]) == signature([b, a, b])


def test_no_failure_has_no_signature() -> None:
    assert signature([]) == ""


@pytest.mark.parametrize(
    "spelling",
    [
        "tests/test_a.py::TestA::test_x[1-a/b]",
        "tests.test_a.TestA::test_x[1-a/b]",
        "tests.test_a.TestA.test_x[1-a/b]",
        "tests\\test_a.py::TestA::test_x[1-a/b]",
    ],
)
def test_a_test_has_one_name_whoever_spells_it(spelling: str) -> None:
    assert canonical_id(spelling) == "tests.test_a.TestA.test_x[1-a/b]"


@given(st.text(max_size=300))
def test_any_message_is_normalised(message: str) -> None:
    assert normalised(normalised(message)) == normalised(normalised(normalised(message)))
