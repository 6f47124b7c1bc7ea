"""A run shared by two real processes (gloo) gives the losses and the weights of one process; the shipped launch configurations load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.shared_run import RUNS, run
from training.experiment import read_metrics

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "training" / "launch"
MEASURED = {"seconds", "tokens_per_second", "memory_bytes"}


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_launch_configuration_is_read_by_accelerate(file: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(file))
    assert read.mixed_precision == "no"
    assert read.num_processes > 1


def test_two_processes_give_the_losses_and_weights_of_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(LAUNCH / "cpu.yaml"), "--main_process_port", "0",
               "-m", "tests.training.shared_run", str(two)]  # fmt: skip
    # Variables of an accelerator that other tests of this process configured must not reach the new ones.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "FSDP_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    run(one)
    for name in RUNS:
        alone, together = read_metrics(one / name), read_metrics(two / name)
        assert len(alone) == len(together) == 3
        for first, second in zip(alone, together, strict=True):
            assert first.keys() == second.keys()
            for metric in first.keys() - MEASURED:
                assert second[metric] == pytest.approx(first[metric], abs=1e-4, rel=1e-3), f"{name}: {metric} of step {first['step']}"
        [weights] = [path.name for path in (one / name / "policy").glob("*model.safetensors")]
        ends = [load_file(folder / name / "policy" / weights) for folder in (one, two)]
        assert all(torch.allclose(ends[0][key], ends[1][key], atol=1e-4) for key in ends[0])
