"""A language model of our own, from random weights: about a million parameters, trained on a CPU in minutes or on a GPU in less.

``fit`` is the one loop, for pretraining and for fine-tuning all weights on completions: AdamW, warm-up, cosine, batches of rows of like
lengths, checkpoints from which a killed run goes on with the same losses. Models that exist already are fine-tuned by ``training.sft``.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from training import DataError
from training.checkpoint import load_checkpoint, save_checkpoint
from training.experiment import ExperimentLog, draw_curves
from training.pretrain_data import Row
from training.pretrain_start import ROPE_THETA, build_copying

CURVES = ("loss", "held_out_loss", "learning_rate", "gradient_norm", "tokens_per_second")
DONE = "done.json"
_WIDTH = 16


@dataclass(frozen=True)
class ModelOptions:
    """A Qwen2 with tied embeddings. ``context``: positions. ``copying``: start with a circuit that copies (``training.pretrain_start``)."""

    vocabulary: int = 1200
    hidden: int = 128
    layers: int = 4
    heads: int = 2
    feed_forward: int = 384
    context: int = 768
    copying: bool = True


@dataclass(frozen=True)
class FitOptions:
    """``batch_tokens``: of one optimizer step, padding included. ``passes`` over the rows, or ``most_steps`` where that is less.
    ``held_out``: rows, the last ones, that are only looked at. ``most_seconds``: wall time of one piece; the run goes on when it is
    called again. ``precision``: "bf16" computes in bfloat16, twice as fast where the processor knows it; weights stay in float32."""

    passes: float = 1.0
    most_steps: int = 1_000_000
    batch_tokens: int = 4096
    longest: int = 384
    learning_rate: float = 3e-3
    least_rate: float = 0.05
    warmup: int = 60
    weight_decay: float = 0.05
    most_gradient: float = 1.0
    held_out: int = 128
    every: int = 100
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0


def new_model(options: ModelOptions, tokenizer: Any, seed: int) -> Any:
    """The weights that training starts from, for a tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=options.hidden, intermediate_size=options.feed_forward, num_hidden_layers=options.layers,
        num_attention_heads=options.heads, num_key_value_heads=options.heads, max_position_embeddings=options.context,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA}))  # fmt: skip
    if options.copying:
        build_copying(model, seed)
    return model


def load_model(folder: Path) -> Any:
    """A checkpoint of transformers in float32. Raises DataError."""
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{folder} is no checkpoint that transformers can load: {told}") from None


def batches(rows: Sequence[Row], options: FitOptions) -> list[list[int]]:
    """Indices of the rows of every step of a run: each pass in a new order, rows of like lengths together, at most ``batch_tokens`` with
    their padding."""
    made: list[list[int]] = []
    whole, part = divmod(options.passes, 1.0)
    for number in range(int(whole) + (part > 0)):
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
        order = torch.randperm(len(rows), generator=generator).tolist()
        if number == int(whole):
            order = order[: round(part * len(rows))]
        # Like lengths among a thousand rows: sorted as a whole, every pass would show the same rows together.
        own: list[list[int]] = []
        for start in range(0, len(order), 1024):
            batch: list[int] = []
            for index in sorted(order[start : start + 1024], key=lambda i: (-len(rows[i].ids), i)):
                if batch and (len(batch) + 1) * len(rows[batch[0]].ids) > options.batch_tokens:
                    own.append(batch)
                    batch = []
                batch.append(index)
            if batch:
                own.append(batch)
        made += [own[i] for i in torch.randperm(len(own), generator=generator).tolist()]
    return made[: options.most_steps]


