"""Collection and SFT that are really killed go on where they were. (PPO's kill is in ``test_checkpoint.py``.)"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.trajectory import read_trajectories
from tests.training.killed_run import FIXES, collected, supervised
from training.experiment import read_metrics

ROOT = Path(__file__).resolve().parents[2]
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
pytestmark = [pytest.mark.training, QUIET]


def killed(kind: str, folder: Path, model: Path, when: Callable[[], bool]) -> None:
    command = [sys.executable, "-m", "tests.training.killed_run", kind, str(folder), str(model)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True)
    limit = time.monotonic() + 300
    while not when() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_killed_sft_goes_on_to_the_same_losses(tiny: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    losses = supervised(whole, tiny)
    killed("sft", cut, tiny, lambda: len(read_metrics(cut)) >= 5)
    assert len(read_metrics(cut)) < len(losses)
    assert supervised(cut, tiny) == pytest.approx(losses, abs=1e-4)
    assert [one["step"] for one in read_metrics(cut)] == list(range(1, len(losses) + 1))
    assert [one["loss"] for one in read_metrics(cut)] == pytest.approx(losses, abs=1e-4)


def lines(folder: Path) -> list[str]:
    return [line for name in ("train", "held_out") if (file := folder / f"{name}.jsonl").exists() for line in file.read_text().splitlines()]


def test_a_killed_collection_goes_on_and_does_nothing_twice(tiny: Path, tmp_path: Path) -> None:
    killed("collect", tmp_path, tiny, lambda: len(lines(tmp_path)) >= 2)
    before = lines(tmp_path)
    assert 2 <= len(before) < len(FIXES)
    state = collected(tmp_path)
    assert (state.resumed, state.kept) == (len(before), len(FIXES) - len(before))
    found = [one.id for name in ("train", "held_out") for one in read_trajectories(tmp_path / f"{name}.jsonl")]
    assert sorted(found) == sorted({f"planted/mbpp/9001/token/{n}" for n in range(len(FIXES))})
    assert json.loads((tmp_path / "card.json").read_text())["wrong_solutions"] == len(FIXES)
