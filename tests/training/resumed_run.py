"""A PPO run of a tiny policy in a process of its own, to be killed: ``python -m tests.training.resumed_run FOLDER [SECONDS]``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.training.tiny_policy import FULL, random_rollouts, tiny_policy
from training.ppo import Batches, PpoOptions, offline_batches, train
from training.rewarded import Rollout

OPTIONS = PpoOptions(steps=9, batch=6, minibatch=3, epochs=2, learning_rate=3e-3, warmup=4, save_steps=2)


def slowly(batches: Batches, seconds: float) -> Batches:
    """Each step takes longer, so that a kill can hit between two."""

    def batch(step: int) -> Sequence[Rollout]:
        time.sleep(seconds)
        return batches(step)

    return batch


def run(folder: Path, seconds: float = 0.0) -> None:
    torch.manual_seed(5)
    train(tiny_policy(FULL), slowly(offline_batches(random_rollouts(16), OPTIONS), seconds), OPTIONS, folder)


if __name__ == "__main__":
    run(Path(sys.argv[1]), float(sys.argv[2]))
