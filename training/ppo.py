"""PPO over two rewarded segments (LEDEX, section 2.3): rollouts in, a better policy out.

One step, over ``batch`` rollouts::

    reference log-probabilities   once, without gradient
    old log-probabilities, V      of the policy as it is; then advantages
    epochs x minibatches          forward, clipped losses, backward in pieces of at most ``piece_tokens``, AdamW

With one minibatch an epoch and nothing whitened, the first epoch's forward pass is the old policy's own: it runs at the weights that
sampled, so its detached outputs are the old log-probabilities and values, and the pass before it is saved (the result is the same).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from training.advantage import AdvantageOptions, estimate_advantages, place_rewards
from training.checkpoint import load_checkpoint, save_checkpoint
from training.experiment import ExperimentLog, draw_curves
from training.hardware import flops_utilisation, peak_memory
from training.loss import LossInputs, LossOptions, ppo_loss
from training.policy import Batch, Outputs, Policy, collate
from training.rewarded import Rollout

Batches = Callable[[int], Sequence[Rollout]]
"""The rollouts of a step (from 0). The same for the same step and policy, so that a resumed run is the run that was cut."""


CURVES = ("reward_refinement", "reward_explanation", "right", "loss", "policy_loss", "value_loss", "kl", "clipped", "entropy",
          "gradient_norm", "learning_rate", "tokens_per_second")  # fmt: skip


@dataclass(frozen=True)
class PpoOptions:
    """Learning rate and batch are the paper's; what it does not state: ``epochs`` is TRL 0.4's, warm-up and decay are those of its SFT.

    ``batch``: rollouts of a step. ``minibatch``: rollouts of an optimizer step, None: all. ``piece_tokens``: padded tokens on the
    accelerator at a time; it changes memory, never the result. ``old``: whose log-probabilities are the denominator of the ratio, the
    policy's at the step's begin or those that the sampler recorded, where it did. ``reference``: what the KL penalty holds on to: the
    policy that training started from, or the one before the update (the paper says both; the second makes the penalty 0 where the old
    log-probabilities are the policy's own).
    """

    steps: int = 100
    batch: int = 64
    minibatch: int | None = None
    epochs: int = 4
    piece_tokens: int = 16384
    learning_rate: float = 2e-6
    weight_decay: float = 0.0
    warmup: int = 0
    most_gradient: float = 1.0
    old: Literal["policy", "recorded"] = "policy"
    reference: Literal["start", "old"] = "start"
    advantage: AdvantageOptions = field(default_factory=AdvantageOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    seed: int = 0


def offline_batches(rollouts: Sequence[Rollout], options: PpoOptions) -> Batches:
    """The paper's reading: a fixed set of rollouts, each once before any comes again, in an order drawn anew each time. A step's batch
    depends on nothing but the step. Raises ValueError for no rollouts."""
    if not rollouts:
        raise ValueError("there are no rollouts to learn from")

    def order(number: int) -> list[int]:
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
        return list(torch.randperm(len(rollouts), generator=generator).tolist())

    def batch(step: int) -> list[Rollout]:
        places = range(step * options.batch, (step + 1) * options.batch)
        orders = {number: order(number) for number in {place // len(rollouts) for place in places}}
        return [rollouts[orders[place // len(rollouts)][place % len(rollouts)]] for place in places]

    return batch


@dataclass(frozen=True)
class _Row:
    """What is known of a rollout before the update; (completion tokens,) each."""

    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


@dataclass
class _Seen:
    """``rows`` by index into the step's rollouts; ``metrics``: means over the step's tokens."""

    reference: Mapping[int, Tensor]
    rows: dict[int, _Row] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Ppo:
    """The policy with its optimizer and schedule. ``step`` is the whole of the algorithm."""

    def __init__(self, policy: Policy, options: PpoOptions) -> None:
        from transformers import get_cosine_schedule_with_warmup

        self.policy, self.options = policy, options
        self.device = policy.value_head.weight.device
        self.optimizer = torch.optim.AdamW(policy.trained().values(), lr=options.learning_rate, weight_decay=options.weight_decay)
        updates = options.epochs * -(-options.batch // (options.minibatch or options.batch))
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, options.warmup, options.steps * updates)

    def step(self, rollouts: Sequence[Rollout], number: int) -> dict[str, float]:
        """Learn from a batch of rollouts; ``number``: of the step, which seeds the minibatches. Returns the step's metrics."""
        started = time.perf_counter()
        options = self.options
        size = options.minibatch or len(rollouts)
        seen = _Seen(self._reference(rollouts))
        examined = size < len(rollouts) or options.advantage.whiten
        if examined:
            self._examine(rollouts, seen)
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
        updates = []
        for _ in range(options.epochs):
            order = torch.randperm(len(rollouts), generator=generator).tolist()
            updates += [self._update(rollouts, order[at : at + size], seen) for at in range(0, len(order), size)]
        seconds = time.perf_counter() - started
        tokens = sum(len(one.completion_ids) for one in rollouts)
        read = sum(len(one.prompt_ids) for one in rollouts) + tokens
        # A backward pass is twice a forward one; it is less where the weights of the trunk are frozen, so this is at most a third too much.
        passes = options.epochs * 3 + examined + self._refers
        return {
            **_means(updates), **seen.metrics, **_reward_statistics(rollouts),
            "learning_rate": self.schedule.get_last_lr()[0], "tokens": float(tokens), "seconds": seconds,
            "tokens_per_second": tokens / seconds, "memory_bytes": float(peak_memory(self.device)),
            **flops_utilisation(2.0 * self.policy.size() * read * passes, seconds, self.device),
        }  # fmt: skip

    @property
    def _refers(self) -> bool:
        return self.options.reference == "start" and self.options.advantage.kl_coefficient != 0

    def _update(self, rollouts: Sequence[Rollout], chosen: Sequence[int], seen: _Seen) -> dict[str, float]:
        """One optimizer step over the chosen rollouts; those that were not seen yet are seen by its own forward pass."""
        count = float(sum(len(rollouts[index].completion_ids) for index in chosen))
        sums: dict[str, float] = {}
        for piece in pieces(rollouts, chosen, self.options.piece_tokens):
            batch = collate([rollouts[index] for index in piece], self.device)
            now = self.policy(batch)
            if piece[0] not in seen.rows:
                self._remember(rollouts, piece, batch, now, seen, count)
            old = [seen.rows[index] for index in piece]
            inputs = LossInputs(
                now.logprobs, now.values, _stack([one.logprobs for one in old]), _stack([one.values for one in old]),
                _stack([one.advantages for one in old]), _stack([one.returns for one in old]), batch.mask, count)  # fmt: skip
            found = ppo_loss(inputs, self.options.loss)
            found.loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            _add(sums, {**found.metrics, "entropy": float(now.entropy.sum()) / count})
        norm = torch.nn.utils.clip_grad_norm_(self.policy.trained().values(), self.options.most_gradient)
        finite = bool(torch.isfinite(norm))
        if not finite:
            # Without a gradient AdamW leaves a weight as it is: the update is left out, and the log says so.
            self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {**sums, "gradient_norm": float(norm), "left_out": 0.0} if finite else {"left_out": 1.0}

    def _reference(self, rollouts: Sequence[Rollout]) -> dict[int, Tensor]:
        """(completion tokens,) of each rollout; none where the reference is the old policy or does not count."""
        found: dict[int, Tensor] = {}
        for piece in pieces(rollouts, range(len(rollouts)), self.options.piece_tokens) if self._refers else ():
            told = self.policy.reference_logprobs(collate([rollouts[index] for index in piece], self.device))
            found |= {index: row[: len(rollouts[index].completion_ids)] for index, row in zip(piece, told, strict=True)}
        return found

    @torch.no_grad()
    def _examine(self, rollouts: Sequence[Rollout], seen: _Seen) -> None:
        """See all rollouts beforehand; only then can advantages be whitened, or a minibatch come after an optimizer step."""
        count = float(sum(len(one.completion_ids) for one in rollouts))
        for piece in pieces(rollouts, range(len(rollouts)), self.options.piece_tokens):
            batch = collate([rollouts[index] for index in piece], self.device)
            self._remember(rollouts, piece, batch, self.policy(batch), seen, count)
        if self.options.advantage.whiten:
            every = torch.cat([one.advantages for one in seen.rows.values()])
            mean, scale = every.mean(), torch.rsqrt(every.var(unbiased=False) + 1e-8)
            seen.rows = {index: replace(one, advantages=(one.advantages - mean) * scale) for index, one in seen.rows.items()}

    @torch.no_grad()
    def _remember(self, rollouts: Sequence[Rollout], piece: Sequence[int], batch: Batch, now: Outputs, seen: _Seen, count: float) -> None:
        """Enter a piece's old log-probabilities and values, and what follows from them."""
        chosen = [rollouts[index] for index in piece]
        lengths, ends = [len(one.completion_ids) for one in chosen], [one.explanation_end for one in chosen]
        logprobs, values = now.logprobs.detach(), now.values.detach()
        if self.options.old == "recorded":
            logprobs = logprobs.clone()
            for row, one in enumerate(chosen):
                if one.logprobs is not None:
                    logprobs[row, : lengths[row]] = torch.tensor(one.logprobs, device=self.device)
        reference = _stack([seen.reference[index] for index in piece]) if seen.reference else logprobs
        scores = place_rewards([one.reward for one in chosen], ends, lengths, batch.mask.shape[1]).to(self.device)
        # Whitening is for the whole batch, not for a piece of it.
        options = replace(self.options.advantage, whiten=False)
        found = estimate_advantages(scores, now.logprobs.detach(), reference, values, batch.mask, options, ends)
        for row, (index, length) in enumerate(zip(piece, lengths, strict=True)):
            told = (logprobs, values, found.advantages, found.values)
            seen.rows[index] = _Row(*(one[row, :length] for one in told))
        _add(seen.metrics, {
            "kl": float(found.kl.sum()) / count, "value": float(values.sum()) / count, "return": float(found.values.sum()) / count,
            "advantage": float(found.advantages.sum()) / count,
        })  # fmt: skip


def train(
    policy: Policy, batches: Batches, options: PpoOptions, folder: Path, every: int = 10,
    report: Callable[[int, Mapping[str, float]], None] = lambda step, metrics: None,
) -> Ppo:  # fmt: skip
    """Run PPO to its last step, or go on where ``folder`` says that a run of the same options was cut.

    ``every``: steps between checkpoints; the last step is always kept. ``folder`` receives checkpoints, metrics, curves and, at the end,
    the adapter or model under ``policy``. Raises DataError for checkpoints of another model; other options are for the caller to know.
    """
    ppo = Ppo(policy, options)
    kept = folder / "checkpoints"
    start = load_checkpoint(kept, policy.trained(), ppo.optimizer, ppo.schedule)
    log = ExperimentLog(folder, start)
    try:
        for number in range(start, options.steps):
            rollouts = batches(number)
            if rollouts:
                metrics = ppo.step(rollouts, number)
                log.write(number, metrics)
                report(number, metrics)
            if (number + 1) % every == 0 or number + 1 == options.steps:
                save_checkpoint(kept, number + 1, policy.trained(), ppo.optimizer, ppo.schedule)
    finally:
        log.close()
    draw_curves(folder, CURVES)
    policy.save(folder / "policy")
    return ppo


def pieces(rollouts: Sequence[Rollout], chosen: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """The chosen indices in runs of like lengths, each of at most ``most_tokens`` with its padding (or of one rollout)."""
    lengths = {index: len(rollouts[index].prompt_ids) + len(rollouts[index].completion_ids) for index in chosen}
    piece: list[int] = []
    # Longest first: if memory does not suffice, that is seen at once.
    for index in sorted(chosen, key=lambda index: (-lengths[index], index)):
        if piece and (len(piece) + 1) * lengths[piece[0]] > most_tokens:
            yield piece
            piece = []
        piece.append(index)
    if piece:
        yield piece


def _stack(rows: Sequence[Tensor]) -> Tensor:
    """(tokens,) each as (rows, longest), padded with 0."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def _means(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric over the updates that have it."""
    names = dict.fromkeys(name for one in updates for name in one)
    return {name: statistics.fmean(one[name] for one in updates if name in one) for name in names}


def _reward_statistics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Of each segment over the batch; the explanation's over those rollouts that have one."""
    told = {"right": statistics.fmean(one.right for one in rollouts)}
    paid = {"refinement": [one.reward.refinement for one in rollouts],
            "explanation": [one.reward.explanation for one in rollouts if one.reward.explanation is not None]}  # fmt: skip
    for name, values in paid.items():
        if values:
            told |= {f"reward_{name}": statistics.fmean(values), f"reward_{name}_deviation": float(torch.tensor(values).std(correction=0))}
    return told
