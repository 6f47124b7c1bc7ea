"""The PPO loss of Schulman et al. (arXiv 1707.06347) over sampled tokens, and the value head's.

LEDEX prints a ratio of log-probabilities without a clip; it is read as the ratio of probabilities, clipped as in the library that the
authors name (policy and values at 0.2, alpha = 0.1: TRL 0.4's defaults, the paper gives none). ``clip=None`` is the ratio as printed, with
nothing clipped. A loss is a sum over tokens divided by a count that the caller gives: that of the whole batch, not of the piece that is on
the accelerator at the moment, so that accumulating gradients in any number of pieces gives the same gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossOptions:
    """``clip``: of the ratio; ``value_clip``: of the value's way from its old one; None: no clip. ``alpha``: weight of the values' loss."""

    clip: float | None = 0.2
    value_clip: float | None = 0.2
    alpha: float = 0.1


@dataclass(frozen=True)
class LossInputs:
    """(rows, tokens) each; ``count`` are the tokens of the whole batch, by which sums are divided."""

    logprobs: Tensor
    values: Tensor
    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    mask: Tensor
    count: float


@dataclass(frozen=True)
class LossOutputs:
    """``metrics`` are sums divided by ``count`` too: added up over the pieces of a batch they are its means."""

    loss: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


def ppo_loss(inputs: LossInputs, options: LossOptions) -> LossOutputs:
    """L = -E[min(ratio A, clip(ratio) A)] + alpha E[max((V - R)^2, (clip(V) - R)^2)], the value's without the half, as the paper has it."""
    mask = inputs.mask.to(inputs.logprobs.dtype)
    # Outside the mask the difference is made 0 before the exponential, so that padding can hold anything but never a NaN gradient.
    log_ratio = torch.where(mask > 0, inputs.logprobs - inputs.old_logprobs, torch.zeros_like(inputs.logprobs))
    ratio = log_ratio.exp()
    gain = ratio * inputs.advantages
    clipped = torch.zeros_like(mask)
    if options.clip is not None:
        bounded = ratio.clamp(1 - options.clip, 1 + options.clip) * inputs.advantages
        clipped = (bounded < gain).to(mask.dtype)
        gain = torch.minimum(gain, bounded)
    error = (inputs.values - inputs.returns) ** 2
    if options.value_clip is not None:
        near = inputs.old_values + (inputs.values - inputs.old_values).clamp(-options.value_clip, options.value_clip)
        error = torch.maximum(error, (near - inputs.returns) ** 2)
    policy_loss = -(gain * mask).sum() / inputs.count
    value_loss = torch.where(mask > 0, error, torch.zeros_like(error)).sum() / inputs.count
    loss = policy_loss + options.alpha * value_loss
    with torch.no_grad():
        change = (((ratio - 1) - log_ratio) * mask).sum() / inputs.count
        metrics = {
            "loss": loss.item(), "policy_loss": policy_loss.item(), "value_loss": value_loss.item(),
            "clipped": ((clipped * mask).sum() / inputs.count).item(), "step_kl": change.item(),
        }  # fmt: skip
    return LossOutputs(loss, metrics)
