"""The format "Trajectory v1": one recorded attempt at a failure with all its rounds, and what people did with it. One JSON object a line.

The bot writes it from what happened, collection and rollouts write it from what was sampled, training reads it. ``trajectory.schema.json``
describes it. A reader refuses a higher major version; fields that it does not know it keeps, and writes again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference import InferenceError

MAJOR, MINOR = 1, 0
FORMAT = f"{MAJOR}.{MINOR}"
Extra = Mapping[str, Any]
Span = tuple[int, int]
"""Character offsets into the completion: from, up to."""


class TrajectoryError(InferenceError):
    """A line is no trajectory, or one of a newer format; one sentence that names the line."""


@dataclass(frozen=True)
class RecordedFailure:
    """One failing test; ``frames`` are (path, line, function), outermost first."""

    test: str
    exception: str
    message: str
    frames: tuple[tuple[str, int, str], ...] = ()
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedEnvironment:
    """``lock_hash`` names the packages that the tests ran with; None where it is not known."""

    python: str
    lock_hash: str | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedProblem:
    """What was to be repaired. ``tree``: the head's source, an archive at this path relative to the file; None where it may not be kept.
    ``task``: what the code is for, in words, where somebody said it."""

    repository: str
    base_sha: str | None
    head_sha: str
    environment: RecordedEnvironment
    test_command: str
    failures: tuple[RecordedFailure, ...] = ()
    tree: str | None = None
    task: str | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """One turn of the dialogue that the model was given."""

    role: str
    content: str
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Sampling:
    """Who was sampled and how; ``adapter_hash`` names the adapter's weights, None for the base model."""

    model: str
    adapter: str | None = None
    adapter_hash: str | None = None
    temperature: float | None = None
    seed: int | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Round:
    """One proposal and its verdict. ``origin``: templates, model or human. ``verdict``: the format "Verdict", None where none was given.

    The templates sample nothing: their completion is the explanation alone, and their patch says the rest.
    """

    origin: str
    patch: str
    verdict: Mapping[str, Any] | None = None
    prompt_version: str | None = None
    messages: tuple[Message, ...] = ()
    completion: str | None = None
    explanation_span: Span | None = None
    refinement_span: Span | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    sampler: Sampling | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Feedback:
    """What a person did with the chosen patch. ``kind``: applied, edited, stacked, superseded, rejected, ignored, reverted, opted_out.

    ``ignored`` is censored: it says nothing against the patch. ``edit_distance``: 0 (landed as it was posted) to 1 (nothing in common).
    ``human_patch``: what was done instead, against the head. ``at``: seconds since 1970. ``actor_hash`` tells people apart, no more.
    """

    kind: str
    at: float
    reason: str | None = None
    actor_hash: str | None = None
    edit_distance: float | None = None
    human_patch: str | None = None
    extra: Extra = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """``chosen`` is the index of the round that was shown, None when none was. ``consent``: who allowed this to be kept, and until when;
    None for what is public anyway, such as a published data set. ``version`` is the format that it was read from."""

    id: str
    problem: RecordedProblem
    rounds: tuple[Round, ...] = ()
    chosen: int | None = None
    feedback: tuple[Feedback, ...] = ()
    consent: Mapping[str, Any] | None = None
    version: str = FORMAT
    extra: Extra = field(default_factory=dict)


def trajectory_json(trajectory: Trajectory) -> dict[str, Any]:
    """The JSON object of one line. What was read with a higher minor version keeps it, since the fields that it brought are kept too."""
    body: dict[str, Any] = _plain(trajectory)
    body["format"] = body.pop("version")
    return {key: body.pop(key) for key in ("format", "id", "consent", "problem", "rounds", "chosen", "feedback")} | body


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if not hasattr(value, "__dataclass_fields__"):
        return dict(value) if isinstance(value, Mapping) else value
    known = {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__ if name != "extra"}
    return {**value.extra, **known}


def parse_trajectory(data: object, where: str = "the object") -> Trajectory:
    """A trajectory out of its JSON object; ``where`` names it in errors. Raises TrajectoryError."""
    top = _Object(data, where)
    version = top.text("format")
    if version.partition(".")[0] != str(MAJOR):
        raise TrajectoryError(f"{where} has the format {version[:20]!r}; this version reads {MAJOR}.x: upgrade ledexbot")
    problem = top.object("problem")
    environment = problem.object("environment")
    return Trajectory(
        id=top.text("id"),
        consent=top.get("consent", dict),
        problem=RecordedProblem(
            repository=problem.text("repository"), base_sha=problem.text_or_none("base_sha"), head_sha=problem.text("head_sha"),
            tree=_inside(problem.text_or_none("tree"), where),
            environment=RecordedEnvironment(environment.text("python"), environment.text_or_none("lock_hash"), environment.rest()),
            test_command=problem.text("test_command"), failures=tuple(map(_failure, problem.objects("failures"))),
            task=problem.text_or_none("task"), extra=problem.rest(),
        ),
        rounds=tuple(map(_round, top.objects("rounds"))),
        chosen=top.get("chosen", int),
        feedback=tuple(map(_feedback, top.objects("feedback"))),
        version=version,
        extra=top.rest(),
    )  # fmt: skip


