"""PPO over two rewarded segments (LEDEX, section 2.3): rollouts in, a better policy out.

One step, over ``batch`` rollouts::

    reference log-probabilities   once, without gradient
    old log-probabilities, V      of the policy as it is; then advantages
    epochs x minibatches          forward, clipped losses, backward in pieces of at most ``piece_tokens``, AdamW

With one minibatch an epoch and nothing whitened, the first epoch's forward pass is the old policy's own: it runs at the weights that
sampled, so its detached outputs are the old log-probabilities and values, and the pass before it is saved (the result is the same).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from training.pieces import add, means, pieces, reward_statistics, stack
from training.policy import Batch, Outputs, Policy, collate
from training.processes import ALONE, Processes
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
    log-probabilities are the policy's own). ``save_steps``: steps between checkpoints.
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
    save_steps: int = 10
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
    # The same names on a process that has no rollout: what they add up, they add up together.
    metrics: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("kl", "value", "return", "advantage"), 0.0))


class Ppo:
    """The policy with its optimizer and schedule. ``step`` is the whole of the algorithm."""

    def __init__(self, policy: Policy, options: PpoOptions, processes: Processes | None = None) -> None:
        """``processes``: with whom the run is shared; alone by default."""
        from transformers import get_cosine_schedule_with_warmup

        self.policy, self.options, self.processes = policy, options, processes or ALONE
        self.device = policy.value_head.weight.device
        self.optimizer = torch.optim.AdamW(policy.trained().values(), lr=options.learning_rate, weight_decay=options.weight_decay)
        self.model = self.processes.prepare(policy, self.optimizer)
        self.device = policy.value_head.weight.device
        updates = options.epochs * -(-options.batch // (options.minibatch or options.batch))
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, options.warmup, options.steps * updates)

    def step(self, rollouts: Sequence[Rollout], number: int) -> dict[str, float]:
        """Learn from a batch of rollouts, the same on all processes; ``number``: of the step, which seeds the minibatches. Returns the
        step's metrics. Raises ValueError for no rollouts."""
        if not rollouts:
            raise ValueError("there are no rollouts to learn from")
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
            **means(updates), **self.processes.add_up(seen.metrics, self.device), **reward_statistics(rollouts),
            "learning_rate": self.schedule.get_last_lr()[0], "tokens": float(tokens), "seconds": seconds,
            "tokens_per_second": tokens / seconds, "memory_bytes": float(peak_memory(self.device)),
            **flops_utilisation(2.0 * self.policy.size() * read * passes / self.processes.count, seconds, self.device),
        }  # fmt: skip

    @property
    def _refers(self) -> bool:
        return self.options.reference == "start" and self.options.advantage.kl_coefficient != 0

    def _own(self, rollouts: Sequence[Rollout], chosen: Iterable[int]) -> list[tuple[list[int], bool]]:
        """This process's share of the chosen rollouts in pieces, and whether a piece counts: weights that are spread over processes are
        gathered for every pass, so all make equally many, the last ones of some for nothing."""
        mine = range(self.processes.index, len(rollouts), self.processes.count)
        own = [(piece, True) for piece in pieces(rollouts, [index for index in chosen if index in mine], self.options.piece_tokens)]
        most = self.processes.largest(len(own), self.device)
        return [*own, *[([0], False)] * (most - len(own))]

    def _update(self, rollouts: Sequence[Rollout], chosen: Sequence[int], seen: _Seen) -> dict[str, float]:
        """One optimizer step over the chosen rollouts; those that were not seen yet are seen by its own forward pass."""
        count = float(sum(len(rollouts[index].completion_ids) for index in chosen))
        sums = dict.fromkeys(("loss", "policy_loss", "value_loss", "clipped", "step_kl", "entropy"), 0.0)
        own = self._own(rollouts, chosen)
        for number, (piece, counts) in enumerate(own, 1):
            with self.processes.without_exchange(self.model) if number < len(own) else contextlib.nullcontext():
                batch = collate([rollouts[index] for index in piece], self.device)
                now = self.model(batch)
                if not counts:
                    self.processes.backward(0.0 * (now.logprobs.sum() + now.values.sum()))
                    continue
                if piece[0] not in seen.rows:
                    self._remember(rollouts, piece, batch, now, seen, count)
                old = [seen.rows[index] for index in piece]
                inputs = LossInputs(
                    now.logprobs, now.values, stack([one.logprobs for one in old]), stack([one.values for one in old]),
                    stack([one.advantages for one in old]), stack([one.returns for one in old]), batch.mask, count)  # fmt: skip
                found = ppo_loss(inputs, self.options.loss)
                self.processes.backward(found.loss)
                add(sums, {**found.metrics, "entropy": float(now.entropy.sum()) / count})
        norm = self.processes.clip(self.policy.trained().values(), self.options.most_gradient)
        finite = bool(torch.isfinite(norm))
        if not finite:
            # Without a gradient AdamW leaves a weight as it is: the update is left out, and the log says so.
            self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        sums = self.processes.add_up(sums, self.device)
        return {**sums, "gradient_norm": float(norm), "left_out": 0.0} if finite else {"left_out": 1.0}

    @torch.no_grad()
    def _reference(self, rollouts: Sequence[Rollout]) -> dict[int, Tensor]:
        """(completion tokens,) of each own rollout; none where the reference is the old policy or does not count."""
        found: dict[int, Tensor] = {}
        for piece, counts in self._own(rollouts, range(len(rollouts))) if self._refers else ():
            told = self.model(collate([rollouts[index] for index in piece], self.device), refer=True).logprobs
            if counts:
                found |= {index: row[: len(rollouts[index].completion_ids)] for index, row in zip(piece, told, strict=True)}
        return found

    @torch.no_grad()
    def _examine(self, rollouts: Sequence[Rollout], seen: _Seen) -> None:
        """See all own rollouts beforehand; only then can advantages be whitened, or a minibatch come after an optimizer step."""
        count = float(sum(len(one.completion_ids) for one in rollouts))
        for piece, counts in self._own(rollouts, range(len(rollouts))):
            batch = collate([rollouts[index] for index in piece], self.device)
            now = self.model(batch)
            if counts:
                self._remember(rollouts, piece, batch, now, seen, count)
        if self.options.advantage.whiten:
            every = torch.cat([torch.zeros(0, device=self.device), *(one.advantages for one in seen.rows.values())]).double()
            mean = self.processes.add_up({"sum": float(every.sum())}, self.device)["sum"] / count
            variance = self.processes.add_up({"sum": float(((every - mean) ** 2).sum())}, self.device)["sum"] / count
            scale = (variance + 1e-8) ** -0.5
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
        reference = stack([seen.reference[index] for index in piece]) if seen.reference else logprobs
        scores = place_rewards([one.reward for one in chosen], ends, lengths, batch.mask.shape[1]).to(self.device)
        # Whitening is for the whole batch, not for a piece of it.
        options = replace(self.options.advantage, whiten=False)
        found = estimate_advantages(scores, now.logprobs.detach(), reference, values, batch.mask, options, ends)
        for row, (index, length) in enumerate(zip(piece, lengths, strict=True)):
            told = (logprobs, values, found.advantages, found.values)
            seen.rows[index] = _Row(*(one[row, :length] for one in told))
        add(seen.metrics, {
            "kl": float(found.kl.sum()) / count, "value": float(values.sum()) / count, "return": float(found.values.sum()) / count,
            "advantage": float(found.advantages.sum()) / count,
        })  # fmt: skip


