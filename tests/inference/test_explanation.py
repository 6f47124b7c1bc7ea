"""Explanations from plain values: every claim in the text stands for something that was observed."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from inference.edits import Candidate, FunctionSource
from inference.explanation import Observation, compose, smallest_expression
from inference.templates import functions, generate
from sandbox.report import Failure

CODE = "RATE = 3\n\n\ndef total(prices, fee):\n    return sum(prices) - fee\n"
FIXED = CODE.replace("- fee", "+ fee")
FAILURE = Failure("tests/test_shop.py::test_total", "AssertionError", "assert 25 == 35\n  more text")
BEFORE = Observation("sum(prices) - fee", ("25",), (("prices", "[10, 20]"), ("fee", "5")))
AFTER = Observation("sum(prices) + fee", ("35",), (("prices", "[10, 20]"), ("fee", "5")))


def unit(name: str) -> FunctionSource:
    return next(f for f in functions("shop.py", CODE) if f.qualname == name)


def candidate(after: str = FIXED, name: str = "total") -> Candidate:
    return next(c for c in generate(unit(name), 1) if c.apply() == after)


def explained(
    failure: Failure = FAILURE,
    before: Observation | None = BEFORE,
    after: Observation | None = AFTER,
    failing: int = 1,
    alternatives: int = 0,
) -> str:
    return compose(failure, candidate(), before, after, failing, alternatives)


@pytest.mark.parametrize("words", [
    "`tests/test_shop.py::test_total` fails with `assert 25 == 35`.", "At shop.py:5, ", "`sum(prices) - fee` gives `25`",
    "when `total` is called with prices=[10, 20], fee=5", "`sum(prices) + fee` gives `35`", "and the test passes.",
])  # fmt: skip
def test_an_explanation_says_what_was_seen(words: str) -> None:
    assert words in explained()


def test_an_explanation_says_what_the_patch_changes() -> None:
    assert "The patch uses `+` instead of `-`: " in explained()


def test_more_failing_tests_are_counted() -> None:
    assert "`tests/test_shop.py::test_total` (and 3 more) fails" in explained(failing=4)


def test_other_behaviours_are_admitted() -> None:
    assert explained(alternatives=1).endswith("1 other behaviour also passed the tests that were run; read the change before merging.")


def test_no_alternatives_are_no_warning() -> None:
    assert "other behaviour" not in explained(alternatives=0)


def test_an_exception_is_named_with_its_message() -> None:
    assert "fails with `KeyError: 'x'`." in explained(Failure("t.py::t", "KeyError", "'x'"))


def test_an_exception_is_not_named_twice() -> None:
    assert "fails with `KeyError: 'x'`." in explained(Failure("t.py::t", "KeyError", "KeyError: 'x'"))


def test_a_failure_without_a_message_is_told_by_its_exception() -> None:
    assert "fails with `ZeroDivisionError`." in explained(Failure("t.py::t", "ZeroDivisionError", ""))


def test_what_was_not_observed_is_not_claimed() -> None:
    text = explained(before=None, after=None)
    assert "shop.py:5 in `total`." in text
    assert "gives" not in text


def test_an_effect_is_told_only_where_the_value_changed() -> None:
    assert "35" not in explained(after=replace(AFTER, values=("25",))).split("passes")[0].split("The patch")[1]


def test_backticks_in_values_do_not_end_the_code() -> None:
    text = explained(Failure("t.py::t", "AssertionError", "assert '`rm`' == 1"), replace(BEFORE, values=("'`x`'",)))
    assert ("assert ''rm'' == 1" in text, "gives `''x''`" in text) == (True, True)


def test_every_backtick_has_its_partner() -> None:
    hostile = Failure("t.py::test[`]", "AssertionError", "``` <b>x</b>")
    assert explained(hostile, Observation("`", ("`",), (("a", "`"),)), Observation("``", ("`b",), ())).count("`") % 2 == 0


def test_backticks_in_a_path_do_not_begin_code() -> None:
    change = candidate()
    named = replace(change, function=replace(change.function, path="a`b.py"))
    assert "a'b.py:5" in compose(FAILURE, named, BEFORE, AFTER, 1, 0)


def test_long_values_are_cut() -> None:
    text = explained(Failure("t.py::t", "AssertionError", "x" * 5000), Observation("y" * 5000, ("z" * 5000,), (("a", "w" * 5000),)))
    assert len(text) < 1200


def test_values_stay_on_one_line() -> None:
    assert "\n" not in explained(before=replace(BEFORE, values=("'a\nb'",)))


def test_repeated_values_are_told_once_and_many_are_cut() -> None:
    assert "gives `1, then 2, then 3, ...`" in explained(before=replace(BEFORE, values=("1", "1", "2", "3", "4", "5")))


@pytest.mark.parametrize("name", ["self", "cls"])
def test_the_receiver_is_no_argument_worth_telling(name: str) -> None:
    assert f"{name}=" not in explained(before=replace(BEFORE, arguments=((name, "<object>"), ("fee", "5"))))


def test_the_top_level_of_a_module_is_called_so() -> None:
    change = candidate(CODE.replace("3", "4"), "<module>")
    assert "shop.py:1 in the module's top level." in compose(FAILURE, change, None, None, 1, 0)


@pytest.mark.parametrize(("marked", "expected"), [
    ("x = a [<] b + c", "a < b + c"), ("x = [f](a)", "f(a)"), ("x = f([1])", "f(1)"), ("if a [and] b: pass", "a and b"),
    ("x = [a]", None), ("x = a(-[2])", "a(-2)"), ("x = a.[b]", "a.b"), ("x = 'é' [+] y", "'é' + y"), ("x = f'{[a]}'", None),
])  # fmt: skip
def test_the_smallest_telling_expression_around_an_edit_is_found(marked: str, expected: str | None) -> None:
    start, end = marked.index("["), marked.index("]") - 1 if "]" in marked else 0
    text = marked.replace("[", "").replace("]", "")
    node = smallest_expression(text, start, end)
    assert (ast.get_source_segment(text, node) if node is not None else None) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_do_not_move_the_expression(end: str) -> None:
    text = f"x = 1{end}# é{end}y = a - b{end}"
    at = text.index("-")
    node = smallest_expression(text, at, at + 1)
    assert node is not None
    assert (node.lineno, node.col_offset, node.end_col_offset) == (3, 4, 9)