def _failure(data: _Object) -> RecordedFailure:
    frames = []
    for frame in data.list_or_none("frames", list) or ():
        match frame:
            case [str(path), int(line), str(function), *_]:
                frames.append((path, line, function))
            case _:
                raise TrajectoryError(f"{data.where}.frames holds something other than [path, line, function]")
    return RecordedFailure(data.text("test"), data.text("exception"), data.text("message"), tuple(frames), data.rest())


def _round(data: _Object) -> Round:
    return Round(
        origin=data.text("origin"), patch=data.text("patch"), verdict=data.get("verdict", dict),
        prompt_version=data.text_or_none("prompt_version"),
        messages=tuple(Message(m.text("role"), m.text("content"), m.rest()) for m in data.objects("messages")),
        completion=data.text_or_none("completion"), explanation_span=data.span("explanation_span"),
        refinement_span=data.span("refinement_span"), prompt_token_ids=data.list_or_none("prompt_token_ids", int),
        token_ids=data.list_or_none("token_ids", int), logprobs=data.list_or_none("logprobs", float),
        sampler=_sampling(data.object("sampler")) if data.get("sampler", dict) is not None else None, extra=data.rest(),
    )  # fmt: skip


def _sampling(data: _Object) -> Sampling:
    return Sampling(
        data.text("model"), data.text_or_none("adapter"), data.text_or_none("adapter_hash"), data.get("temperature", float),
        data.get("seed", int), data.rest())  # fmt: skip


def _feedback(data: _Object) -> Feedback:
    return Feedback(
        data.text("kind"), data.need("at", float), data.text_or_none("reason"), data.text_or_none("actor_hash"),
        data.get("edit_distance", float), data.text_or_none("human_patch"), data.rest())  # fmt: skip


def _inside(path: str | None, where: str) -> str | None:
    """The file may come from elsewhere: a tree lies beside it, nowhere else."""
    if path is not None and (path.startswith("/") or ".." in path.split("/") or "\0" in path):
        raise TrajectoryError(f"{where}.problem.tree leaves the file's folder")
    return path


class _Object:
    """A JSON object that is read field by field; ``rest()`` is what nobody asked for."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise TrajectoryError(f"{where} is no JSON object")
        self._data: dict[str, Any] = data
        self._asked: set[str] = set()
        self.where = where

    def rest(self) -> dict[str, Any]:
        return {key: value for key, value in self._data.items() if key not in self._asked}

    def get(self, key: str, kind: type[Any]) -> Any:
        """A value of this type, or None."""
        self._asked.add(key)
        value = self._data.get(key)
        if value is not None and not _is(value, kind):
            raise TrajectoryError(f"{self.where}.{key} is of the wrong type")
        return value

    def need(self, key: str, kind: type[Any]) -> Any:
        value = self.get(key, kind)
        if value is None:
            raise TrajectoryError(f"{self.where}.{key} is missing")
        return value

    def text(self, key: str) -> str:
        return str(self.need(key, str))

    def text_or_none(self, key: str) -> str | None:
        value: str | None = self.get(key, str)
        return value

    def object(self, key: str) -> _Object:
        return _Object(self.get(key, dict), f"{self.where}.{key}")

    def objects(self, key: str) -> list[_Object]:
        return [_Object(one, f"{self.where}.{key}[{n}]") for n, one in enumerate(self.get(key, list) or ())]

    def list_or_none(self, key: str, kind: type[Any]) -> tuple[Any, ...] | None:
        value = self.get(key, list)
        if value is not None and not all(_is(one, kind) for one in value):
            raise TrajectoryError(f"{self.where}.{key} holds something of the wrong type")
        return tuple(value) if value is not None else None

    def span(self, key: str) -> Span | None:
        value = self.list_or_none(key, int)
        if value is not None and (len(value) != 2 or not 0 <= value[0] <= value[1]):
            raise TrajectoryError(f"{self.where}.{key} is no pair [from, up to]")
        return (value[0], value[1]) if value is not None else None


def _is(value: object, kind: type[Any]) -> bool:
    if isinstance(value, bool):  # Python counts truth values among the integers, JSON does not
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def write_trajectories(trajectories: Iterable[Trajectory]) -> Iterator[str]:
    """The lines, each with its line end; ASCII, so that bytes which are no UTF-8 survive in patches."""
    for one in trajectories:
        yield json.dumps(trajectory_json(one), separators=(",", ":"), allow_nan=False) + "\n"


def read_trajectories(file: Path) -> Iterator[Trajectory]:
    """The trajectories of a file, one at a time; empty lines are skipped. Raises TrajectoryError and OSError."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{file.name}:{number}"
                try:
                    data = json.loads(line)
                except ValueError:
                    raise TrajectoryError(f"{where} is no JSON") from None
                yield parse_trajectory(data, where)
