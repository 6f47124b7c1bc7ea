"""One completion of a model's: read, applied to the tree or refused with a reason, and what is proposed and recorded of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from inference.completion import Malformed, Parsed, apply_edits, parse_completion
from inference.context import Context
from inference.model import Answer, Completion
from inference.patch import unified_diff
from inference.prompt import PROMPT_VERSION, Mode, Turn
from inference.proposer import Problem, Proposal
from inference.touched import touched_lines
from inference.trajectory import Message, Round, Sampling
from inference.warm import Changes
from sandbox import WorkspaceError
from sandbox.frameworks.detection import is_test_file
from sandbox.refusal import refusal

ORIGIN = "model"
_MOST_EXPLANATION = 4000
_UNEXPLAINED = "The model proposed this change without an explanation."


@dataclass(frozen=True)
class Sampled:
    """One completion and what became of it. ``changes`` is None where it could not be read, applied, or changed nothing; ``round`` is its
    place in ``Search.rounds``, ``gained`` how many failing tests the warm tiers saw pass, ``feedback`` what goes back to the model."""

    turns: tuple[Turn, ...]
    completion: Completion
    parsed: Parsed | None
    trouble: Malformed | None
    changes: Changes | None
    patch: bytes
    round: int
    model: str = ""
    tests: Changes = field(default_factory=dict)
    gained: int = 0
    feedback: str | None = None

    @property
    def cost(self) -> float:
        """Mean negative log-probability of a token, 0 where it is not known: comparable among completions of one prompt."""
        return -statistics.fmean(self.completion.logprobs) if self.completion.logprobs else 0.0


def read_sampled(
    problem: Problem, context: Context, turns: tuple[Turn, ...], completion: Completion, mode: Mode, number: int
) -> Sampled:
    """What a completion would change. A text that was cut, or that cannot be read or applied, goes back with the reason."""
    workspace = problem.workspace

    def read(path: str) -> bytes | None:
        try:
            return workspace.read(path) if workspace.exists(path) else None
        except WorkspaceError:
            return None

    parsed = parse_completion(completion.text, mode, completion.finish == "stop")
    if isinstance(parsed, Malformed):
        return Sampled(turns, completion, None, parsed, None, b"", number)
    changes = apply_edits(parsed.edits, read, context.excerpts)
    if isinstance(changes, Malformed):
        return Sampled(turns, completion, parsed, changes, None, b"", number)
    tests = {path: after for path, after in changes.items() if is_test_file(path) and read(path) is None}
    if len(tests) < len(changes):  # a new test beside a fix is judged by itself
        changes = {path: after for path, after in changes.items() if path not in tests}
    patch = unified_diff({path: (read(path), after) for path, after in changes.items()})
    if not patch:
        return Sampled(turns, completion, parsed, Malformed("unchanged", "the changes change nothing"), None, b"", number)
    # What V0 would refuse costs no run, and the model hears of it.
    forbidden = refusal({path: (read(path), after) for path, after in changes.items()}, problem.scope)
    if forbidden is not None:
        return Sampled(turns, completion, parsed, Malformed("forbidden", forbidden), None, patch, number)
    return Sampled(turns, completion, parsed, None, changes, patch, number, tests=tests)


def unique(attempts: Sequence[Sampled]) -> list[Sampled]:
    """One attempt of each patch, the likeliest; what could not be read is kept."""
    best: dict[bytes, Sampled] = {}
    for attempt in attempts:
        key = attempt.patch or b"%d" % attempt.round
        if key not in best or attempt.cost < best[key].cost:
            best[key] = attempt
    return list(best.values())


def proposal_of(attempt: Sampled, behaviour: str | None) -> Proposal:
    """The patch that a completion came to, unverified; ``behaviour`` names its cluster."""
    assert attempt.parsed is not None
    assert attempt.changes is not None
    path = min(attempt.changes)
    line = min(touched_lines(attempt.patch).get(path, {0}))
    explanation = attempt.parsed.explanation[:_MOST_EXPLANATION] or _UNEXPLAINED
    return Proposal(attempt.patch, explanation, ORIGIN, -attempt.cost, behaviour, path, line, template="model",
                    round=attempt.round, tests=attempt.tests, model=attempt.model)  # fmt: skip


def round_of(attempt: Sampled, messages: tuple[Message, ...], answer: Answer, temperature: float, seed: int) -> Round:
    """What is recorded of a completion, whatever became of it."""
    parsed, completion = attempt.parsed, attempt.completion
    return Round(
        ORIGIN, attempt.patch.decode("utf-8", "surrogateescape"), None, PROMPT_VERSION, messages, completion.text,
        parsed.explanation_span if parsed is not None else None, parsed.refinement_span if parsed is not None else None,
        answer.prompt_token_ids, completion.token_ids, completion.logprobs,
        Sampling(answer.model, answer.adapter, answer.adapter_hash, temperature, seed),
        {"refused": attempt.trouble.reason} if attempt.trouble is not None else {})  # fmt: skip
