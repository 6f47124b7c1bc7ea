"""The value head that knows its rollouts: least squares on the returns, whatever the pieces, and the policy itself as it was."""

from __future__ import annotations

import pytest
import torch

from tests.training.tiny_policy import random_rollouts, rollout, tiny_policy
from training.advantage import AdvantageOptions
from training.policy import collate
from training.result_value import fit_value_head

OPTIONS = AdvantageOptions(gamma=0.5)


def test_equal_returns_are_told_exactly() -> None:
    policy = tiny_policy()
    fit_value_head(policy, [rollout([3, 4], [5], 2.0), rollout([6, 7, 8], [9], 2.0)], OPTIONS)
    batch = collate([rollout([3, 4], [5]), rollout([9, 2], [4])])
    assert torch.allclose(policy(batch).values, torch.full((2, 1), 2.0), atol=1e-4)


def test_the_return_of_a_token_is_discounted_from_where_it_is_paid() -> None:
    # One rollout of three tokens, paid 4 at its end and 1 at its first: returns 1 + 1, 2 and 4, and two states too few to miss them.
    policy = tiny_policy()
    one = rollout([3, 4], [5, 6, 7], 4.0, 1.0, end=0)
    explained = fit_value_head(policy, [one] * 4000, OPTIONS)
    assert explained > 0.99
    assert torch.allclose(policy(collate([one])).values, torch.tensor([[2.0, 2.0, 4.0]]), atol=0.1)


def test_pieces_change_nothing_and_the_policy_stays() -> None:
    rollouts = random_rollouts(20)
    first, second = tiny_policy(), tiny_policy()
    before = first(collate(rollouts)).logprobs
    assert fit_value_head(first, rollouts, OPTIONS) == pytest.approx(fit_value_head(second, rollouts, OPTIONS, most_tokens=1), rel=1e-4)
    assert torch.allclose(first.value_head.weight, second.value_head.weight, atol=1e-4)
    assert torch.equal(first(collate(rollouts)).logprobs, before)
    with pytest.raises(ValueError, match="no rollouts"):
        fit_value_head(first, [], OPTIONS)
