"""The unattended loop: a folder that the bot's export fills -> train -> evaluate -> gate -> publish, again whenever enough is new.

``loop.json`` in the work folder holds which trajectories were learned from and how each round ended; it is replaced as a whole, so a loop
that was killed goes on with what is new. A round that fails is told and counted, and the next one is tried when there is more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from inference import InferenceError
from inference.trajectory import Trajectory
from sandbox import SandboxError
from training import NotPromoted, TrainingError
from training.census import Census, read_all

Round = Callable[[Sequence[Trajectory], Path], str]
"""Learns from all trajectories, working in a folder of its own, and says in one sentence what came of it."""


@dataclass
class LoopState:
    """``learned``: ids of trajectories that a finished round had. ``rounds``: each one's sentence."""

    learned: set[str] = field(default_factory=set)
    rounds: list[str] = field(default_factory=list)


def watch(
    folder: Path, work: Path, one_round: Round, *, least_new: int = 50, poll_seconds: float = 60.0, most_rounds: int | None = None,
    say: Callable[[str], None] = lambda text: None, sleep: Callable[[float], None] = time.sleep,
) -> LoopState:  # fmt: skip
    """Runs until ``most_rounds`` rounds were begun (for ever when None). A failed round is not repeated on the same data."""
    work.mkdir(parents=True, exist_ok=True)
    state = _load(work / "loop.json")
    begun = 0
    while most_rounds is None or begun < most_rounds:
        census = Census()
        found = list(read_all([folder], census))
        new = {one.id for one in found} - state.learned
        if len(new) < least_new:
            sleep(poll_seconds)
            continue
        begun += 1
        for line in census.lines():
            say(line)
        try:
            ended = one_round(found, work / f"round-{len(state.rounds) + 1}")
        except NotPromoted as error:
            ended = str(error)
        except (TrainingError, InferenceError, SandboxError, OSError) as error:
            ended = f"failed: {error}"
        state.learned |= new
        state.rounds.append(ended)
        _save(work / "loop.json", state)
        say(f"round {len(state.rounds)}, {len(new)} new trajectories: {ended}")
    return state


def _load(file: Path) -> LoopState:
    if not file.exists():
        return LoopState()
    data = json.loads(file.read_text(encoding="utf-8"))
    return LoopState(set(data["learned"]), list(data["rounds"]))


def _save(file: Path, state: LoopState) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({**asdict(state), "learned": sorted(state.learned)}) + "\n", encoding="utf-8")
    os.replace(partial, file)
