"""reproduce(): every status, and one sentence for every way in which a run says nothing."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from sandbox.frameworks import TestPlan
from sandbox.limits import MIB
from sandbox.reproduction import Reproduction, reproduce
from sandbox.runner import Command, Execution, Runner, Session
from tests.sandbox.conftest import Repository

FAILING = {
    "code_.py": "def f(x):\n    return x\n",
    "test_code.py": "from code_ import f\ndef test_f():\n    assert f(1) == 2\ndef test_g():\n    assert f(3) == 3\n",
}


class Waiting:
    """A runner that starts the second and later runs only after a moment of the clock."""

    name = "waiting"

    def __init__(self, runner: Runner, moment: float) -> None:
        self.runner, self.moment, self.runs = runner, moment, 0

    def run(self, command: Command) -> Execution:
        self.runs += 1
        if self.runs > 1:
            time.sleep(max(0.0, self.moment + 0.2 - time.time()))
        return self.runner.run(command)

    def open(self, command: Command) -> Session:
        return self.runner.open(command)


def found(repository: Repository, files: dict[str, str], **limits: float) -> Reproduction:
    head = repository.files(files).commit().workspace()
    return reproduce(repository.bench(head, **limits), head)


def test_a_failure_is_seen_twice_with_its_place_and_lines(repository: Repository) -> None:
    result = found(repository, FAILING)
    assert (result.status, result.reason) == ("failing", "1 of 2 tests fail")
    assert (result.failing, result.passing) == (("test_code.py::test_f",), ("test_code.py::test_g",))
    assert result.expected == ("test_code.py::test_f", "test_code.py::test_g")
    failure = result.failures[0]
    assert (failure.exception, failure.frames[-1].path, failure.frames[-1].line) == ("AssertionError", "test_code.py", 3)
    assert result.coverage.lines["code_.py"]["test_code.py::test_f"] == frozenset({2})


def test_passing_tests_are_told(repository: Repository) -> None:
    result = found(repository, {"test_a.py": "def test_a(): pass\n"})
    assert (result.status, result.reason) == ("passing", "all 1 tests pass")


def test_a_test_that_fails_by_chance_is_flaky(repository: Repository) -> None:
    """It fails until the clock passes a mark, which it does after the first run; the third, without coverage, decides."""
    mark = time.time() + 6
    head = repository.files({"test_a.py": f"import time\ndef test_a():\n    assert time.time() > {mark}\n"}).commit().workspace()
    bench = repository.bench(head)
    waiting = Waiting(bench.runner, mark)
    result = reproduce(replace(bench, runner=waiting), head)
    assert (result.status, result.flaky, waiting.runs) == ("flaky", ("test_a.py::test_a",), 3)


def test_a_failure_of_the_base_is_pre_existing(repository: Repository) -> None:
    head = repository.files(FAILING).commit().workspace()
    result = reproduce(repository.bench(head), head, head)
    assert (result.status, result.reason) == ("pre_existing", "test_code.py::test_f fails on the base too")


def test_a_failure_that_the_base_does_not_have_is_this_changes(repository: Repository) -> None:
    base = repository.files({**FAILING, "code_.py": "def f(x):\n    return 2 if x == 1 else x\n"}).commit().workspace()
    head = repository.files(FAILING).commit().workspace()
    result = reproduce(repository.bench(head), head, base)
    assert (result.status, result.passes_on_base) == ("failing", True)


@pytest.mark.parametrize(
    ("files", "limits", "word"),
    [
        ({"test_a.py": "import nowhere\ndef test_a(): pass\n"}, {}, "No module named 'nowhere'"),
        ({"test_a.py": "def test_a(:\n"}, {}, "SyntaxError"),
        ({"test_a.py": "import os\ndef test_a(): os._exit(0)\n"}, {}, "without a report"),
        ({"test_a.py": "import os\ndef test_a(): os.kill(os.getpid(), 11)\n"}, {}, "without a report"),
        ({"test_a.py": "def test_a():\n    while True: pass\n"}, {"wall_seconds": 3.0}, "time limit"),
        (
            {"test_a.py": "def test_a():\n    while True: print('x' * 100000)\n", "pytest.ini": "[pytest]\naddopts = -s\n"},
            {"output_bytes": 4096},
            "output limit",
        ),
        (
            {"test_a.py": "import time\ndef test_a():\n    b = b'x' * (300 << 20)\n    time.sleep(9)\n"},
            {"memory_bytes": 200 * MIB},
            "memory limit",
        ),
        ({"test_a.py": "x = 1\n"}, {}, "no tests were collected"),
        ({"test_a.py": "def test_a(): pass\n", "pytest.ini": "[pytest]\naddopts = --no-such-option\n"}, {}, "--no-such-option"),
        ({"test_a.py": "def test_a(): pass\n", "conftest.py": "1 / 0\n"}, {}, "--test"),
    ],
    ids=["import", "syntax", "exit", "crash", "hang", "output", "memory", "none", "option", "conftest"],
)
def test_what_says_nothing_is_broken_for_one_stated_reason(
    repository: Repository, files: dict[str, str], limits: dict[str, float], word: str
) -> None:
    result = found(repository, files, **limits)
    assert result.status == "broken"
    assert word in result.reason
    assert "\n" not in result.reason


def test_a_command_of_any_kind_is_one_test(repository: Repository) -> None:
    head = repository.files({"check.sh": "echo checking; exit 3\n"}).commit().workspace()
    bench = replace(repository.bench(repository.files(FAILING).commit().workspace()), plan=TestPlan("command", shell="sh check.sh"))
    result = reproduce(bench, head)
    assert (result.status, result.failing, result.failures[0].message) == ("failing", ("command",), "checking")
