"""Grouping of failures before they are repaired."""

from __future__ import annotations

from inference.repair import by_test_function, independent_failures
from sandbox.frameworks.records import Coverage
from sandbox.reproduction import Reproduction


def groups(lines: dict[str, dict[str, set[int]]], *failing: str) -> list[tuple[str, ...]]:
    coverage = Coverage({path: {t: frozenset(n) for t, n in tests.items()} for path, tests in lines.items()})
    return independent_failures(Reproduction("failing", "", failing=failing, coverage=coverage))


def test_tests_that_ran_a_line_in_common_are_one_group() -> None:
    assert groups({"a.py": {"t1": {1, 2}, "t2": {2, 3}}}, "t1", "t2") == [("t1", "t2")]


def test_tests_that_ran_nothing_in_common_are_apart() -> None:
    assert groups({"a.py": {"t1": {1}, "t2": {2}}, "b.py": {"t1": {5}}}, "t1", "t2") == [("t1",), ("t2",)]


def test_the_same_line_number_of_two_files_is_nothing_in_common() -> None:
    assert groups({"a.py": {"t1": {1}}, "b.py": {"t2": {1}}}, "t1", "t2") == [("t1",), ("t2",)]


def test_groups_that_a_third_test_connects_are_one() -> None:
    assert groups({"a.py": {"t1": {1}, "t2": {9}, "t3": {1, 9}}}, "t1", "t2", "t3") == [("t1", "t2", "t3")]


def test_lines_of_tests_connect_nothing() -> None:
    assert groups({"tests/conftest.py": {"t1": {1}, "t2": {1}}, "a.py": {"t1": {1}, "t2": {2}}}, "t1", "t2") == [("t1",), ("t2",)]


def test_lines_of_passing_tests_connect_nothing() -> None:
    assert groups({"a.py": {"t1": {1}, "t2": {2}, "passing": {1, 2}}}, "t1", "t2") == [("t1",), ("t2",)]


def test_the_largest_group_comes_first() -> None:
    assert groups({"a.py": {"t1": {1}, "t2": {2}, "t3": {2}}}, "t1", "t2", "t3") == [("t2", "t3"), ("t1",)]


def test_a_test_without_coverage_is_a_group_of_its_own() -> None:
    assert groups({"a.py": {"t1": {1}}}, "t1", "t2") == [("t1",), ("t2",)]


def test_where_no_lines_are_known_all_tests_are_one_group() -> None:
    assert groups({}, "t1", "t2") == [("t1", "t2")]


def test_parameters_of_one_test_function_stay_together() -> None:
    assert by_test_function(["t.py::a[1]", "t.py::b", "t.py::a[2-x[y]]"]) == [("t.py::a[1]", "t.py::a[2-x[y]]"), ("t.py::b",)]
