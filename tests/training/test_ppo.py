"""PPO on real, tiny language models: what must not change the result, what is learned, and by which tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.tiny_policy import FULL, SMALL_LORA, random_rollouts, rollout, tiny_policy
from training.advantage import AdvantageOptions
from training.loss import LossOptions
from training.pieces import pieces
from training.policy import Policy, PolicyOptions, collate
from training.ppo import Ppo, PpoOptions, offline_batches
from training.rewarded import Rollout

OPTIONS = PpoOptions(steps=3, batch=8, epochs=2, learning_rate=1e-2)


def run(options: PpoOptions, policy_options: PolicyOptions = FULL, steps: int = 2) -> tuple[Policy, list[dict[str, float]]]:
    policy = tiny_policy(policy_options)
    ppo = Ppo(policy, options)
    rollouts = random_rollouts(8)
    return policy, [ppo.step(rollouts, number) for number in range(steps)]


def weights(policy: Policy) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in policy.trained().values()])


@pytest.mark.parametrize("policy_options", [FULL, SMALL_LORA])
@pytest.mark.parametrize("minibatch", [None, 4])
def test_the_pieces_that_gradients_are_accumulated_in_change_nothing(policy_options: PolicyOptions, minibatch: int | None) -> None:
    found = [run(replace(OPTIONS, piece_tokens=tokens, minibatch=minibatch), policy_options) for tokens in (1, 40, 10_000)]
    for other in found[1:]:
        assert torch.allclose(weights(found[0][0]), weights(other[0]), atol=2e-4)
        for one, two in zip(found[0][1], other[1], strict=True):
            for name in ("loss", "policy_loss", "value_loss", "kl", "entropy", "step_kl", "gradient_norm", "return", "clipped"):
                assert one[name] == pytest.approx(two[name], abs=2e-4, rel=1e-3), name


def test_pieces_hold_every_rollout_once_within_their_tokens() -> None:
    rollouts = random_rollouts(20)
    found = list(pieces(rollouts, range(3, 20), 50))
    assert sorted(index for piece in found for index in piece) == list(range(3, 20))
    for piece in found:
        longest = max(len(rollouts[i].prompt_ids) + len(rollouts[i].completion_ids) for i in piece)
        assert len(piece) == 1 or longest * len(piece) <= 50
    assert len(found) < 17


def test_the_first_epochs_own_pass_gives_what_a_pass_before_it_gives() -> None:
    class Beforehand(Ppo):
        def _update(self, rollouts, chosen, seen):  # type: ignore[no-untyped-def]
            if not seen.rows:
                self._examine(rollouts, seen)
            return super()._update(rollouts, chosen, seen)

    one, other = tiny_policy(), tiny_policy()
    first, second = Ppo(one, OPTIONS).step(random_rollouts(8), 0), Beforehand(other, OPTIONS).step(random_rollouts(8), 0)
    assert torch.allclose(weights(one), weights(other), atol=1e-6)
    assert first["kl"] == second["kl"]
    assert first["loss"] == pytest.approx(second["loss"])


def test_the_first_update_has_the_loss_that_is_worked_by_hand() -> None:
    # V is 0 and the KL to the start is 0, so A_t = gamma^(T - t) R(r) (+ gamma^(e - t) R(e) up to e) and the ratio is 1:
    # tokens 0..2, explanation ends at 0, R(e) = 2, R(r) = 1, gamma = 0.5: A = (2.25, 0.5, 1); loss = -mean A + 0.1 mean A^2.
    options = PpoOptions(steps=1, batch=1, epochs=1, advantage=AdvantageOptions(gamma=0.5), loss=LossOptions(alpha=0.1, value_clip=None))
    metrics = Ppo(tiny_policy(), options).step([rollout([3, 4], [5, 6, 7], 1.0, 2.0, 0)], 0)
    assert metrics["policy_loss"] == pytest.approx(-(2.25 + 0.5 + 1.0) / 3, rel=1e-5)
    assert metrics["value_loss"] == pytest.approx((2.25**2 + 0.25 + 1.0) / 3, rel=1e-5)
    assert metrics["loss"] == pytest.approx(-1.25 + 0.1 * 6.3125 / 3, rel=1e-5)
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert (metrics["clipped"], metrics["tokens"]) == (0.0, 3.0)
    assert (metrics["reward_refinement"], metrics["reward_explanation"]) == (1.0, 2.0)


def test_with_recorded_log_probabilities_the_ratio_is_to_the_sampler() -> None:
    # Sampler: twice as unlikely as the policy finds it now, so the ratio is 2, clipped at 1.2 for a positive advantage.
    policy = tiny_policy()
    with torch.no_grad():
        now = policy(collate([rollout([3, 4], [5])])).logprobs[0, 0].item()
    one = rollout([3, 4], [5], 1.0, logprobs=[now - torch.tensor(2.0).log().item()])
    for old, loss, clipped in (("recorded", -1.2, 1.0), ("policy", -1.0, 0.0)):
        options = PpoOptions(steps=1, batch=1, epochs=1, learning_rate=0.0, old=old, loss=LossOptions(alpha=0.0))  # type: ignore[arg-type]
        metrics = Ppo(policy, options).step([one], 0)
        assert metrics["policy_loss"] == pytest.approx(loss, rel=1e-5)
        assert metrics["clipped"] == clipped


@pytest.mark.parametrize(("reference", "held"), [("start", True), ("old", False)])
def test_the_penalty_holds_on_to_the_start_or_to_the_policy_before_the_update(reference: str, held: bool) -> None:
    policy = tiny_policy()
    with torch.no_grad():
        for one in policy.trained().values():
            one.add_(0.1 * torch.ones_like(one).cumsum(-1) / one.shape[-1])
    options = PpoOptions(steps=1, batch=2, epochs=1, learning_rate=0.0, reference=reference)  # type: ignore[arg-type]
    metrics = Ppo(policy, options).step([rollout([2, 3], [5, 6]), rollout([2, 3], [7, 6])], 0)
    assert (abs(metrics["kl"]) > 1e-3) is held


def test_the_kl_is_the_policys_and_not_that_of_what_the_sampler_recorded() -> None:
    one = rollout([3, 4], [5], 1.0, logprobs=[-9.0])
    metrics = Ppo(tiny_policy(), PpoOptions(steps=1, batch=1, epochs=1, learning_rate=0.0, old="recorded")).step([one], 0)
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("minibatch", [None, 4])
def test_whitened_advantages_do_not_know_the_rewards_scale(minibatch: int | None) -> None:
    def norms(scale: float, whiten: bool) -> float:
        rollouts = [replace(one, reward=replace(one.reward, refinement=scale * one.reward.refinement, explanation=None))
                    for one in random_rollouts(8)]  # fmt: skip
        options = replace(OPTIONS, epochs=1, most_gradient=1e9, minibatch=minibatch, learning_rate=0.0, loss=LossOptions(alpha=0.0),
                          advantage=AdvantageOptions(kl_coefficient=0.0, whiten=whiten))  # fmt: skip
        return Ppo(tiny_policy(), options).step(rollouts, 0)["gradient_norm"]

    assert norms(10.0, True) == pytest.approx(norms(1.0, True), rel=1e-3)
    assert norms(10.0, False) == pytest.approx(10 * norms(1.0, False), rel=1e-3)


def test_an_update_that_is_no_number_is_left_out() -> None:
    policy = tiny_policy()
    before = weights(policy)
    rollouts = random_rollouts(4)
    broken = [replace(rollouts[0], reward=replace(rollouts[0].reward, refinement=float("nan"))), *rollouts[1:]]
    ppo = Ppo(policy, replace(OPTIONS, batch=4))
    assert ppo.step(broken, 0)["left_out"] == 1.0
    assert torch.equal(weights(policy), before)
    assert ppo.step(rollouts, 1)["left_out"] == 0.0
    assert not torch.equal(weights(policy), before)


def test_the_kl_penalty_holds_the_policy_back() -> None:
    def drift(coefficient: float) -> float:
        options = PpoOptions(steps=30, batch=8, epochs=2, learning_rate=3e-3, advantage=AdvantageOptions(kl_coefficient=coefficient))
        policy = tiny_policy()
        ppo = Ppo(policy, options)
        for number in range(30):
            ppo.step(sampled(policy, 8, number, lambda tokens: float(tokens[0] == 5), None, length=1), number)
        batch = collate([rollout([2, 3], [5])])
        with torch.no_grad():
            return float((policy(batch).logprobs - policy.reference_logprobs(batch)).abs().max())

    assert drift(5.0) < drift(0.01) / 2


def sampled(policy: Policy, count: int, seed: int, paid, explained, length: int = 2) -> list[Rollout]:  # type: ignore[no-untyped-def]
    """Completions of a fixed prompt by the policy itself: ``paid`` and ``explained`` give each segment's reward."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[2, 3]] * count)
    with torch.no_grad():
        for _ in range(length):
            likely = policy.model(input_ids=ids).logits[:, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(likely, 1, generator=generator)], 1)
    rows = [row[2:] for row in ids.tolist()]
    return [rollout([2, 3], row, paid(row), explained(row) if explained else None, 0 if explained else None) for row in rows]


