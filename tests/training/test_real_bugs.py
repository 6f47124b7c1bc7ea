"""Real bugs, on a small history made here: the layout is the broken state, the true fix passes, wrong patches do not."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sandbox.runner import Runner
from tests.training import fake_repairs
from training.benchmark import real_bugs
from training.benchmark.checkout import apply_patch, changed_places, function_at, run_git
from training.benchmark.command import WrongUse, choose_bugs
from training.benchmark.real_bugs import MaterializeError, RealBug
from training.benchmark.run import run_real

BROKEN = """VERSION = 1


class Calc:
    def twice(self, value):
        return value * 3

    def once(self, value):
        return value
"""
TEST = "from calc import Calc\n\n\ndef test_once():\n    assert Calc().once(1) == 1\n"
NEW_TEST = TEST + "\n\ndef test_twice():\n    assert Calc().twice(2) == 4\n"


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run_git(["add", "-A"], folder)
    run_git(["commit", "-q", "-m", "step"], folder)
    return run_git(["rev-parse", "HEAD"], folder).decode().strip()


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, RealBug]:
    """A mirror folder with one repository of two commits, and the bug between them."""
    folder = tmp_path / "mirrors" / "someone+calc" / "repo"
    folder.mkdir(parents=True)
    run_git(["init", "-q", "-b", "main"], folder)
    base = commit(folder, {"src/calc.py": BROKEN, "tests/test_calc.py": TEST, "tests/old.py": "gone = 1\n"})
    (folder / "tests/old.py").unlink()
    fixed = BROKEN.replace("value * 3", "value * 2")
    fix = commit(folder, {"src/calc.py": fixed, "tests/test_calc.py": NEW_TEST, "tests/data.txt": "new"})
    bug = RealBug(
        id="someone__calc-1", repository="someone/calc", base=base, fix=fix, source_file="src/calc.py",
        test_files=("tests/test_calc.py", "tests/data.txt", "tests/old.py"), fail_to_pass=("tests/test_calc.py::test_twice",),
        test_command=("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "tests/test_calc.py"),
        environment={"PYTHONPATH": "src:."}, requirements=(), stub=("calc", "1.0"), kind="single-line", edit="field:Constant.value",
        places=1, lines_old=1, lines_new=1,
    )  # fmt: skip
    return tmp_path / "mirrors", bug


@pytest.fixture
def git_dir(history: tuple[Path, RealBug], tmp_path: Path) -> Path:
    return real_bugs.find_mirror("someone/calc", history[0], tmp_path / "work")


def patch(new: str) -> str:
    return (
        "--- a/src/calc.py\n+++ b/src/calc.py\n@@ -4,5 +4,5 @@\n class Calc:\n     def twice(self, value):\n"
        f"-        return value * 3\n+        return {new}\n \n     def once(self, value):\n"
    )


def test_the_layout_is_the_base_with_the_fixs_tests(history: tuple[Path, RealBug], git_dir: Path, tmp_path: Path) -> None:
    root = real_bugs.materialize(history[1], git_dir, tmp_path / "out" / "calc")
    assert (root / "src/calc.py").read_text() == BROKEN
    assert (root / "tests/test_calc.py").read_text() == NEW_TEST
    assert (root / "tests/data.txt").read_text() == "new"
    assert not (root / "tests/old.py").exists()


def test_the_layout_is_one_clean_commit_without_the_fix(history: tuple[Path, RealBug], git_dir: Path, tmp_path: Path) -> None:
    root = real_bugs.materialize(history[1], git_dir, tmp_path / "calc")
    assert run_git(["rev-list", "--all", "--count"], root) == b"1\n"
    assert run_git(["status", "--porcelain"], root) == b""
    assert b"value * 2" not in run_git(["log", "-p", "--all"], root)


def test_the_mirror_is_only_read(history: tuple[Path, RealBug], git_dir: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in git_dir.rglob("*") if p.is_file()}
    real_bugs.materialize(history[1], git_dir, tmp_path / "calc")
    assert {p: p.read_bytes() for p in git_dir.rglob("*") if p.is_file()} == before


def test_a_bug_that_fails_before_and_passes_after_checks_out(history: tuple[Path, RealBug], git_dir: Path, runner: Runner) -> None:
    assert real_bugs.check(runner, history[1], git_dir, Path(sys.executable)).ok


def test_a_bug_whose_tests_do_not_fail_does_not_check_out(history: tuple[Path, RealBug], git_dir: Path, runner: Runner) -> None:
    bug = RealBug(**{**vars(history[1]), "fail_to_pass": ("tests/test_calc.py::test_once",)})
    made = real_bugs.check(runner, bug, git_dir, Path(sys.executable))
    assert (made.ok, made.detail) == (False, "1 of its tests do not fail before the fix, 0 do not pass after it")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (patch("value * 2"), (True, "")),
        (patch("value"), (False, "1 of the bug's tests do not pass, 0 others broke")),
        (patch("value * 2").replace("Calc", "Clac"), (False, "the patch does not apply")),
    ],
)
def test_the_projects_tests_judge_a_patch(
    history: tuple[Path, RealBug], git_dir: Path, runner: Runner, tmp_path: Path, text: str, expected: tuple[bool, str]
) -> None:
    root = real_bugs.materialize(history[1], git_dir, tmp_path / "calc")
    assert real_bugs.verdict(runner, history[1], root, Path(sys.executable), text) == expected
    assert (root / "src/calc.py").read_text() == BROKEN


def test_the_place_of_the_true_fix_is_its_function(history: tuple[Path, RealBug], git_dir: Path) -> None:
    assert real_bugs.true_places(history[1], git_dir) == {("src/calc.py", "Calc.twice")}


def test_the_place_of_a_patch_is_the_function_it_changes() -> None:
    assert changed_places(patch("value * 2"), {"src/calc.py": BROKEN}) == {("src/calc.py", "Calc.twice")}


def test_an_inserted_line_belongs_to_the_function_before_it() -> None:
    text = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    assert changed_places("--- a/m.py\n+++ b/m.py\n@@ -1,0 +2 @@\n+    x = 1\n", {"m.py": text}) == {("m.py", "f")}


@pytest.mark.parametrize(("line", "name"), [(1, "<module>"), (6, "Calc.twice"), (9, "Calc.once"), (4, "<module>")])
def test_a_line_lies_in_its_innermost_function(line: int, name: str) -> None:
    assert function_at(BROKEN, line) == name


def test_a_patch_that_does_not_apply_is_said(tmp_path: Path) -> None:
    assert apply_patch(tmp_path, patch("value * 2")) is False


def test_a_missing_mirror_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MaterializeError, match="no git mirror of a/b"):
        real_bugs.find_mirror("a/b", tmp_path, tmp_path)


def test_a_commit_that_the_mirror_lacks_is_one_sentence(history: tuple[Path, RealBug], git_dir: Path, tmp_path: Path) -> None:
    bug = RealBug(**{**vars(history[1]), "base": "0" * 40})
    with pytest.raises(MaterializeError, match="update the mirror"):
        real_bugs.materialize(bug, git_dir, tmp_path / "x")


def test_an_environment_is_built_once_with_the_stub_metadata(history: tuple[Path, RealBug], tmp_path: Path) -> None:
    python = real_bugs.build_environment(history[1], tmp_path / "work")
    stamp = python.parent.parent.joinpath("complete").stat().st_mtime_ns
    version = subprocess.run(
        [str(python), "-c", "import importlib.metadata as m; print(m.version('calc'))"], capture_output=True, check=True
    )
    assert version.stdout == b"1.0\n"
    assert real_bugs.build_environment(history[1], tmp_path / "work") == python
    assert python.parent.parent.joinpath("complete").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, None, "environment"),
        ({}, fake_repairs.outcome("flaky"), "environment"),
        ({"places": 2}, fake_repairs.outcome("unfixed"), "several places"),
        ({"kind": "multi-hunk"}, fake_repairs.outcome("unfixed"), "several places"),
        ({}, fake_repairs.outcome("unfixed", suspects=[{"path": "src/calc.py", "function": "Calc.once"}]), "not localized"),
        ({"edit": "stmt-insert(0->1):If"}, fake_repairs.outcome("unfixed"), "missing logic"),
        ({"edit": "stmt:Assign->Try"}, fake_repairs.outcome("unfixed"), "missing logic"),
        ({"lines_new": 4}, fake_repairs.outcome("unfixed"), "missing logic"),
        ({}, fake_repairs.outcome("unfixed", candidates={"exhausted": False}), "too slow"),
        ({}, fake_repairs.outcome("unfixed"), "edit not generated"),
    ],
)
def test_a_miss_has_its_reason(
    history: tuple[Path, RealBug], changes: dict[str, object], outcome: dict[str, object] | None, reason: str
) -> None:
    bug = RealBug(**{**vars(history[1]), **changes})
    assert real_bugs.miss_reason(bug, outcome, {("src/calc.py", "Calc.twice")}) == reason


def test_the_shipped_manifest_is_read() -> None:
    bugs = real_bugs.read_manifest()
    assert len(bugs) == len({bug.id for bug in bugs}) == 44
    assert all(bug.test_command[:3] == ("python", "-m", "pytest") for bug in bugs)


def test_an_unknown_id_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match="no bug is called nope"):
        choose_bugs(["nope"], real_bugs.MANIFEST)


def test_a_repaired_bug_is_fixed_in_the_right_place(history: tuple[Path, RealBug], runner: Runner, tmp_path: Path) -> None:
    mirrors, bug = history
    result = run_real(
        bug, runner, fake_repairs.mends_calc, 5, "auto", tmp_path / "work", mirrors, threading.Event(),
        build=lambda bug, work: Path(sys.executable),
    )  # fmt: skip
    assert (result.fixed, result.place, result.level, result.miss) == (True, True, "V3", "")
