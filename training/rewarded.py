"""Recorded rounds as rewarded rollouts, flat token arrays that PPO learns from."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from inference.trajectory import Feedback, Round, Trajectory
from training.census import Census
from training.codebleu import language_of
from training.encoder import Encoder
from training.references import code_after, explanation_of, group_of, is_correct, is_judged, verified_of, with_shared_verdicts
from training.reward import Attempt, PaperOptions, Reward, Verified, gated_reward, paper_reward
from training.tokens import Tokens, token_at

RewardName = Literal["paper", "gated"]
_TEST_CHECKS = frozenset({"target", "repeats", "regressions"})
"""Checks that a patch fails by what tests say. Any other refusal is for what the patch is."""
_FLAKY = "control"
"""The check that tells of the tests alone: they pass without the patch too."""


@dataclass(frozen=True)
class Rollout:
    """One completion with its reward, as flat token arrays. ``explanation_end``: index into ``completion_ids`` of the explanation's last
    token, None where nothing is explained. ``logprobs``: of the policy that sampled it, where they were kept. ``group`` names the
    wrong code."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    explanation_end: int | None
    reward: Reward
    group: str
    right: bool
    logprobs: tuple[float, ...] | None = None


def centred(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Each reward less the mean of those that the other rollouts of its group got, segment by segment (RLOO, arXiv 2402.14740): which wrong
    code is hard is then no news, and the expected gradient stays what it was. A rollout without others of its group is left out."""
    groups: dict[str, list[Rollout]] = {}
    for one in rollouts:
        groups.setdefault(one.group, []).append(one)
    found = []
    for one in rollouts:
        others = [other.reward for other in groups[one.group] if other is not one]
        if not others:
            continue
        said = [other.explanation for other in others if other.explanation is not None]
        told = one.reward.explanation
        reward = replace(
            one.reward, refinement=one.reward.refinement - statistics.fmean(other.refinement for other in others),
            explanation=None if told is None else told - statistics.fmean(said) if said else 0.0)  # fmt: skip
        found.append(replace(one, reward=reward))
    return found


def mixed(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Those of groups that hold right and wrong ones (DAPO, arXiv 2503.14476): beside their like, the others say nothing."""
    found: dict[str, set[bool]] = {}
    for one in rollouts:
        found.setdefault(one.group, set()).add(one.right)
    return [one for one in rollouts if len(found[one.group]) == 2]


@dataclass(frozen=True)
class RewardOptions:
    """Which reward, and the paper's ambiguities."""

    name: RewardName = "paper"
    paper: PaperOptions = field(default_factory=PaperOptions)


def reward_of(attempt: Attempt, verified: Verified, encoder: Encoder, options: RewardOptions) -> Reward | None:
    scored = paper_reward if options.name == "paper" else gated_reward
    return scored(attempt, verified, encoder, options.paper)


def attempt_of(round_: Round, feedback: Sequence[Feedback] = ()) -> Attempt:
    """A recorded round as the rewards read it. In its extra fields ``hidden`` holds [passed, total] of tests that nobody was shown, and
    ``visible`` of those that were, where the round was judged without a whole verdict."""
    verdict = round_.verdict or {}
    after = _counts(verdict, "after")
    total = _counts(verdict, "before").get("total", 0) or after.get("total", 0)
    # What was refused before anything ran (an unreadable answer, a forbidden change) has its reason there and no verdict.
    refused = verdict.get("refused_by") if verdict else round_.extra.get("refused")
    hidden_passed, hidden_total = _pair(round_, "hidden") or (0, 0)
    passed, total = _pair(round_, "visible") or (after.get("passed", 0), total)
    return Attempt(
        code_after(round_.patch), explanation_of(round_), min(passed, total), max(total, 1), hidden_passed, hidden_total,
        str(refused) if refused is not None and refused not in _TEST_CHECKS else None, tuple(feedback),
        language_of(round_.patch))  # fmt: skip


def _pair(round_: Round, name: str) -> tuple[int, int] | None:
    match round_.extra.get(name):
        case [int(passed), int(total)] if total > 0:
            return passed, total
    return None


def _counts(verdict: Mapping[str, Any], when: str) -> Mapping[str, int]:
    counts = verdict.get("counts")
    found = counts.get(when) if isinstance(counts, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def rollouts_of(
    trajectories: Sequence[Trajectory], tokens: Tokens, encoder: Encoder, options: RewardOptions, most_tokens: int, census: Census,
    verified: Mapping[str, Verified] | None = None,
) -> list[Rollout]:  # fmt: skip
    """Every recorded round that a model sampled, right or wrong (section 3), with its reward. ``verified``: references from elsewhere,
    such as the collected data while rollouts are fresh."""
    references = {**(verified or {}), **{g: v for g, v in verified_of(trajectories).items() if not verified or g not in verified}}
    rollouts = []
    for one in trajectories:
        group = group_of(one)
        for number, round_ in enumerate(with_shared_verdicts(one.rounds)):
            if round_.completion is None or not round_.messages:
                census.leave_out("round without a dialogue", one.id)
                continue
            if not is_judged(round_):
                census.leave_out("nobody has judged this patch", one.id)
                continue
            if (round_.verdict or {}).get("refused_by") == _FLAKY:
                census.leave_out("its tests are flaky", one.id)
                continue
            feedback = one.feedback if number == one.chosen else ()
            attempt = attempt_of(round_, feedback)
            reward = reward_of(attempt, references.get(group, Verified()), encoder, options)
            if reward is None:
                census.leave_out("nobody has repaired this code: the paper's scores are undefined", one.id)
                continue
            rollout = _rollout(round_, reward, group, is_correct(round_), tokens, most_tokens)
            if rollout is None:
                census.leave_out("longer than the model's context", one.id)
                continue
            census.counts["rollouts"] += 1
            rollouts.append(rollout)
    return rollouts


def _rollout(round_: Round, reward: Reward, group: str, right: bool, tokens: Tokens, most_tokens: int) -> Rollout | None:
    completion = round_.completion or ""
    if sum(len(m.content) for m in round_.messages) + len(completion) >= 40 * most_tokens:
        return None
    prompt = tokens.prompt(round_.messages)
    # Token ids of another model's tokenizer would be noise: they, and the log-probabilities of them, count where they say this completion.
    own = tokens.knows(round_.token_ids or ()) and tokens.decode(round_.token_ids or ()).startswith(completion)
    ids = list(round_.token_ids or ()) if own else tokens.completion(completion)
    if len(prompt) + len(ids) > most_tokens or not ids:
        return None
    end = token_at(tokens.decode, ids, round_.explanation_span[1]) if round_.explanation_span is not None else None
    logprobs = round_.logprobs if own and round_.logprobs and len(round_.logprobs) == len(ids) else None
    return Rollout(tuple(prompt), tuple(ids), end, reward, group, right, logprobs)
