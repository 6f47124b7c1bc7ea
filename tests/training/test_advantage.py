"""Where rewards go, the sign of the KL penalty, and advantages, against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from training.advantage import AdvantageOptions, estimate_advantages, place_rewards
from training.reward import Reward
from training.tokens import token_at


def decode(ids: list[int]) -> str:
    return "".join(["It adds.", "\n\n", "a.py", "\n<<<"][i] for i in ids)


@pytest.mark.parametrize(("end", "token"), [(8, 0), (1, 0), (9, 1), (10, 1), (11, 2), (18, 3), (99, 3)])
def test_the_token_that_holds_a_character_is_found(end: int, token: int) -> None:
    assert token_at(lambda ids: decode(list(ids)), [0, 1, 2, 3], end) == token


def test_each_reward_lies_at_the_last_token_of_its_segment() -> None:
    rewards = [Reward(3.0, 2.0, {}), Reward(-1.0, None, {}), Reward(-5.0, 1.0, {}), Reward(4.0, 1.0, {})]
    placed = place_rewards(rewards, [1, None, None, 3], [4, 2, 0, 3], 5)
    assert placed.tolist() == [[0, 2, 0, 3, 0], [0, -1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 5, 0, 0]]


def tensors(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


SCORES = tensors([0.0, 2.0, 0.0, 3.0])
VALUES = tensors([0.5, 0.4, 0.3, 0.2])
ONES = tensors([1.0, 1.0, 1.0, 1.0])
ZEROS = tensors([0.0, 0.0, 0.0, 0.0])
NO_KL = AdvantageOptions(kl_coefficient=0.0)


def test_advantages_by_hand() -> None:
    # Returns from the right at gamma 0.99: 3, 2.97, 2 + 0.99 * 2.97 = 4.9403, 0.99 * 4.9403 = 4.890897. Less the values.
    found = estimate_advantages(SCORES, ZEROS, ZEROS, VALUES, ONES, NO_KL, [1])
    assert found.advantages.tolist()[0] == pytest.approx([4.390897, 4.5403, 2.67, 2.8])
    assert found.values.tolist()[0] == pytest.approx([4.890897, 4.9403, 2.97, 3.0])


def test_advantages_with_lambda_below_one_by_hand() -> None:
    # delta: 0.99*0.4-0.5 = -0.104; 2+0.99*0.3-0.4 = 1.897; 0.99*0.2-0.3 = -0.102; 3-0.2 = 2.8. Then A_t = delta + 0.99 * 0.5 * A_{t+1}.
    found = estimate_advantages(SCORES, ZEROS, ZEROS, VALUES, ONES, AdvantageOptions(kl_coefficient=0.0, lambda_=0.5), [1])
    assert found.advantages.tolist()[0] == pytest.approx([1.1496364695, 2.532599938, 1.284, 2.8], rel=1e-5)


def test_a_longer_row_beside_it_changes_nothing() -> None:
    scores, values = torch.zeros(2, 6, dtype=torch.float64), torch.full((2, 6), 7.0, dtype=torch.float64)
    scores[0, :4], values[0, :4] = SCORES[0], VALUES[0]
    mask = tensors([1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1])
    noise = torch.full((2, 6), 9.0, dtype=torch.float64)
    found = estimate_advantages(scores, noise, noise, values, mask, NO_KL, [1, None])
    assert found.advantages.tolist()[0] == pytest.approx([4.390897, 4.5403, 2.67, 2.8, 0, 0])
    assert found.values.tolist()[0][4:] == [0, 0]


def test_a_policy_that_left_the_reference_is_punished_and_one_that_fell_below_is_not() -> None:
    # The policy likes its token more than the reference does: log ratio 0.5, coefficient 0.2, so 0.1 is taken off.
    surer = estimate_advantages(ZEROS, ZEROS - 1.0, ZEROS - 1.5, ZEROS, ONES, AdvantageOptions(kl_coefficient=0.2), [1])
    assert surer.rewards.tolist()[0] == pytest.approx([-0.1] * 4)
    assert surer.kl.tolist()[0] == pytest.approx([0.5] * 4)
    shyer = estimate_advantages(ZEROS, ZEROS - 1.5, ZEROS - 1.0, ZEROS, ONES, AdvantageOptions(kl_coefficient=0.2), [1])
    assert shyer.rewards.tolist()[0] == pytest.approx([0.1] * 4)


def test_the_sign_as_printed_is_kept_as_an_option() -> None:
    # As printed, KL is subtracted at the segments' ends (tokens 1 and 3) and added elsewhere.
    options = AdvantageOptions(kl_coefficient=1.0, kl_sign="as_printed")
    found = estimate_advantages(SCORES, ZEROS - 1.0, ZEROS - 1.5, ZEROS, ONES, options, [1])
    assert found.rewards.tolist()[0] == pytest.approx([0.5, 1.5, 0.5, 2.5])


def test_k3_is_never_a_gift() -> None:
    options = AdvantageOptions(kl_coefficient=1.0, kl_estimate="k3")
    # exp(0.5) - 1 - 0.5 = 0.1487213 where the log ratio is -0.5.
    found = estimate_advantages(ZEROS, ZEROS - 1.5, ZEROS - 1.0, ZEROS, ONES, options, [1])
    assert found.rewards.tolist()[0] == pytest.approx([-0.1487213] * 4)


def test_the_refinement_never_gets_the_explanations_reward_and_separate_segments_share_nothing() -> None:
    explained = estimate_advantages(tensors([0, 2, 0, 0]), ZEROS, ZEROS, ZEROS, ONES, NO_KL, [1])
    assert explained.advantages.tolist()[0] == pytest.approx([1.98, 2, 0, 0])
    separate = AdvantageOptions(kl_coefficient=0.0, segments="separate")
    refined = estimate_advantages(tensors([0, 0, 0, 3]), ZEROS, ZEROS, ZEROS, ONES, separate, [1])
    assert refined.advantages.tolist()[0] == pytest.approx([0, 0, 2.97, 3])


def test_whitened_advantages_have_mean_zero_and_deviation_one() -> None:
    mask = tensors([1, 1, 1, 0])
    found = estimate_advantages(SCORES, ZEROS, ZEROS, VALUES, mask, AdvantageOptions(kl_coefficient=0.0, whiten=True), [1])
    kept = found.advantages[0, :3]
    assert kept.mean().item() == pytest.approx(0.0, abs=1e-9)
    assert kept.std(unbiased=False).item() == pytest.approx(1.0, rel=1e-6)
    assert found.advantages[0, 3] == 0
