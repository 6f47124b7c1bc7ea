"""A value head that knows its rollouts before PPO's first step.

A head that starts at 0 sees a return of -5 in every token of a model that is mostly wrong: until it has learned that, advantages say where
in a completion a token stands and not whether it was good, and the policy unlearns its form first. The trunk does not move here, so the
best linear head is that of least squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.advantage import AdvantageOptions, place_rewards
from training.pieces import pieces
from training.policy import Policy, collate
from training.rewarded import Rollout

_RIDGE = 1.0


@torch.no_grad()
def fit_value_head(policy: Policy, rollouts: Sequence[Rollout], options: AdvantageOptions, most_tokens: int = 8192) -> float:
    """Set the head to the ridge regression of each token's discounted return on the state that it was sampled from. Returns the share of
    the returns' variance that it explains. Raises ValueError for no rollouts."""
    if not rollouts:
        raise ValueError("there are no rollouts to fit a value head to")
    states, returns = [], []
    for piece in pieces(rollouts, range(len(rollouts)), most_tokens):
        chosen = [rollouts[index] for index in piece]
        batch = collate(chosen, policy.value_head.weight.device)
        seen = policy.model.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state.flatten(0, 1)[batch.places]
        width = batch.mask.shape[1]
        lengths, ends = [len(r.completion_ids) for r in chosen], [r.explanation_end for r in chosen]
        paid = place_rewards([r.reward for r in chosen], ends, lengths, width)
        told = torch.zeros_like(paid)
        running = torch.zeros(len(chosen))
        for place in reversed(range(width)):
            running = paid[:, place] + options.gamma * running
            told[:, place] = running
        states.append(seen.double().cpu())
        returns.append(told[batch.mask.cpu()].double())
    x, y = torch.cat(states), torch.cat(returns)
    mean, level = x.mean(0), y.mean()
    centred = x - mean
    gram = centred.T @ centred + _RIDGE * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, centred.T @ (y - level))
    policy.value_head.weight.copy_(weights[None].to(policy.value_head.weight))
    policy.value_head.bias.copy_((level - mean @ weights)[None].to(policy.value_head.bias))
    rest = y - level - centred @ weights
    return float(1 - rest.var(correction=0) / y.var(correction=0).clamp(min=1e-12))
