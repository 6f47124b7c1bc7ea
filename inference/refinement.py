"""The model as a Proposer: LEDEX's loop. Sample explanations and patches, see the verdicts, hand them back, sample again.

Round 0 asks once for ``samples`` completions. Each is read, applied, judged on the warm tiers where the project allows it, and what is
plausible there is verified cold, likeliest behaviour first. What failed goes back to the model with its execution feedback, for up to
``rounds`` refinements (the paper evaluates 1 and 3). ``strategy="resample"`` spends the same number of samples on round 0's prompt: the
baseline that refinement has to beat. Budgets: seconds (the problem's), tokens, GPU-seconds; the first one that ends, ends the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from inference import InferenceError
from inference.completion import completion_regex
from inference.context import Context, build_context
from inference.model import ModelError, Options, Sampler, Usage
from inference.model.spending import Prices, cost
from inference.prompt import Mode, Turn, fixed_tokens, render_feedback, render_prompt
from inference.proposer import Problem, Progress, Proposal, Report, Search, Strategy
from inference.sampled import ORIGIN, Sampled, proposal_of, read_sampled, round_of, unique
from inference.trajectory import Message
from inference.warm import WarmJudge, warm_judge

_ROUND_SECONDS = 2.0
"""A round is not begun with less time than this left."""
_FEEDBACK_TOKENS = 700
"""For what comes back to the model in one round."""


@dataclass(frozen=True)
class Effort:
    """How much is asked of the model for one failure. ``width``: failed attempts that go on into the next round, which share its samples.
    ``tokens`` are prompt and completion together, what the prefix cache had not counted; ``prompt_tokens`` caps one prompt."""

    samples: int = 8
    rounds: int = 2
    width: int = 2
    temperature: float = 0.8
    completion_tokens: int = 1024
    prompt_tokens: int = 6000
    tokens: int = 200_000
    gpu_seconds: float = 120.0
    mode: Mode = "explain"
    strategy: Strategy = "refine"
    seed: int = 0
    logprobs: bool = True
    structured: bool = False
    regression_test: bool = False
    """Ask for a new test beside the patch."""


@dataclass
class _Spent:
    usage: Usage = field(default_factory=Usage)

    def over(self, effort: Effort) -> str | None:
        """Which budget has ended, or None."""
        used = self.usage.prompt_tokens - self.usage.cached_tokens + self.usage.completion_tokens
        if used >= effort.tokens:
            return f"the model's {effort.tokens} tokens are used up"
        if self.usage.seconds >= effort.gpu_seconds:
            return f"the model's {effort.gpu_seconds:.0f} GPU-seconds are used up"
        return None


class ModelProposer:
    """Explains and patches by a language model, and refines on what the verdicts say. Its proposals come verified where it could."""

    origin = ORIGIN

    def __init__(
        self, sampler: Sampler, effort: Effort | None = None, adapter: Callable[[], str | None] = lambda: None, prices: Prices | None = None
    ) -> None:
        """``adapter`` names the adapter to ask for, looked up once a failure, so that all rounds are answered by the same weights."""
        self.sampler, self.effort, self.adapter, self.prices = sampler, effort or Effort(), adapter, prices or Prices()

    def propose(self, problem: Problem, search: Search, report: Report) -> Iterator[Proposal]:
        deadline = time.monotonic() + problem.seconds
        effort, spent = self.effort, _Spent()
        try:
            adapter = self.adapter()
        except InferenceError as error:  # a registry that cannot be read: no other weights stand in, and the templates' patches stay
            search.notes.append(str(error))
            return
        effort = replace(effort, completion_tokens=min(effort.completion_tokens, max(self.sampler.context_tokens // 4, 16)))
        seen: set[bytes] = set()
        frontier: list[tuple[Turn, ...]] = [()]
        with warm_judge(problem, deadline, search) as warm:
            context = build_context(problem, self.sampler.count_tokens, self._room(effort), touched=problem.touched,
                                    observed=(*warm.observed(), *warm.angelic()), near_misses=problem.near_misses,
                                    hint=problem.hint)  # fmt: skip
            for number in range(effort.rounds + 1):
                failed: list[Sampled] = []
                for turns, count in _shares(frontier, effort.samples):
                    ended = spent.over(effort)
                    if ended is None and deadline - time.monotonic() < _ROUND_SECONDS:
                        ended = "the budget ended before the model's next round"
                    if ended is not None:
                        search.notes.append(ended)
                        return
                    report(Progress("model", f"round {number}: sampling {count} explanations and patches"))
                    try:
                        attempts = self._sample(problem, context, turns, count, number, deadline, adapter, spent, search, effort)
                    except ModelError as error:
                        search.notes.append(str(error))
                        return
                    fresh = [a for a in attempts if a.changes is None or a.patch not in seen]
                    seen.update(a.patch for a in attempts)
                    for proposal, attempt in self._verified(problem, unique(fresh), warm, search, report, deadline):
                        if proposal is not None:
                            yield proposal
                            if problem.accepts(proposal):
                                return
                        failed.append(attempt)
                if effort.strategy == "refine":
                    frontier = self._frontier(problem, failed, warm, search, deadline) or frontier

    def _sample(
        self, problem: Problem, context: Context, turns: tuple[Turn, ...], count: int, number: int, deadline: float, adapter: str | None,
        spent: _Spent, search: Search, effort: Effort,
    ) -> list[Sampled]:  # fmt: skip
        messages = self._messages(context, turns, effort)
        seed = effort.seed + 1000 * number
        regex = completion_regex(effort.mode, list(dict.fromkeys(e.path for e in context.excerpts))) if effort.structured else None
        options = Options(count, effort.temperature, max_tokens=effort.completion_tokens, seed=seed, logprobs=effort.logprobs, regex=regex)
        answer = self.sampler.sample(messages, options, deadline, adapter)
        spent.usage += answer.usage
        search.gpu_seconds += answer.usage.seconds
        search.cost += cost(answer.usage, self.prices)
        version = f"@{answer.adapter_hash[:12]}" if answer.adapter_hash else ""
        model = f"{answer.model} + {answer.adapter}{version}" if answer.adapter else answer.model
        if model not in search.models:
            search.models.append(model)
        for name, tokens in (("prompt", answer.usage.prompt_tokens), ("cached", answer.usage.cached_tokens),
                             ("completion", answer.usage.completion_tokens)):  # fmt: skip
            search.tokens[name] = search.tokens.get(name, 0) + tokens
        attempts = []
        for completion in answer.completions:
            attempt = replace(read_sampled(problem, context, turns, completion, effort.mode, len(search.rounds)), model=model)
            search.rounds.append(round_of(attempt, messages, answer, effort.temperature, seed))
            search.generated += 1
            attempts.append(attempt)
        return attempts

    def _room(self, effort: Effort) -> int:
        """Tokens for the context: what a prompt may have, without its fixed text and one earlier turn where there may be one."""
        turn = effort.completion_tokens + _FEEDBACK_TOKENS if effort.rounds and effort.strategy == "refine" else 0
        whole = min(effort.prompt_tokens, self.sampler.context_tokens - effort.completion_tokens)
        fixed = fixed_tokens(self.sampler.count_tokens, effort.mode)
        return max(whole - fixed - turn, whole // 2 - fixed)

    def _messages(self, context: Context, turns: tuple[Turn, ...], effort: Effort) -> tuple[Message, ...]:
        """The dialogue, without its oldest turns where it would not fit: what was tried last is worth most."""
        most = self.sampler.context_tokens - effort.completion_tokens
        while True:
            messages = render_prompt(context, turns, effort.mode, effort.regression_test)
            if len(turns) <= 1 or sum(self.sampler.count_tokens(m.content) + 8 for m in messages) <= most:
                return messages
            turns = turns[1:]

    def _verified(
        self, problem: Problem, attempts: Sequence[Sampled], warm: WarmJudge, search: Search, report: Report, deadline: float
    ) -> Iterator[tuple[Proposal | None, Sampled]]:
        """Each attempt with its proposal, verified cold where the warm tiers did not refuse it; likeliest behaviour first."""
        whole = [a for a in attempts if a.changes is not None]
        seen = warm.judge([a.changes for a in whole if a.changes is not None])
        hopeful = [a for a, s in zip(whole, seen, strict=True) if s.hopeful]
        for attempt in attempts:
            if attempt.changes is None:
                yield None, replace(attempt, feedback=render_feedback(attempt.trouble)) if attempt.trouble is not None else attempt
        for attempt, judged in zip(whole, seen, strict=True):
            if not judged.hopeful:
                yield None, replace(attempt, gained=judged.gained)
        order = warm.order([a.changes for a in hopeful if a.changes is not None], [a.cost for a in hopeful])
        for place, (index, behaviour) in enumerate(order):
            if time.monotonic() > deadline and place:
                search.notes.append(f"the budget ended before {len(order) - place} patches of the model's could be verified")
                return
            report(Progress("verify", f"patch {place + 1} of {len(order)} by the model"))
            yield self._checked(problem, hopeful[index], behaviour, warm, search, len({b or str(n) for n, b in order}) - 1)

    def _checked(
        self, problem: Problem, attempt: Sampled, behaviour: str | None, warm: WarmJudge, search: Search, alternatives: int = 0
    ) -> tuple[Proposal, Sampled]:
        proposal = replace(proposal_of(attempt, behaviour), alternatives=alternatives)
        if problem.check is None:
            return proposal, attempt
        proposal = problem.check(proposal)
        verdict = proposal.verdict
        if verdict is None:
            return proposal, attempt
        if problem.accepts(proposal) and attempt.changes is not None:
            proposal = replace(proposal, alike=warm.alike(attempt.changes, problem.rivals))
        recorded = search.rounds[attempt.round]
        extra = {**recorded.extra, "signals": dict(proposal.signals), "score": proposal.score}
        search.rounds[attempt.round] = replace(recorded, verdict=verdict.to_json(), extra=extra)
        return proposal, replace(attempt, feedback=render_feedback(verdict))

    def _frontier(
        self, problem: Problem, failed: Sequence[Sampled], warm: WarmJudge, search: Search, deadline: float
    ) -> list[tuple[Turn, ...]]:
        """The dialogues that go on: attempts that repaired most first, then the likeliest. One that only the warm tiers refused is run
        once cold, because their refusal has no words that a model could read."""
        found: list[tuple[Turn, ...]] = []
        ordered = sorted(failed, key=lambda a: (a.changes is None, -a.gained, a.cost, a.round))
        for attempt in ordered[: self.effort.width]:
            told = attempt
            if attempt.feedback is None and time.monotonic() < deadline:
                _, told = self._checked(problem, attempt, None, warm, search)
            if told.feedback is not None:
                found.append((*attempt.turns, Turn(attempt.completion.text, told.feedback)))
        return found


def _shares(frontier: Sequence[tuple[Turn, ...]], samples: int) -> Iterator[tuple[tuple[Turn, ...], int]]:
    """A round's samples, divided among its dialogues; earlier ones get what does not divide."""
    for place, turns in enumerate(frontier):
        count = samples // len(frontier) + (place < samples % len(frontier))
        if count:
            yield turns, count
