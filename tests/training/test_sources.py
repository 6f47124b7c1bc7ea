"""Where wrong code comes from beside planting: what a model writes and the tests refuse, and failures that the bot has met."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.runner import Runner
from tests.training.scripted import Scripted
from tests.training.trajectories import trajectory
from training import DataError
from training.benchmark.mbpp import Task
from training.census import Census
from training.collect import template_teacher
from training.problems import open_planted, recorded_problem
from training.recipe import CollectOptions
from training.recorded import recorded_in
from training.references import group_of
from training.sampled import SolutionOptions, read_texts, sampled_in_tasks, solution_in, solution_prompt
from training.sources import evaluation_sets, sources, training_ids

FILES = {"calc.py": "def add(a, b):\n    return a - b\n",
         "test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"}  # fmt: skip


def test_of_a_models_solutions_those_that_fail_a_test_are_kept(runner: Runner, task: Task) -> None:
    wrong, right = "def add(a, b):\n    return a - b", "def add(a, b):\n    return a + b"
    said = (f"```python\n{wrong}\n```", wrong, f"Here:\n```\n{right}\n```", "Add them!")
    [kept] = sampled_in_tasks(runner, [task], {task.id: "Add two numbers."}, Scripted(*said), SolutionOptions(samples=4))
    assert (kept.kind, kept.operator, kept.task) == ("sampled", "scripted", "Add two numbers.")
    assert kept.wrong == "def add(a, b):\n    return a - b\n"
    assert kept.hidden is not None
    assert kept.hidden(kept.right)[0] == kept.hidden(kept.right)[1] > kept.hidden(kept.wrong)[0]
    assert list(sampled_in_tasks(runner, [task], {}, Scripted(*said))) == []


def test_the_prompt_shows_the_task_and_what_everybody_may_see(task: Task) -> None:
    [message] = solution_prompt("Add two numbers.\r\n", task)
    assert "Add two numbers." in message.content
    assert task.asserts[0] in message.content
    assert task.asserts[-1] not in message.content
    assert solution_in("no block") == "no block\n"
    assert len(read_texts()) > 900


def archived(folder: Path, *, evil: bool = False) -> str:
    name = "evil.tar.gz" if evil else "tree.tar.gz"
    (folder / "trees").mkdir(exist_ok=True)
    with tarfile.open(folder / "trees" / name, "w:gz") as tar:
        for path, text in {**FILES, **({"../outside.py": "x"} if evil else {})}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return f"trees/{name}"


def test_a_failure_that_the_bot_met_is_opened_again_from_its_source(runner: Runner, tmp_path: Path) -> None:
    from inference.trajectory import write_trajectories

    met = replace(trajectory().problem, repository="octo/calc", tree=archived(tmp_path))
    again = trajectory("twice", problem=met)
    gone = trajectory("gone", problem=replace(met, head_sha="c" * 40, tree="trees/gone.tar.gz"))
    evil = trajectory("evil", problem=replace(met, head_sha="d" * 40, tree=archived(tmp_path, evil=True)))
    lines = write_trajectories([trajectory("one", problem=met), again, gone, evil, trajectory("without")])
    (tmp_path / "bot.jsonl").write_text("".join(lines))
    census = Census()
    first, hostile = recorded_in([tmp_path], census)
    assert census.left_out == {"its source was not kept": 2}
    assert (first.project, first.licence) == ("octo/calc", "private")
    opened = open_planted(replace(first, problem=first.problem), runner, tmp_path / "opened")
    assert not isinstance(opened, str), opened
    assert recorded_problem(opened).head_sha == met.head_sha
    assert [failure.test for failure in recorded_problem(opened).failures] == ["test_calc.py::test_add"]
    assert first.id == f"recorded/{group_of(again)}"
    assert template_teacher(opened).rounds == ()  # no way back is known: a model has to teach
    said = open_planted(hostile, runner, tmp_path / "hostile")
    assert isinstance(said, str)
    assert said.startswith("cannot be opened: ")
    assert not (tmp_path / "hostile" / "outside.py").exists()


def test_ids_that_figures_are_reported_on_are_not_collected(runner: Runner, tmp_path: Path) -> None:
    assert training_ids("601-974") == range(601, 975)
    for wrong in ("11-510", "601", "590-700", "974-601"):
        with pytest.raises(DataError, match="601-974"):
            training_ids(wrong)
    with pytest.raises(DataError, match="no tasks as MBPP"):
        list(sources(runner, CollectOptions(), tmp_path / "absent.jsonl", [], ""))


def test_named_evaluation_sets_are_guarded(tmp_path: Path) -> None:
    program = "def squares(count):\n    return [k * k for k in range(count) if k % 3 and k < 99]\n"
    (tmp_path / "one.py").write_text(program)
    guarded = evaluation_sets([f"mine={tmp_path}"])
    assert guarded.found_in(program.replace("count", "n")) == "mine"
    assert json.dumps(guarded.found_in("x = 1")) == "null"
    others = "".join(f"def f{n}(a, b):\n    return a ** {n} - b\n\n\n" for n in range(30))
    among_others = others + "class A:\n" + textwrap.indent(program, "    ")
    assert guarded.found_in(among_others) is None
    assert guarded.found_inside(among_others) == "mine"
    assert guarded.names == ("MBPP 11-510", "MBPP 511-600", "mine")


@pytest.mark.parametrize("packed", [False, True])
def test_an_evaluation_set_may_be_its_published_file(packed: bool, tmp_path: Path) -> None:
    prompt, solution = "def squares(count):\n", "    return [k * k for k in range(count) if k % 3 and k < 99]\n"
    line = json.dumps({"task_id": "HumanEval/1", "prompt": prompt, "canonical_solution": solution}).encode() + b"\n"
    file = tmp_path / ("set.jsonl.gz" if packed else "set.jsonl")
    file.write_bytes(gzip.compress(line) if packed else line)
    assert evaluation_sets([f"humaneval={file}"]).found_in(prompt + solution) == "humaneval"
    for wrong in (b"[1]\n", b"\x1f\x8b", b'{"prompt": 3}\n'):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match="write NAME=PATH"):
            evaluation_sets([f"humaneval={file}"])
