"""Checkpoints that are whole or not there, from which a run goes on as if it had not been cut.

``FOLDER/checkpoint-000012/`` is written under another name, flushed to the disk and then renamed, so a SIGKILL leaves the one before it.
It holds what learns (not the frozen weights), optimizer, schedule, random number generators and the number of steps done. The run is made
anew from the same checkpoint of the model, which is the KL penalty's reference too, and then filled.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import DataError
from training.processes import ALONE, Processes

_NAME = re.compile(r"checkpoint-(\d{6,})")
_KEPT = 2
_PARTS = "parts"


def save_checkpoint(
    folder: Path, step: int, trained: dict[str, Any], optimizer: Any, schedule: Any, processes: Processes = ALONE
) -> Path:  # fmt: skip
    """Write the state after ``step`` steps; the two newest checkpoints are kept. ``trained``: parameters by name. All processes call it:
    the first one writes, and each its own part where weights are spread over them."""
    scratch, path = folder / f".writing-{step:06d}", folder / f"checkpoint-{step:06d}"
    if processes.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(".writing-*"):
            shutil.rmtree(old, ignore_errors=True)
        scratch.mkdir()
    processes.wait()
    if processes.spreads:
        processes.save(scratch / _PARTS)
        processes.wait()
    if processes.is_first:
        whole = {} if processes.spreads else {
            "trained": {name: one.detach() for name, one in trained.items()}, "optimizer": optimizer.state_dict()}  # fmt: skip
        _write(folder, scratch, path, {**whole, "step": step, "schedule": schedule.state_dict(), "random": _random_state()})
    processes.wait()
    return path


def _write(folder: Path, scratch: Path, path: Path, state: dict[str, Any]) -> None:
    with (scratch / "state.pt").open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        shutil.rmtree(path)
    scratch.rename(path)
    _flush(folder)
    for _, old in _checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, trained: dict[str, Any], optimizer: Any, schedule: Any, processes: Processes = ALONE) -> int:
    """Fill everything from the newest checkpoint and return its step; 0, and nothing is changed, where there is none.

    Raises DataError where it is of another model or another adapter, or damaged.
    """
    found = _checkpoints(folder)
    if not found:
        return 0
    step, path = found[-1]
    try:
        # Tensors, numbers and text only: nothing in the file is run.
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        kept = {} if processes.spreads else state["trained"]
        if not processes.spreads and _shapes(trained) != _shapes(kept):
            raise DataError(f"{path} is of another model or another adapter: give another folder for this run, or the options of that one")
        if processes.spreads:
            processes.load(path / _PARTS)
        else:
            optimizer.load_state_dict(state["optimizer"])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}): delete it to go on from the one before it") from None
    with torch.no_grad():
        for name, one in kept.items():
            trained[name].copy_(one)
    schedule.load_state_dict(state["schedule"])
    _restore_random(state["random"])
    return step


def _shapes(parameters: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in parameters.items()}


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """By step, oldest first."""
    if not folder.is_dir():
        return []
    named = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match)


def _random_state() -> dict[str, Any]:
    kind, keys, place, has, cached = np.random.get_state(legacy=True)
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has), float(cached)],
        "python": [version, list(numbers), gauss],
    }  # fmt: skip


def _restore_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, place, has, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), place, has, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