def loss_of(model: Any, rows: Sequence[Row], precision: str = "fp32") -> tuple[Tensor, int]:
    """(sum of the cross-entropies of the tokens that are learned, their count). Only their states go through the output layer."""
    # Of few widths: for each one that is new the processor's kernels are made anew.
    longest = -(-max(len(row.ids) for row in rows) // _WIDTH) * _WIDTH
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    places, targets = [], []
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        start = max(row.start, 1)
        places.append(torch.arange(number * longest + start - 1, number * longest + len(row.ids) - 1))
        targets.append(torch.tensor(row.ids[start:]))
    # Padded on the right, and a causal model reads nothing to the right: no mask is needed.
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        states = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.get_output_embeddings()(states.flatten(0, 1)[torch.cat(places)])
    told = torch.cat(targets)
    return torch.nn.functional.cross_entropy(logits.float(), told, reduction="sum"), len(told)


def fit(
    model: Any, tokenizer: Any, rows: Sequence[Row], options: FitOptions, folder: Path,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None, most_seconds: float = float("inf"),
) -> bool:  # fmt: skip
    """Train all weights, or go on where ``folder`` says that the same run was cut; the model goes to ``folder/model``.

    Returns whether the run is at its end: False where ``most_seconds`` were up before. Raises DataError for no rows, or a folder that
    holds a run of other options or rows.
    """
    rows = [row for row in rows if len(row.ids) <= options.longest]
    if not rows:
        raise DataError("there is nothing to learn from: no row is as short as the longest one allowed")
    held = rows[len(rows) - options.held_out :] if 0 < options.held_out < len(rows) else []
    learned = rows[: len(rows) - len(held)]
    _same_run(folder, options, rows)
    steps = batches(learned, options)
    began = time.monotonic()
    model.train()
    named = {name: one for name, one in model.named_parameters() if one.requires_grad}
    optimizer = torch.optim.AdamW(_groups(named, options.weight_decay), lr=options.learning_rate, betas=(0.9, 0.98), fused=True)
    schedule = _schedule(optimizer, options, len(steps))
    start = load_checkpoint(folder / "checkpoints", named, optimizer, schedule)
    log = ExperimentLog(folder, start)
    try:
        for number in range(start, len(steps)):
            last = number + 1 == len(steps)
            metrics = _step(model, [learned[i] for i in steps[number]], named, optimizer, schedule, options)
            if held and (last or number % options.every == 0):
                metrics["held_out_loss"] = _held_out(model, held, options)
            log.write(number, metrics)
            report(number + 1, len(steps), metrics["loss"])
            over = time.monotonic() - began > most_seconds
            if last or over or (number + 1) % options.every == 0:
                save_checkpoint(folder / "checkpoints", number + 1, named, optimizer, schedule)
            if over and not last:
                return False
    finally:
        log.close()
    draw_curves(folder, CURVES)
    model.eval()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / DONE).write_text(json.dumps({"steps": len(steps), "rows": len(learned), "held_out": len(held)}) + "\n", encoding="utf-8")
    return True


def _step(
    model: Any, rows: Sequence[Row], named: dict[str, Any], optimizer: Any, schedule: Any, options: FitOptions
) -> dict[str, float]:
    began = time.perf_counter()
    total, count = loss_of(model, rows, options.precision)
    loss = total / count
    loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
    norm = torch.nn.utils.clip_grad_norm_(named.values(), options.most_gradient)
    rate = schedule.get_last_lr()[0]
    optimizer.step()
    schedule.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - began
    read = sum(len(row.ids) for row in rows)
    return {"loss": loss.item(), "gradient_norm": norm.item(), "learning_rate": rate, "tokens": float(read),
            "tokens_per_second": read / seconds}  # fmt: skip


@torch.no_grad()
def _held_out(model: Any, rows: Sequence[Row], options: FitOptions) -> float:
    model.eval()
    size = max(options.batch_tokens // options.longest, 1)
    parts = [loss_of(model, rows[at : at + size], options.precision) for at in range(0, len(rows), size)]
    model.train()
    return float(sum(total.item() for total, _ in parts) / sum(count for _, count in parts))


def _groups(named: dict[str, Any], decay: float) -> list[dict[str, Any]]:
    """Norms and biases are not decayed."""
    flat = [one for one in named.values() if one.dim() < 2]
    return [{"params": [one for one in named.values() if one.dim() >= 2], "weight_decay": decay}, {"params": flat, "weight_decay": 0.0}]


def _schedule(optimizer: Any, options: FitOptions, steps: int) -> Any:
    warmup = min(options.warmup, max(steps // 10, 1))

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        share = (step - warmup) / max(steps - warmup, 1)
        return options.least_rate + (1 - options.least_rate) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _same_run(folder: Path, options: FitOptions, rows: Sequence[Row]) -> None:
    """A folder belongs to one set of options and rows."""
    digest = hashlib.sha256(json.dumps([(row.ids, row.start) for row in rows]).encode()).hexdigest()
    told = {"options": asdict(options), "rows": digest}
    file = folder / "run.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != told:
        raise DataError(f"{folder} holds a run of other options or data: name another folder, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
