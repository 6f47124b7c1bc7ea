"""Supervised fine-tuning (LEDEX, section 2.2) by TRL's SFTTrainer, and KTO for what people only accepted or rejected.

The paper's recipe is the default: 2 epochs, batches of 128, learning rate 2e-5, 500 steps of warm-up and a cosine. Rows come tokenized,
with a mask, from ``training.dataset``: TRL neither templates nor cuts them, and the dialogue's wrong code gets no loss. Checkpoints are
TRL's: a run that was killed goes on from its last one, on the same rows in the same order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from training import DataError
from training.tokens import Tokens

CURVES = ("loss", "mean_token_accuracy", "grad_norm", "learning_rate", "tokens_per_second", "memory_bytes")


@dataclass(frozen=True)
class SftOptions:
    """``batch``: rows of one optimizer step, reached by accumulating ``micro_batch`` rows at a time on each process. ``packing``: several
    rows in one sequence, without attention between them: transformers tells them apart by their positions. ``lora_rank`` 0 trains all
    weights. ``max_tokens``: rows that are longer are left out beforehand. ``save_steps``: optimizer steps between checkpoints."""

    epochs: float = 2.0
    batch: int = 128
    micro_batch: int = 4
    learning_rate: float = 2e-5
    warmup_steps: int = 500
    weight_decay: float = 0.0
    max_tokens: int = 4096
    packing: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    lora_rank: int = 16
    lora_alpha: float = 32.0
    save_steps: int = 100
    most_steps: int = -1
    seed: int = 0
    tensorboard: bool = True


def train_sft(
    checkpoint: Path, rows: Sequence[dict[str, list[int]]], tokens: Tokens, out: Path, options: SftOptions,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, log: None, processes: int = 1,
) -> list[dict[str, float]]:  # fmt: skip
    """Writes the trained adapter (or model) into ``out`` and returns the log, a row for each optimizer step: loss, tokens a second ...

    Raises DataError for no rows, or a checkpoint that cannot be loaded.
    """
    if not rows:
        raise DataError("there is nothing to learn from: no verified round was read (see what was left out)")
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        **_common(out, options, processes, len(rows)), packing=options.packing, max_length=options.max_tokens if options.packing else None,
        completion_only_loss=True)  # fmt: skip
    trainer = SFTTrainer(
        model=load_model(checkpoint, options), args=arguments, train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokens.tokenizer, peft_config=lora_config(options),
        callbacks=[logging_callback(out, options, on_step)])  # fmt: skip
    return resume(trainer, out)


def train_kto(
    checkpoint: Path, judged: Sequence[tuple[str, str, bool]], tokens: Tokens, out: Path, options: SftOptions, beta: float = 0.1,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, log: None,
) -> list[dict[str, float]]:  # fmt: skip
    """Kahneman-Tversky optimization (arXiv 2402.01306) for (prompt, completion, liked): accept and reject, without pairs. Texts of prompts
    are rendered by the caller. Raises DataError for only one kind of judgement."""
    if len({liked for _, _, liked in judged}) < 2:
        raise DataError("KTO needs accepted and rejected completions, and all of these are of one kind: use sft for accepted ones alone")
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    # Its estimate of the KL comes from the other rows on the accelerator: one alone has none.
    options = replace(options, batch=max(options.batch, 2), micro_batch=max(options.micro_batch, 2))
    arguments = KTOConfig(**_common(out, options, 1, len(judged)), beta=beta, max_length=options.max_tokens)
    data = Dataset.from_list([{"prompt": p, "completion": c, "label": liked} for p, c, liked in judged])
    trainer = KTOTrainer(
        model=load_model(checkpoint, options), args=arguments, train_dataset=data, processing_class=tokens.tokenizer,
        peft_config=lora_config(options), callbacks=[logging_callback(out, options, on_step)])  # fmt: skip
    return resume(trainer, out)


def _common(out: Path, options: SftOptions, processes: int, rows: int) -> dict[str, Any]:
    import torch

    micro = min(options.micro_batch, options.batch)
    accumulate = max(1, options.batch // (micro * processes))
    steps = math.ceil(rows * options.epochs / (micro * processes * accumulate)) if options.most_steps < 0 else options.most_steps
    return {
        "output_dir": str(out / "checkpoints"), "num_train_epochs": options.epochs, "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulate, "learning_rate": options.learning_rate, "lr_scheduler_type": "cosine",
        # A warm-up longer than the run would never reach the rate.
        "warmup_steps": min(options.warmup_steps, steps // 10), "weight_decay": options.weight_decay, "max_steps": options.most_steps,
        "bf16": options.precision == "bf16", "gradient_checkpointing": options.gradient_checkpointing, "save_steps": options.save_steps,
        "save_total_limit": 2, "logging_steps": 1, "seed": options.seed, "data_seed": options.seed, "disable_tqdm": True,
        "report_to": "none", "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(), "include_num_input_tokens_seen": "all",
    }  # fmt: skip


def load_model(checkpoint: Path, options: SftOptions) -> Any:
    """Raises DataError."""
    import torch
    from transformers import AutoModelForCausalLM

    kept = torch.bfloat16 if options.precision == "bf16" and options.lora_rank else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=kept, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{checkpoint} is no checkpoint that transformers can load: {told}") from None


def lora_config(options: SftOptions) -> Any:
    """PEFT's, or None where all weights are trained."""
    if not options.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=options.lora_rank, lora_alpha=options.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM")


def resume(trainer: Any, out: Path) -> list[dict[str, float]]:
    """Run a trainer of transformers, from its last checkpoint where it has one, and save what it leaves."""
    from transformers import PrinterCallback
    from transformers.trainer_utils import get_last_checkpoint

    trainer.remove_callback(PrinterCallback)  # the step is told by our own log
    saved = out / "checkpoints"
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(saved)) if saved.is_dir() else None)
    trainer.save_model(str(out / "final"))
    return [row for row in trainer.state.log_history if "loss" in row]


def logging_callback(out: Path, options: SftOptions, on_step: Callable[[int, dict[str, float]], None]) -> Any:
    """Our own log, that of PPO: a line a step with tokens a second and memory, TensorBoard's files, and curves at the end."""
    import torch
    from transformers import TrainerCallback

    from training.experiment import ExperimentLog, draw_curves
    from training.hardware import peak_memory

    class Logging(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.log: ExperimentLog | None = None
            self.began, self.seen = 0.0, 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                self.log = ExperimentLog(out, state.global_step + 1, tensorboard=options.tensorboard)
            self.began, self.seen = time.perf_counter(), int(state.num_input_tokens_seen)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "loss" not in logs:
                return
            now, seen = time.perf_counter(), int(state.num_input_tokens_seen)
            figures = {name: float(value) for name, value in logs.items() if isinstance(value, (int, float))}
            # Of all processes, prompts included: what was read, as with PPO's passes.
            figures |= {"tokens_per_second": (seen - self.seen) / (now - self.began), "seconds": now - self.began,
                        "memory_bytes": float(peak_memory(torch.device("cuda" if torch.cuda.is_available() else "cpu")))}  # fmt: skip
            self.began, self.seen = now, seen
            if self.log is not None:
                self.log.write(state.global_step, figures)
                on_step(state.global_step, figures)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.log is not None:
                self.log.close()
                draw_curves(out, CURVES)

    return Logging()