def train(
    policy: Policy, batches: Batches, options: PpoOptions, folder: Path,
    report: Callable[[int, Mapping[str, float]], None] = lambda step, metrics: None, processes: Processes | None = None,
) -> Ppo:  # fmt: skip
    """Run PPO to its last step, or go on where ``folder`` says that a run of the same options was cut.

    A checkpoint every ``save_steps`` and after the last. ``folder`` receives checkpoints, metrics, curves and, at the end,
    the adapter or model under ``policy``. Raises DataError for checkpoints of another model; other options are for the caller to know.
    """
    ppo = Ppo(policy, options, processes)
    together = ppo.processes
    kept = folder / "checkpoints"
    start = load_checkpoint(kept, policy.trained(), ppo.optimizer, ppo.schedule, together)
    log = ExperimentLog(folder, start) if together.is_first else None
    try:
        for number in range(start, options.steps):
            rollouts = together.share(lambda number=number: batches(number))  # type: ignore[misc]
            if rollouts:
                metrics = ppo.step(rollouts, number)
                if log is not None:
                    log.write(number, metrics)
                    report(number, metrics)
            if (number + 1) % options.save_steps == 0 or number + 1 == options.steps:
                save_checkpoint(kept, number + 1, policy.trained(), ppo.optimizer, ppo.schedule, together)
    finally:
        if log is not None:
            log.close()
    state = together.state_of(ppo.model)
    if together.is_first:
        draw_curves(folder, CURVES)
        policy.save(folder / "policy", state)
    together.wait()
    return ppo
