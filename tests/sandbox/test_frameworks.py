"""Which framework a project uses, by a typed command or by its files, and what its records tell."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import WorkspaceError
from sandbox.frameworks import TestPlan
from sandbox.frameworks.detection import is_test_file, plan_for, plan_from_command
from sandbox.frameworks.records import read_records
from tests.sandbox.conftest import Repository


@pytest.mark.parametrize(
    ("command", "plan"),
    [
        ("pytest", TestPlan("pytest", cwd_on_path=False)),
        ("pytest -q tests/test_a.py", TestPlan("pytest", ("-q", "tests/test_a.py"), cwd_on_path=False)),
        (".venv/bin/pytest -x", TestPlan("pytest", ("-x",), cwd_on_path=False)),
        ("python -m pytest tests", TestPlan("pytest", ("tests",))),
        ("python3.11 -m pytest", TestPlan("pytest")),
        ("uv run pytest", TestPlan("pytest", cwd_on_path=False)),
        ("poetry run python -m pytest -q", TestPlan("pytest", ("-q",))),
        ("coverage run -m pytest", TestPlan("pytest")),
        ("A=1 B='x y' pytest", TestPlan("pytest", cwd_on_path=False, variables=(("A", "1"), ("B", "x y")))),
        ("python -m unittest discover -s tests", TestPlan("unittest", ("discover", "-s", "tests"))),
        ("pytest 'tests/test_a.py::test_b[1-x]'", TestPlan("pytest", ("tests/test_a.py::test_b[1-x]",), cwd_on_path=False)),
        ("make test", TestPlan("command", shell="make test")),
        ("cd sub && pytest", TestPlan("command", shell="cd sub && pytest")),
        ("pytest; true", TestPlan("command", shell="pytest; true")),
        ("pytest $(cat args)", TestPlan("command", shell="pytest $(cat args)")),
        ("npm test -- --junit-xml=out/r.xml", TestPlan("command", shell="npm test -- --junit-xml=out/r.xml", junit="out/r.xml")),
        ("python -c 'import x' -m pytest", TestPlan("command", shell="python -c 'import x' -m pytest")),
    ],
)
def test_a_typed_command_is_understood(command: str, plan: TestPlan) -> None:
    assert plan_from_command(command) == plan


def test_a_command_with_an_open_quote_is_refused() -> None:
    with pytest.raises(WorkspaceError, match="check its quotes"):
        plan_from_command("pytest 'tests")


@given(st.text(max_size=60))
def test_any_text_is_a_plan_or_refused_in_one_sentence(command: str) -> None:
    try:
        plan = plan_from_command(command)
    except WorkspaceError:
        return
    assert plan.framework != "command" or plan.shell == command


CASE = "import unittest\nclass TestA(unittest.TestCase):\n    def test_a(self):\n        pass\n"


@pytest.mark.parametrize(
    ("files", "plan"),
    [
        ({"test_a.py": "def test_a(): pass\n"}, TestPlan("pytest")),
        ({"test_a.py": "import pytest\nclass TestA:\n    def test_a(self): pass\n"}, TestPlan("pytest")),
        ({"test_a.py": CASE}, TestPlan("unittest", ("discover",))),
        ({"tests/__init__.py": "", "tests/test_a.py": CASE}, TestPlan("unittest", ("discover",))),
        ({"tests/test_a.py": CASE}, TestPlan("unittest", ("discover", "-s", "tests"))),
        ({"tests/test_a.py": CASE, "tests/test_b.py": "def test_b(): pass\n"}, TestPlan("pytest")),
        ({"tests/test_a.py": CASE, "pyproject.toml": "[tool.pytest.ini_options]\n"}, TestPlan("pytest")),
        ({"check.py": "def test_a(): pass\n", "pytest.ini": "[pytest]\npython_files=check.py\n"}, TestPlan("pytest")),
        ({"test_a.py": b"# \xff\xfe\ndef test_a(): pass\n"}, TestPlan("pytest")),
    ],
)
def test_the_files_tell_the_framework(repository: Repository, files: dict[str, str | bytes], plan: TestPlan) -> None:
    assert plan_for(repository.files(files).commit().workspace()) == plan


def test_a_tree_without_tests_is_refused_with_the_way_out(repository: Repository) -> None:
    with pytest.raises(WorkspaceError, match="--test"):
        plan_for(repository.files({"a.py": "1\n"}).commit().workspace())


@pytest.mark.parametrize(
    "path", ["test_a.py", "a_test.py", "tests/x.py", "tests.py", "a/test/data.json", "conftest.py", "pkg/tests/__init__.py"]
)
def test_test_files_are_recognised(path: str) -> None:
    assert is_test_file(path)


@pytest.mark.parametrize("path", ["a.py", "contest.py", "latest/a.py", "testing_tools/a.md", "attest.py", "protest/x.py"])
def test_other_files_are_no_tests(path: str) -> None:
    assert not is_test_file(path)


# Records of a hostile child


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in records)


def test_honest_records_are_read() -> None:
    found = read_records(
        lines(
            {"kind": "collected", "ids": ["t::a", "t::b"]},
            {"kind": "result", "id": "t::a", "outcome": "passed"},
            {"kind": "result", "id": "t::b", "outcome": "failed", "exception": "E", "message": "m", "frames": [["t.py", 3, "b"]]},
            {"kind": "coverage", "path": "t.py", "lines": {"0": [3, 4]}},
            {"kind": "contexts", "tests": ["t::b"]},
            {"kind": "end", "status": 1},
        ),
        1.0,
    )
    assert found.collected == ("t::a", "t::b")
    assert found.report.outcomes == {"t::a": "passed", "t::b": "failed"}
    assert (found.report.failures[0].exception, found.report.failures[0].frames[0].line) == ("E", 3)
    assert found.coverage.lines == {"t.py": {"t::b": frozenset({3, 4})}}
    assert (found.status, found.report.complete) == (1, True)


def test_a_failure_cannot_be_taken_back() -> None:
    found = read_records(lines({"kind": "result", "id": "t", "outcome": "failed"}, {"kind": "result", "id": "t", "outcome": "passed"}), 0.0)
    assert found.report.outcomes == {"t": "failed"}


def test_without_an_end_the_report_is_incomplete() -> None:
    found = read_records(lines({"kind": "result", "id": "t", "outcome": "passed"}), 0.0)
    assert (found.status, found.report.complete, found.collected) == (None, False, None)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["t::a", "passed", "failed", "0", "\u00b2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["collected", "result", "collection_error", "coverage", "contexts", "end"])
FIELDS = st.sampled_from(["ids", "id", "outcome", "frames", "exception", "message", "lines", "path", "tests", "status", "text"])
HOSTILE = st.builds(lambda kind, fields: {**fields, "kind": kind}, KINDS, st.dictionaries(FIELDS, ANYTHING, max_size=5))


@given(st.lists(HOSTILE, max_size=6))
def test_hostile_records_get_a_value(records: list[dict[str, object]]) -> None:
    found = read_records(lines(*records), 0.0)
    assert set(found.report.outcomes.values()) <= {"passed", "failed", "error", "skipped", "xfailed", "xpassed"}
    assert all(isinstance(line, int) for tests in found.coverage.lines.values() for ran in tests.values() for line in ran)


@given(st.binary(max_size=300))
def test_hostile_bytes_get_a_value(data: bytes) -> None:
    assert read_records(data, 0.0).status is None


@pytest.mark.parametrize("number", ["²", "-1", "9" * 5000, "x", "1.0"])
def test_a_hostile_context_number_is_passed_over(number: str) -> None:
    found = read_records(lines({"kind": "coverage", "path": "a", "lines": {number: [1]}}, {"kind": "contexts", "tests": ["t"]}), 0.0)
    assert found.coverage.lines == {}


def test_deep_nesting_gets_a_value() -> None:
    assert read_records(b"[" * 200_000 + b"\n" + lines({"kind": "end", "status": 0}), 0.0).status == 0
