"""Rollouts: a model's attempts at a failure through the same proposer, prompt, parser and verification as in production.

``attempt_failure`` serves the on-policy rollouts of PPO, the teacher's samples of collection, and evaluation: what differs is the sampler
and the effort. A wrong answer's feedback goes back to the model for as many rounds as the effort has.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from inference.model import Answer, ModelError, ModelUnavailable, Options, Sampler
from inference.proposer import Proposal, Search
from inference.refinement import Effort, ModelProposer
from inference.trajectory import Message, Round, Trajectory
from sandbox import WorkspaceError
from training.problems import Opened, recorded_problem


def attempt_failure(opened: Opened, sampler: Sampler, effort: Effort, seconds: float = 120.0, adapter: str | None = None) -> Trajectory:
    """All rounds of all samples, each judged. The proposer ends at the first accepted patch; here the others are verified too, since
    training wants every one's worth. Raises ModelError where the model gave nothing at all, and where it was away before the time was up:
    what nobody answered is nobody's wrong answer."""
    search, heard = Search(), _Heard(sampler)
    until = time.monotonic() + seconds
    problem = replace(opened.problem, seconds=seconds)
    started = time.time()
    for _ in ModelProposer(heard, effort, lambda: adapter).propose(problem, search, lambda _: None):
        pass
    if isinstance(heard.fault, ModelUnavailable) and time.monotonic() < until:
        raise heard.fault
    if not search.rounds and search.notes:
        raise heard.fault or ModelError(search.notes[-1])
    rounds = judged(opened, search.rounds)
    best = next((n for n, one in enumerate(rounds) if (one.verdict or {}).get("refused_by", "") is None), None)
    name = hashlib.sha256(f"{opened.planted.id} {effort.seed} {adapter} {started}".encode()).hexdigest()[:24]
    return Trajectory(name, recorded_problem(opened), tuple(rounds), best)


class _Heard:
    """A sampler that keeps its last error: the proposer puts it into words, here its kind counts."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.fault: ModelError | None = None

    @property
    def context_tokens(self) -> int:
        return self.sampler.context_tokens

    def count_tokens(self, text: str) -> int:
        return self.sampler.count_tokens(text)

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        try:
            return self.sampler.sample(messages, options, deadline, adapter)
        except ModelError as error:
            self.fault = error
            raise


def judged(opened: Opened, rounds: Sequence[Round]) -> list[Round]:
    """Each round with a verdict where it has a patch, and with what hidden tests say. Equal patches are judged once."""
    verdicts: dict[str, Mapping[str, Any] | None] = {r.patch: r.verdict for r in rounds if r.patch and r.verdict is not None}
    hidden: dict[str, list[int]] = {}
    found = []
    for one in rounds:
        if one.patch and one.patch not in verdicts and opened.problem.check is not None:
            patch = one.patch.encode("utf-8", "surrogateescape")
            checked = opened.problem.check(Proposal(patch, "", "model", 0.0))
            verdicts[one.patch] = checked.verdict.to_json() if checked.verdict is not None else None
        if one.patch and one.patch not in hidden and opened.planted.hidden is not None:
            hidden[one.patch] = _hidden(opened, one.patch)
        extra = {**one.extra, **({"hidden": hidden[one.patch]} if one.patch in hidden else {})}
        found.append(replace(one, verdict=verdicts.get(one.patch) if one.patch else one.verdict, extra=extra))
    return found


def _hidden(opened: Opened, patch: str) -> list[int]:
    """[passed, total]; a patch that does not apply, or takes the file away, passes nothing."""
    assert opened.planted.hidden is not None
    try:
        patched = opened.head.patched(patch.encode("utf-8", "surrogateescape"), opened.folder)
        text = patched.read(opened.planted.path).decode("utf-8", "replace")
    except (WorkspaceError, OSError):
        return [0, opened.planted.hidden("")[1]]
    passed, total = opened.planted.hidden(text)
    return [passed, total]
