"""From two rewards to an advantage for each token: where LEDEX puts its rewards, the KL penalty, and generalized advantage estimation.

Section 2.3 of the paper, y = [explanation, refinement]::

    t = |e|      R_t = R(e) - KL_t            KL_t = log pi(y_t) - log pi'(y_t)
    t = T_len    R_t = R(r) - KL_t
    elsewhere    R_t =      - KL_t            (the paper prints KL_t: the minus sign is lost there)
    delta_t = R_t - V_t + gamma V_{t+1}       A_t = sum_{k >= t} gamma^(k - t) delta_k

A_t runs to the end of the output, so explanation tokens also get a discounted share of R(r); refinement tokens never get any of R(e).
All arrays are (rows, tokens) of completions padded on the right, with a mask of what was sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from training.reward import Reward


@dataclass(frozen=True)
class AdvantageOptions:
    """``kl_coefficient``: none is printed, so 1; libraries of the time began with 0.2. ``kl_sign``: "penalty" subtracts, "as_printed" adds
    between the segments' ends as the formula stands. ``kl_estimate``: "log_ratio" is the paper's; "k3" is never negative and varies less.
    ``lambda_``: the sum in the paper is that of 1. ``segments``: "one_sided" is the paper's; "separate" ends the explanation's returns at
    its own last token, so that neither reward moves the other's segment. ``whiten``: not stated."""

    gamma: float = 0.99
    lambda_: float = 1.0
    kl_coefficient: float = 1.0
    kl_sign: Literal["penalty", "as_printed"] = "penalty"
    kl_estimate: Literal["log_ratio", "k3"] = "log_ratio"
    segments: Literal["one_sided", "separate"] = "one_sided"
    whiten: bool = False


@dataclass(frozen=True)
class Advantages:
    """``values`` are what the value head is to learn: A_t + V_t. Zero outside the mask. ``kl``: the plain log ratio of each token."""

    advantages: Tensor
    values: Tensor
    rewards: Tensor
    kl: Tensor


def place_rewards(rewards: Sequence[Reward], explanation_ends: Sequence[int | None], lengths: Sequence[int], width: int) -> Tensor:
    """(rows, width): each row's R(e) at its explanation's last token and R(r) at its last token. Where both fall on one token they add up.

    ``explanation_ends``: index of that token, None where nothing is explained; ``lengths``: sampled tokens of each row.
    """
    placed = torch.zeros(len(rewards), width)
    for row, (reward, end, length) in enumerate(zip(rewards, explanation_ends, lengths, strict=True)):
        if length <= 0:
            continue
        if reward.explanation is not None and end is not None:
            placed[row, min(end, length - 1)] += reward.explanation
        placed[row, length - 1] += reward.refinement
    return placed


def estimate_advantages(
    scores: Tensor, logprobs: Tensor, reference_logprobs: Tensor, values: Tensor, mask: Tensor, options: AdvantageOptions,
    explanation_ends: Sequence[int | None] | None = None,
) -> Advantages:  # fmt: skip
    """``scores``: placed rewards. ``values``: V before each token is sampled. ``mask``: 1 where one was sampled, a run from the left."""
    mask = mask.to(scores.dtype)
    log_ratio = (logprobs - reference_logprobs) * mask
    # k3 of Schulman's note on approximating KL, for samples of the policy: exp(-x) - 1 + x.
    penalty = log_ratio if options.kl_estimate == "log_ratio" else (torch.exp(-log_ratio) - 1 + log_ratio) * mask
    sign = torch.full_like(scores, -1.0)
    if options.kl_sign == "as_printed":
        sign = torch.where(_ends(mask, explanation_ends), sign, -sign)
    rewards = (scores + sign * options.kl_coefficient * penalty) * mask
    values = values * mask
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    going_on = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    if options.segments == "separate":
        going_on = going_on * (~_ends(mask, explanation_ends, last=False)).to(mask.dtype)
    delta = (rewards + options.gamma * after * going_on - values) * mask
    advantages = torch.zeros_like(delta)
    running = torch.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        running = delta[:, t] + options.gamma * options.lambda_ * going_on[:, t] * running
        advantages[:, t] = running
    advantages = advantages * mask
    targets = advantages + values
    return Advantages(_whitened(advantages, mask) if options.whiten else advantages, targets, rewards, log_ratio)


def _ends(mask: Tensor, explanation_ends: Sequence[int | None] | None, last: bool = True) -> Tensor:
    """True at each row's explanation's last token and, with ``last``, at its last token."""
    ends = torch.zeros_like(mask, dtype=torch.bool)
    lengths = mask.sum(1).long()
    for row in range(mask.shape[0]):
        end = explanation_ends[row] if explanation_ends is not None else None
        if end is not None and end < int(lengths[row]):
            ends[row, end] = True
        if last and lengths[row] > 0:
            ends[row, int(lengths[row]) - 1] = True
    return ends


def _whitened(advantages: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the sampled tokens; a batch of equal advantages stays at 0."""
    count = mask.sum().clamp(min=1)
    mean = (advantages * mask).sum() / count
    variance = (((advantages - mean) * mask) ** 2).sum() / count
    return (advantages - mean) * torch.rsqrt(variance + 1e-8) * mask
