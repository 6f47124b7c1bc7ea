"""SFT and collection in a process of their own, slowed down: ``python -m tests.training.killed_run sft|collect FOLDER MODEL``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from inference.trajectory import Trajectory
from tests.training.conftest import TASK
from tests.training.trajectories import round_of, trajectory
from training.benchmark.isolation import default_runner
from training.benchmark.judging import make_oracle
from training.benchmark.mbpp import Bug
from training.benchmark.mutation import Mutant
from training.census import Census
from training.collect import Collected, collect, template_teacher
from training.contamination import guard
from training.dataset import examples_of, tokenized
from training.problems import Opened, Planted, from_bug
from training.sft import SftOptions, train_sft
from training.stages import load_tokens

FAST = SftOptions(epochs=6, batch=2, micro_batch=2, learning_rate=1e-2, warmup_steps=0, lora_rank=0, tensorboard=False, save_steps=2)
FIXES = ("a * b", "a // (b + 1)", "a % (b + 1)", "b - a", "a - b")


def supervised(folder: Path, model: Path, pause: float = 0.0) -> list[float]:
    """The losses."""
    tokens = load_tokens(model)
    one = trajectory("a", round_of(), round_of("It must add."), round_of("The operator is wrong."))
    rows = tokenized(examples_of([one], Census()), tokens, 4096, Census())
    return [row["loss"] for row in train_sft(model, rows, tokens, folder, FAST, lambda step, log: time.sleep(pause))]


def planted() -> list[Planted]:
    """Five bugs in one program."""
    runner = default_runner()
    oracle, reason = make_oracle(runner, TASK.program, TASK.asserts, seed=0)
    assert oracle is not None, reason
    texts = [TASK.program.replace("a + b", fix) for fix in FIXES]
    bugs = [Bug(f"mbpp/9001/token/{n}", TASK, Mutant("token", "operator", 2, text), oracle) for n, text in enumerate(texts)]
    return [replace(from_bug(runner, bug), repository=f"mbpp/{n}") for n, bug in enumerate(bugs)]


def collected(folder: Path, pause: float = 0.0) -> Collected:
    def teacher(opened: Opened) -> Trajectory:
        time.sleep(pause)
        return template_teacher(opened)

    return collect(planted(), teacher, default_runner(), folder, guard({}), held_out=0.5)


if __name__ == "__main__":
    if sys.argv[1] == "sft":
        supervised(Path(sys.argv[2]), Path(sys.argv[3]), 0.3)
    else:
        collected(Path(sys.argv[2]), 0.5)
