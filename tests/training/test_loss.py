"""The clipped losses in numbers worked by hand, what they must not depend on, and two toys that they must solve."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from training.advantage import AdvantageOptions, estimate_advantages
from training.loss import LossInputs, LossOptions, ppo_loss


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def inputs(ratio: float, advantage: float, value: float = 0.0, old_value: float = 0.0, wanted: float = 0.0) -> LossInputs:
    return LossInputs(row(math.log(ratio)), row(value), row(0.0), row(old_value), row(advantage), row(wanted), row(1.0), 1.0)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.5, 2.0, -2.4),  # clipped at 1.2
        (0.5, 2.0, -1.0),  # a good action that got rarer is not clipped
        (1.5, -2.0, 3.0),  # a bad action that got likelier is not clipped
        (0.5, -2.0, 1.6),  # clipped at 0.8
    ],
)
def test_the_policys_loss_by_hand(ratio: float, advantage: float, loss: float) -> None:
    found = ppo_loss(inputs(ratio, advantage), LossOptions(alpha=0.0))
    assert found.loss.item() == pytest.approx(loss)
    assert found.metrics["clipped"] == (abs(loss) != pytest.approx(abs(ratio * advantage)))


def test_without_a_clip_the_ratio_counts_in_full() -> None:
    assert ppo_loss(inputs(1.5, 2.0), LossOptions(clip=None, alpha=0.0)).loss.item() == pytest.approx(-3.0)


@pytest.mark.parametrize(
    ("value", "old", "wanted", "error"),
    [
        (1.0, 1.0, 3.0, 4.0),
        (2.0, 1.0, 3.0, 3.24),  # may count as moved to 1.2 only: (1.2 - 3)^2
        (1.1, 1.0, 3.0, 3.61),
        (4.0, 1.0, 1.1, 8.41),  # the plain error is the larger one
    ],
)
def test_the_values_loss_by_hand(value: float, old: float, wanted: float, error: float) -> None:
    found = ppo_loss(inputs(1.0, 0.0, value, old, wanted), LossOptions(alpha=0.1))
    assert found.loss.item() == pytest.approx(0.1 * error)
    assert found.metrics["value_loss"] == pytest.approx(error)


def batch(rows: int = 6, width: int = 5) -> LossInputs:
    torch.manual_seed(3)
    mask = (torch.arange(width)[None] < torch.tensor([5, 1, 3, 2, 4, 5])[:rows, None]).double()
    a, b, c, d, e, f = (torch.randn(rows, width, dtype=torch.float64) for _ in range(6))
    return LossInputs(a, b, c, d, e, f, mask, float(mask.sum()))


def test_what_lies_outside_the_mask_does_not_matter() -> None:
    clean = batch()
    dirty = replace(clean, logprobs=torch.where(clean.mask > 0, clean.logprobs, torch.full_like(clean.mask, -math.inf)),
                    values=torch.where(clean.mask > 0, clean.values, torch.full_like(clean.mask, 1e9)))  # fmt: skip
    assert ppo_loss(dirty, LossOptions()).loss.item() == pytest.approx(ppo_loss(clean, LossOptions()).loss.item())


@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_gradients_do_not_depend_on_the_pieces_that_they_are_accumulated_in(pieces: int) -> None:
    whole = batch()
    weight = torch.tensor([0.7, -0.3], dtype=torch.float64, requires_grad=True)

    def gradient(size: int) -> list[float]:
        weight.grad = torch.zeros_like(weight)
        for at in range(0, 6, size):
            piece = slice(at, at + size)
            part = LossInputs(
                weight[0] * whole.logprobs[piece], weight[1] * whole.values[piece], whole.old_logprobs[piece], whole.old_values[piece],
                whole.advantages[piece], whole.returns[piece], whole.mask[piece], whole.count)  # fmt: skip
            ppo_loss(part, LossOptions()).loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        return [float(one) for one in weight.grad]

    assert gradient(6 // pieces) == pytest.approx(gradient(6), rel=1e-12)


def sample(logits: torch.Tensor, rows: int, generator: torch.Generator) -> torch.Tensor:
    """(rows, positions) tokens of a policy whose positions are independent."""
    return torch.stack([torch.multinomial(one.softmax(-1), rows, True, generator=generator) for one in logits.detach()], 1)


def train(logits: torch.Tensor, score: object, steps: int, options: AdvantageOptions, ends: int | None) -> None:
    """PPO of a table: a logit for each position and token, a value for each position."""
    generator = torch.Generator().manual_seed(11)
    values = torch.zeros(logits.shape[0], requires_grad=True)
    optimizer = torch.optim.Adam([logits, values], lr=0.05)
    for _ in range(steps):
        tokens = sample(logits, 64, generator)
        told = logits.log_softmax(-1).detach()
        old = torch.stack([told[p][tokens[:, p]] for p in range(logits.shape[0])], 1)
        mask, old_values = torch.ones_like(old), values.detach().expand(64, -1).clone()
        found = estimate_advantages(score(tokens), old, old, old_values, mask, options, [ends] * 64)  # type: ignore[operator]
        for _ in range(2):
            now = logits.log_softmax(-1)
            logprobs = torch.stack([now[p][tokens[:, p]] for p in range(logits.shape[0])], 1)
            optimizer.zero_grad()
            part = LossInputs(logprobs, values.expand(64, -1), old, old_values, found.advantages, found.values, mask, mask.numel())
            ppo_loss(part, LossOptions(value_clip=None, alpha=0.5)).loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            optimizer.step()


def test_a_bandit_is_solved() -> None:
    paid = torch.tensor([0.0, 1.0, 0.2, 0.5])
    logits = torch.zeros(1, 4, requires_grad=True)
    train(logits, lambda tokens: paid[tokens], 120, AdvantageOptions(kl_coefficient=0.0), None)
    assert logits.detach().softmax(-1)[0, 1] > 0.9


def test_the_explanations_reward_moves_only_how_is_explained() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)  # position 0 explains, position 1 repairs

    def explained(tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([(tokens[:, 0] == 2).float(), torch.zeros(len(tokens))], 1)

    train(logits, explained, 120, AdvantageOptions(kl_coefficient=0.0), 0)
    explanation, repair = logits.detach().softmax(-1)
    assert explanation[2] > 0.9
    assert repair.tolist() == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_with_separate_segments_the_refinements_reward_moves_only_how_is_repaired() -> None:
    def repaired(tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(tokens)), (tokens[:, 1] == 0).float()], 1)

    separate = torch.zeros(2, 3, requires_grad=True)
    train(separate, repaired, 120, AdvantageOptions(kl_coefficient=0.0, segments="separate"), 0)
    explanation, repair = separate.detach().softmax(-1)
    assert repair[0] > 0.9
    assert explanation.tolist() == pytest.approx([1 / 3] * 3, abs=1e-6)