def first_token(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        told: torch.Tensor = policy.model(input_ids=torch.tensor([[2, 3]])).logits[0, -1].softmax(-1)
    return told


@pytest.mark.parametrize(("policy_options", "spread"), [(FULL, 0.2), (SMALL_LORA, 0.6)])
def test_a_bandit_is_solved(policy_options: PolicyOptions, spread: float) -> None:
    policy = tiny_policy(policy_options, spread=spread)
    options = PpoOptions(steps=60, batch=32, epochs=2, learning_rate=2e-2, advantage=AdvantageOptions(kl_coefficient=0.0))
    ppo = Ppo(policy, options)
    before = first_token(policy)[7].item()
    for number in range(60):
        ppo.step(sampled(policy, 32, number, lambda tokens: float(tokens[0] == 7), None, length=1), number)
    assert before < 0.3
    assert first_token(policy)[7] > 0.9


@pytest.mark.parametrize("segments", ["one_sided", "separate"])
def test_the_explanations_reward_moves_only_how_is_explained(segments: str) -> None:
    """One-sided as the paper is, R(e) never reaches the refinement's tokens, so this holds with and without ``separate``. The weights are
    shared, though: without any KL penalty this policy's second token follows the first (total variation 0.75); a small one holds it."""
    policy = tiny_policy()
    advantage = AdvantageOptions(kl_coefficient=0.1, segments=segments)  # type: ignore[arg-type]
    ppo = Ppo(policy, PpoOptions(steps=60, batch=32, epochs=2, learning_rate=1e-2, advantage=advantage))

    def repair() -> torch.Tensor:
        with torch.no_grad():
            return policy.model(input_ids=torch.tensor([[2, 3, 7]])).logits[0, -1].softmax(-1)  # type: ignore[no-any-return]

    before = repair()
    for number in range(60):
        ppo.step(sampled(policy, 32, number, lambda tokens: 0.0, lambda tokens: float(tokens[0] == 7)), number)
    assert first_token(policy)[7] > 0.9
    assert (repair() - before).abs().sum() / 2 < 0.1, "total variation"


@pytest.mark.parametrize(("segments", "moved"), [("one_sided", True), ("separate", False)])
def test_the_refinements_reward_reaches_the_explanation_unless_they_are_separate(segments: str, moved: bool) -> None:
    # Only the first token decides what the refinement is paid: where its advantage is 0, so is what it learns of that.
    options = PpoOptions(steps=1, batch=2, epochs=1, learning_rate=0.0, loss=LossOptions(alpha=0.0, clip=None),
                         advantage=AdvantageOptions(gamma=1.0, segments=segments))  # type: ignore[arg-type]  # fmt: skip
    rows = [rollout([2, 3], [5, 6], 1.0, 0.0, 0), rollout([2, 3], [7, 6], 1.0, 0.0, 0)]
    assert Ppo(tiny_policy(), options).step(rows, 0)["advantage"] == pytest.approx(1.0 if moved else 0.5, abs=1e-5)


def test_offline_batches_take_every_rollout_once_before_any_again() -> None:
    rollouts = random_rollouts(10)
    batches = offline_batches(rollouts, replace(OPTIONS, batch=4))
    taken = [id(one) for step in range(5) for one in batches(step)]
    assert sorted(taken[:10]) == sorted(taken[10:]) == sorted(map(id, rollouts))
    assert taken[:10] != taken[10:]
    assert [id(one) for one in batches(3)] == taken[12:16]
    with pytest.raises(ValueError, match="no rollouts"):
        offline_batches([], OPTIONS)
