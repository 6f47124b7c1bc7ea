"""A run shared by two real processes (gloo) gives the losses and the weights of one process; the shipped launch configurations load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.shared_run import RUNS, run
from training.experiment import read_metrics
from training.processes import ALONE

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "training" / "launch"
MEASURED = {"seconds", "tokens_per_second", "memory_bytes"}


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_launch_configuration_is_read_by_accelerate(file: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    read = load_config_from_file(str(file))
    assert read.mixed_precision == "no"
    assert read.num_processes > 1


def launch(module: str, folder: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(LAUNCH / "cpu.yaml"), "--main_process_port", "0",
               "-m", module, str(folder)]  # fmt: skip
    # Variables of an accelerator that other tests of this process configured must not reach the new ones.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "FSDP_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, check=False, timeout=280)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "processes").read_text() == "2"


def same(one: Path, two: Path) -> None:
    """Every figure of every step but the measured ones, and the weights at the end."""
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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run(folder, ALONE)
    return folder


@pytest.mark.training
def test_two_processes_give_the_losses_and_weights_of_one(alone: Path, tmp_path: Path) -> None:
    launch("tests.training.shared_run", tmp_path)
    same(alone, tmp_path)


@pytest.mark.training
def test_weights_spread_over_processes_give_the_same_also_from_a_checkpoint(alone: Path, tmp_path: Path) -> None:
    launch("tests.training.spread_run", tmp_path)
    same(alone, tmp_path)
    for name in RUNS:  # as if it had been killed after step 2
        shutil.rmtree(tmp_path / name / "checkpoints" / "checkpoint-000003")
        shutil.rmtree(tmp_path / name / "policy")
    launch("tests.training.spread_run", tmp_path)
    same(alone, tmp_path)
