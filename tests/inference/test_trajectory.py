"""The format of trajectories: schema, golden file, and what a reader refuses and keeps."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from inference import trajectory as module
from inference.trajectory import (
    Feedback,
    Message,
    RecordedEnvironment,
    RecordedFailure,
    RecordedProblem,
    Round,
    Sampling,
    Trajectory,
    TrajectoryError,
    parse_trajectory,
    read_trajectories,
    trajectory_json,
    write_trajectories,
)

GOLDEN = Path(__file__).parent / "fixtures" / "trajectory.jsonl"
SCHEMA = json.loads(Path(module.__file__).with_name("trajectory.schema.json").read_text(encoding="utf-8"))
VERDICT: dict[str, Any] = {
    "level": "V4", "refused_by": None, "checks": [], "repeats": 3, "counts": {"before": None, "after": None}, "seconds": 1.5,
}  # fmt: skip


def one_of_everything() -> Trajectory:
    """Values that are easily told apart."""
    frames = (("test_shop.py", 5, "test_total"), ("shop.py", 2, "total"))
    failure = RecordedFailure("test_shop.py::test_total", "AssertionError", "assert 25 == 35", frames)
    problem = RecordedProblem(
        "octo/shop", "b" * 40, "a" * 40, RecordedEnvironment("3.12", "c" * 64), "python -m pytest", (failure,),
        f"trees/{'d' * 64}.tar.gz", "Add the prices up.")  # fmt: skip
    templates = Round("templates", "--- a/shop.py\n+\udce9\n", VERDICT, completion="It left one out.", explanation_span=(0, 16))
    sampled = Round(
        "model", "--- a/shop.py\n", None, "dialogue-1", (Message("system", "Repair."), Message("user", "def total(): ...")),
        "Because. def total(): pass", (0, 8), (9, 26), (1, 2, 3), (4, 5), (-0.25, -1.0),
        Sampling("small", "shop-1", "e" * 64, 0.7, 11))  # fmt: skip
    feedback = (
        Feedback("rejected", 1700000000.5, "wrong", "f" * 64),
        Feedback("superseded", 1700000001.0, None, "f" * 64, None, "--- a/shop.py\n"),
    )
    consent = {"use_feedback": True, "share_code": True, "source": "octo/shop:.github/ledex.toml@aaaaaaaaaaaa", "at": 1700000000.0,
               "until": 1702592000.0}  # fmt: skip
    return Trajectory("00c0ffee", problem, (templates, sampled), 0, feedback, consent)


def least() -> Trajectory:
    return Trajectory("1", RecordedProblem("set/1", None, "a", RecordedEnvironment(""), "pytest"))


def test_the_format_is_that_of_the_golden_file() -> None:
    assert "".join(write_trajectories([one_of_everything(), least()])) == GOLDEN.read_text(encoding="ascii")


def test_the_golden_file_is_read_back_as_it_was_written() -> None:
    assert list(read_trajectories(GOLDEN)) == [one_of_everything(), least()]


@pytest.mark.parametrize("line", [0, 1])
def test_every_line_of_the_golden_file_fits_the_schema(line: int) -> None:
    jsonschema.validate(json.loads(GOLDEN.read_text(encoding="ascii").splitlines()[line]), SCHEMA)


@pytest.mark.parametrize(
    ("kind", "place"),
    [(Trajectory, None), (RecordedProblem, "problem"), (RecordedFailure, "failure"), (Round, "round"), (Sampling, "sampler"),
     (Feedback, "feedback")],
)  # fmt: skip
def test_the_schema_names_exactly_the_fields_that_are_written(kind: type[Any], place: str | None) -> None:
    described = SCHEMA if place is None else SCHEMA["$defs"][place]
    fields = {"format" if f.name == "version" else f.name for f in dataclasses.fields(kind)} - {"extra"}
    assert set(described["properties"]) == set(described["required"]) == fields


def written(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(trajectory_json(one_of_everything())))
    change(data)
    return data


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("consent"),
        lambda d: d.update(format="2.0"),
        lambda d: d["consent"].update(use_feedback=False),
        lambda d: d["problem"].update(tree="../elsewhere.tar.gz"),
        lambda d: d["rounds"][0].update(origin="guess"),
        lambda d: d["rounds"][0].update(explanation_span=[1]),
        lambda d: d["feedback"][0].update(kind="disliked"),
        lambda d: d["feedback"][0].update(edit_distance=1.5),
    ],
)
def test_the_schema_refuses_what_the_format_does_not_say(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written(change), SCHEMA)


def test_fields_of_a_later_minor_version_are_kept_wherever_they_stand() -> None:
    def add(data: dict[str, Any]) -> None:
        data["format"] = "1.7"
        for place in (data, data["problem"], data["problem"]["environment"], data["problem"]["failures"][0], data["rounds"][1],
                      data["rounds"][1]["messages"][0], data["rounds"][1]["sampler"], data["feedback"][0]):  # fmt: skip
            place["news"] = {"deep": [1, None]}

    data = written(add)
    assert trajectory_json(parse_trajectory(copy.deepcopy(data))) == data


@pytest.mark.parametrize("version", ["2.0", "2", "10.1", "0.9", ""])
def test_another_major_version_is_refused(version: str) -> None:
    with pytest.raises(TrajectoryError, match="upgrade ledexbot"):
        parse_trajectory(written(lambda d: d.update(format=version)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["problem"].pop("head_sha"), "problem.head_sha"),
        (lambda d: d.update(rounds={}), "rounds"),
        (lambda d: d.update(chosen=True), "chosen"),
        (lambda d: d["rounds"][1].update(token_ids=[1, "2"]), r"rounds\[1\].token_ids"),
        (lambda d: d["rounds"][1].update(refinement_span=[5, 2]), r"rounds\[1\].refinement_span"),
        (lambda d: d["problem"]["failures"][0].update(frames=[["shop.py", "2", "f"]]), "frames"),
        (lambda d: d["feedback"][0].pop("at"), r"feedback\[0\].at"),
        (lambda d: d["problem"].update(tree="trees/../../secret"), "problem.tree"),
        (lambda d: d["problem"].update(tree="/etc/passwd"), "problem.tree"),
    ],
)
def test_what_cannot_be_read_is_named(change: Callable[[dict[str, Any]], object], named: str) -> None:
    with pytest.raises(TrajectoryError, match=named):
        parse_trajectory(written(change))


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"format": 1}'])
def test_a_line_that_is_no_trajectory_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text("\n" + line + "\n", encoding="utf-8")
    with pytest.raises(TrajectoryError, match=r"some\.jsonl:2"):
        list(read_trajectories(file))
