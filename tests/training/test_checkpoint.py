"""A run that is killed goes on to the same curve; a checkpoint is whole, or not there, or refused in a sentence."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.resumed_run import OPTIONS, run
from tests.training.tiny_policy import SMALL_LORA, random_rollouts, tiny_policy
from training import DataError
from training.checkpoint import load_checkpoint, save_checkpoint
from training.experiment import PLOT, ExperimentLog, read_metrics
from training.policy import Policy
from training.ppo import Ppo, offline_batches, train

ROOT = Path(__file__).resolve().parents[2]
MEASURED = {"seconds", "tokens_per_second", "memory_bytes"}


def curve(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in step.items() if name not in MEASURED} for step in read_metrics(folder)]


def test_a_killed_run_goes_on_to_the_same_losses_and_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(whole)
    command = [sys.executable, "-m", "tests.training.resumed_run", str(cut), "0.3"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    limit = time.monotonic() + 120
    # After step 4 is logged the newest checkpoint is that of 4 steps: step 4 is in the log but in no checkpoint.
    while len(read_metrics(cut)) < 5 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(read_metrics(cut)) == 5
    assert not (cut / "policy").exists()
    run(cut)
    assert [step["step"] for step in curve(cut)] == list(range(OPTIONS.steps))
    assert curve(cut) == curve(whole)
    ends = [load_file(folder / "policy" / "model.safetensors") for folder in (whole, cut)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert (cut / PLOT).stat().st_size > 5000
    assert len(list((cut / "tensorboard").glob("events.out.tfevents.*"))) == 2


def ppo() -> tuple[Policy, Ppo]:
    policy = tiny_policy(SMALL_LORA)
    return policy, Ppo(policy, OPTIONS)


def test_two_checkpoints_are_kept_and_what_was_half_written_is_not_read(tmp_path: Path) -> None:
    policy, one = ppo()
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, policy.trained(), one.optimizer, one.schedule)
    (tmp_path / ".writing-000004").mkdir()
    (tmp_path / ".writing-000004" / "state.pt").write_bytes(b"half")
    assert load_checkpoint(tmp_path, policy.trained(), one.optimizer, one.schedule) == 3
    save_checkpoint(tmp_path, 4, policy.trained(), one.optimizer, one.schedule)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000003", "checkpoint-000004"]


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    policy, one = ppo()
    random.random(), np.random.rand(), torch.rand(1)
    save_checkpoint(tmp_path, 1, policy.trained(), one.optimizer, one.schedule)
    drawn = (random.random(), np.random.rand(), torch.rand(1).item())
    load_checkpoint(tmp_path, policy.trained(), one.optimizer, one.schedule)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    policy, one = ppo()
    save_checkpoint(tmp_path, 1, policy.trained(), one.optimizer, one.schedule)
    other = tiny_policy()
    with pytest.raises(DataError, match="of another model or another adapter"):
        load_checkpoint(tmp_path, other.trained(), Ppo(other, OPTIONS).optimizer, one.schedule)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    policy, one = ppo()
    path = save_checkpoint(tmp_path, 1, policy.trained(), one.optimizer, one.schedule)
    (path / "state.pt").write_bytes((path / "state.pt").read_bytes()[:100])
    with pytest.raises(DataError, match="delete it to go on"):
        load_checkpoint(tmp_path, policy.trained(), one.optimizer, one.schedule)


def test_a_batch_without_rollouts_is_skipped(tmp_path: Path) -> None:
    batches = offline_batches(random_rollouts(6), OPTIONS)
    train(tiny_policy(), lambda step: batches(step) if step != 3 else [], OPTIONS, tmp_path)
    assert [one["step"] for one in read_metrics(tmp_path)] == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_cut_line_of_the_log_is_left_out_and_written_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert len(read_metrics(tmp_path)) == 2
    log = ExperimentLog(tmp_path, 1)
    log.write(1, {"loss": 3.0})
    log.close()
    assert read_metrics(tmp_path) == [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 3.0}]
