"""Suites of planted bugs: they count only if they fail, the layout is red, and a seed fixes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sandbox.runner import Runner
from training.benchmark import mbpp
from training.benchmark.judging import Oracle, agrees, execute
from training.benchmark.mbpp import Bug, Suite, Task


def small_tasks() -> list[Task]:
    return [
        Task(1, "def largest(xs):\n    best = xs[0]\n    for x in xs:\n        if x > best:\n            best = x\n    return best\n",
             ("assert largest([1, 5, 2]) == 5", "assert largest([-3, -1]) == -1", "assert largest([4]) == 4")),
        Task(2, "import math\n\ndef area(r, n):\n    if r < 0:\n        return 0\n    return math.floor(r * n)\n",
             ("assert area(2, 3) == 6", "assert area(-1, 3) == 0", "assert area(5, 7) == 35")),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def suite(runner: Runner) -> Suite:
    return mbpp.make_suite(runner, small_tasks(), count=4, seed=5, jobs=2)


def test_the_suite_has_the_fixed_mix(suite: Suite) -> None:
    assert Counter(b.mutant.kind for b in suite.bugs) == {"token": 1, "expression": 1, "guard": 1, "statement": 1}


def test_the_same_seed_plants_the_same_bugs(runner: Runner, suite: Suite) -> None:
    assert mbpp.make_suite(runner, small_tasks(), count=4, seed=5) == suite


def test_every_bug_fails_a_shown_assert_and_differs_on_held_back_inputs(runner: Runner, suite: Suite) -> None:
    for bug in suite.bugs:
        outcomes = execute(runner, bug.mutant.text, [bug.oracle.hidden, *bug.task.shown], bug.oracle.calls)
        assert not all(outcomes.holds(i + 1) for i in range(2))
        assert not agrees(bug.oracle, outcomes)


def test_an_unusable_task_is_skipped_and_counted(runner: Runner) -> None:
    broken = Task(3, "def f(n):\n    return n\n", ("assert f(1) == 2",) * 3)
    made = mbpp.make_suite(runner, [broken], count=1, seed=1)
    assert made.bugs == ()
    assert made.skipped["task: reference fails its asserts"] == 1


def test_the_layout_is_a_clean_checkout_that_is_red(bug: Bug, tmp_path: Path) -> None:
    folder = mbpp.lay_out(bug, tmp_path / "task")
    run = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, check=True).stdout
    assert "2 failed" in run.stdout
    assert status == b""


def test_the_hidden_assert_is_not_in_the_layout(bug: Bug, tmp_path: Path) -> None:
    folder = mbpp.lay_out(bug, tmp_path / "task")
    assert "add(0, 4)" not in "".join(p.read_text() for p in folder.glob("*.py"))


def test_tests_import_what_they_use(tmp_path: Path) -> None:
    program = "import math\nclass Pair:\n    pass\ndef f(p):\n    return 1\n"
    module = mbpp.test_module(Task(1, program, ("assert f(Pair()) == 1", "assert math.isclose(f(0), 1)", "assert True")))
    assert module.startswith("from solution import Pair, f, math\n")


def test_set_up_code_becomes_part_of_the_program(tmp_path: Path) -> None:
    data = tmp_path / "tasks.jsonl"
    row = {"task_id": 7, "code": "def f():\r\n    return X", "test_setup_code": "X = 1", "test_list": ["assert f() == 1"] * 3}
    data.write_text(json.dumps(row) + "\n")
    assert mbpp.read_tasks([7], data)[0].program == "X = 1\n\ndef f():\n    return X\n"


def test_the_shipped_data_hold_974_tasks_of_three_asserts() -> None:
    assert {len(t.asserts) for t in mbpp.read_tasks(mbpp.TUNING)} == {3}
    with mbpp.DATA.open() as file:
        assert sum(1 for _ in file) == 974


def test_a_saved_suite_is_read_back(suite: Suite, tmp_path: Path) -> None:
    mbpp.save(suite, tmp_path / "suite.jsonl", {"seed": 5})
    assert mbpp.load(tmp_path / "suite.jsonl", {"seed": 5}) == suite


def test_a_saved_suite_of_other_parameters_is_not_used(suite: Suite, tmp_path: Path) -> None:
    mbpp.save(suite, tmp_path / "suite.jsonl", {"seed": 5})
    assert mbpp.load(tmp_path / "suite.jsonl", {"seed": 6}) is None


def test_an_oracle_keeps_the_last_assert_hidden(oracle: Oracle) -> None:
    assert oracle.hidden == "assert add(0, 4) == 4"
