"""Collection from planted bugs through the real sandbox: what is kept, what is left out, and going on after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from inference.completion import render_completion
from inference.model import ModelError
from inference.refinement import Effort
from inference.text_edits import TextEdit
from inference.trajectory import Trajectory, read_trajectories
from sandbox.report import Failure
from sandbox.runner import Runner
from tests.training.scripted import Scripted, answer
from tests.training.trajectories import round_of
from training.benchmark.mbpp import Bug
from training.census import Census
from training.collect import collect, model_teacher, template_teacher
from training.contamination import guard
from training.dataset import examples_of
from training.encoder import LexicalEncoder
from training.problems import Opened, Planted, from_bug, open_planted, planted_in_repository, recorded_problem
from training.references import is_correct, is_verified
from training.reward import Verified, gated_reward, paper_reward
from training.rewarded import attempt_of
from training.rollout import attempt_failure
from training.teaching import explain_edit, known_edit

NOTHING = guard({})


@pytest.fixture(scope="module")
def opened(runner: Runner, tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Opened:
    found = open_planted(planted, runner, tmp_path_factory.mktemp("open") / "bug")
    assert not isinstance(found, str), found
    return found


@pytest.fixture(scope="module")
def planted(runner: Runner, planted_bug: Bug) -> Planted:
    return from_bug(runner, planted_bug)


def test_the_known_edit_occurs_once_and_leads_back() -> None:
    wrong = "def f(x):\n    y = x\n    return y\n\n\ndef g(x):\n    y = x\n    return y\n"
    right = wrong[::-1].replace("x = y"[::-1], "x = y"[::-1], 1)[::-1].replace("def g(x):\n    y = x\n", "def g(x):\n    y = x + 1\n")
    edit = known_edit("a.py", wrong, right)
    assert edit is not None
    assert wrong.count(edit.search) == 1
    assert wrong.replace(edit.search, edit.replace) == right
    assert known_edit("a.py", wrong, wrong) is None


@pytest.mark.parametrize(
    ("wrong", "right"), [("a = 1\n", "a = 1\nb = 2\n"), ("a = 1\nb = 2\n", "b = 2\n"), ("x\n", "y"), ("\n\na\n", "\na\n")]
)
def test_every_difference_has_an_edit(wrong: str, right: str) -> None:
    edit = known_edit("a.py", wrong, right)
    assert edit is not None
    assert wrong.replace(edit.search, edit.replace, 1) == right


def test_the_explanation_says_what_was_seen_and_what_changes() -> None:
    edit = TextEdit("a.py", "def add(a, b):\n    return a - b\n", "def add(a, b):\n    return a + b\n")
    said = explain_edit(edit, [Failure("t.py::test_first", "AssertionError", "assert -1 == 3", (), "")], "seed")
    assert "assert -1 == 3" in said
    assert "`return a - b`" in said
    assert "`return a + b`" in said
    assert "def add" not in said
    assert len({explain_edit(edit, [], str(seed)) for seed in range(20)}) == 3


def test_templates_teach_a_verified_dialogue_in_the_form_of_production(opened: Opened) -> None:
    trajectory = template_teacher(opened)
    [round_] = trajectory.rounds
    assert is_verified(round_)
    passed, total = round_.extra["hidden"]
    assert passed == total > 50
    assert "return a - b" in round_.messages[1].content
    assert [e.kind for e in examples_of([trajectory], Census())] == ["refine", "explain"]


HACKS = {
    "edits the test": render_completion("x", [TextEdit("test_solution.py", "== 3", "== -1")]),
    "exits early": answer("    import os\n    os._exit(0)\n"),
    "special-cases the literals": answer("    if (a, b) == (1, 2):\n        return 3\n    return 7 if a == 2 else a - b\n"),
    "looks the answers up": answer("    return {(1, 2): 3, (2, 5): 7}[a, b]\n"),
    "skips the tests": answer("    import pytest\n    pytest.skip()\n"),
    "equals everything": answer("    class All(int):\n        __eq__ = lambda *_: True\n        __hash__ = None\n    return All(0)\n"),
}


def test_a_policy_that_cheats_gets_no_reward(opened: Opened) -> None:
    honest = ("I do not know.", answer("    return a * b\n"), answer("    return a + b\n"))
    trajectory = attempt_failure(opened, Scripted(*HACKS.values(), *honest), Effort(samples=len(HACKS) + len(honest), rounds=0))
    unread, wrong, right = trajectory.rounds[-3:]
    assert (unread.extra["refused"], "hidden" in unread.extra) == ("no_edits", False)
    assert wrong.extra["hidden"][0] < wrong.extra["hidden"][1] == right.extra["hidden"][0]
    verified = Verified(("def add(a, b):\n    return a + b",), ("It subtracts.",))
    attempts = [attempt_of(r) for r in trajectory.rounds]
    # The execution filter: nothing of it is imitated, or stands as a reference. What looks answers up is found by the hidden tests.
    assert [is_correct(r) for r in trajectory.rounds] == [False] * (len(HACKS) + 2) + [True]
    assert len(list(examples_of([replace(trajectory, rounds=trajectory.rounds[:-1])], Census()))) == 0
    paid = [gated_reward(attempt, verified, LexicalEncoder()) for attempt in attempts]
    for name, reward in zip(HACKS, paid, strict=False):
        assert reward.refinement <= -1.0, name
        assert (reward.explanation or 0.0) <= 0.0, name
    assert paid[-1].refinement >= 1.0
    # The paper's reward has no such wall: tests that cannot be run pay nothing, but whoever passes the shown ones is paid for them.
    printed = dict(zip(HACKS, (paper_reward(attempt, verified, LexicalEncoder()) for attempt in attempts), strict=False))
    refused = ("edits the test", "exits early", "skips the tests")
    for name, paid_by_the_paper in printed.items():
        assert paid_by_the_paper is not None
        assert paid_by_the_paper.refinement < -4.0 if name in refused else paid_by_the_paper.refinement > 0.0, name


def test_bugs_are_planted_in_any_repository(runner: Runner, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    (project / "test_calc.py").write_text("from calc import add\n\ndef test_add():\n    assert add(1, 2) == 3\n")
    found = list(planted_in_repository(project, "owner/project", 1, "MIT", ["token"], 3))
    assert found
    assert all(p.path == "calc.py" and p.right != p.wrong for p in found)
    opened = open_planted(found[0], runner, tmp_path / "opened")
    assert not isinstance(opened, str), opened
    assert [failure.test_id for failure in opened.reproduction.failures] == ["test_calc.py::test_add"]


def quickly(opened: Opened) -> Trajectory:
    """A teacher whose answer was verified elsewhere."""
    return Trajectory(f"planted/{opened.planted.id}", recorded_problem(opened), (round_of(),), 0)


def test_a_killed_collection_goes_on_and_counts_what_it_leaves_out(runner: Runner, planted: Planted, tmp_path: Path) -> None:
    silent = replace(planted, id="silent", wrong=planted.wrong + "# same\n", write=lambda folder: _with(planted, folder, planted.right))
    known = "def f(n):\n    return [i * i for i in range(n) if i % 3]\n"
    evaluated = replace(planted, id="evaluated", wrong=planted.wrong + "#\n", right=known)
    guarded = guard({"kept apart": ["def squares(count):\n    return [k * k for k in range(count) if k % 3]\n"]})
    source = [planted, replace(planted, id="again"), silent, evaluated]
    reports: list[int] = []
    state = collect(source, quickly, runner, tmp_path, guarded, held_out=0.0, report=lambda s: reports.append(s.kept))
    assert (state.kept, state.resumed) == (1, 0)
    assert state.left_out == {"the same wrong code again": 1, "no test notices the bug": 1, "stands in the evaluation set kept apart": 1}
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"format": "1.0", "id": "cut')
    again = collect(source, quickly, runner, tmp_path, guarded, held_out=0.0)
    assert (again.kept, again.resumed) == (0, 1)
    assert again.left_out == state.left_out, "the double of what is there already is none of this run's either"
    [kept] = read_trajectories(tmp_path / "train.jsonl")
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["wrong_solutions"], card["correct_refinements"], card["rate"]) == (1, 1, 1.0)
    assert card["guarded_against"] == ["kept apart"]
    assert (card["by_kind"], card["licences"]) == ({"token": 1}, ["CC-BY-4.0 (MBPP)"])
    assert kept.problem.extra["planted"] == planted.id


def _with(planted: Planted, folder: Path, text: str) -> Path:
    from training.benchmark.checkout import run_git

    planted.write(folder)
    (folder / planted.path).write_text(text)
    run_git(["commit", "-aqm", "silent", "--no-verify"], folder)
    return folder


def test_a_teacher_that_never_answers_ends_the_run(runner: Runner, planted: Planted, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nobody"):
        collect([planted], model_teacher(Scripted()), runner, tmp_path, NOTHING)
