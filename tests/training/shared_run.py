"""A PPO run of a tiny policy over however many processes start it: ``accelerate launch ... -m tests.training.shared_run FOLDER``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.training.tiny_policy import FULL, SMALL_LORA, random_rollouts, tiny_policy
from training.advantage import AdvantageOptions
from training.policy import PolicyOptions
from training.ppo import PpoOptions, offline_batches, train
from training.processes import Processes, processes

# An odd number of rollouts and minibatches of three: the shares are unequal, and some process has nothing in some minibatch.
ONE_BATCH = PpoOptions(steps=3, batch=7, epochs=2, learning_rate=3e-3, piece_tokens=40, save_steps=2)
# One process has nothing at all.
ONE_ROLLOUT = replace(ONE_BATCH, batch=1, advantage=AdvantageOptions(whiten=True))
MINIBATCHES = replace(ONE_BATCH, minibatch=2, advantage=AdvantageOptions(whiten=True))
RUNS: dict[str, tuple[PpoOptions, PolicyOptions]] = {
    "all-weights": (ONE_BATCH, FULL), "minibatches": (MINIBATCHES, FULL), "lora": (ONE_BATCH, SMALL_LORA),
    "one-rollout": (ONE_ROLLOUT, FULL),
}  # fmt: skip


def run(folder: Path, together: Processes | None = None) -> None:
    torch.set_num_threads(1)
    together = together or processes()
    if together.is_first:
        folder.mkdir(exist_ok=True)
        (folder / "processes").write_text(str(together.count))
    for name, (options, policy) in RUNS.items():
        torch.manual_seed(5)
        train(tiny_policy(policy), offline_batches(random_rollouts(16), options), options, folder / name, processes=together)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
