"""The unattended loop: a folder that the bot's export fills -> train -> evaluate -> gate -> publish, again whenever enough is new.

``loop.json`` in the work folder holds which trajectories were learned from, in which state, and how each round ended; it is replaced as a
whole, so a loop that was killed goes on with what is new. New is also what people rejected, reverted or edited after it was learned from. A
round that fails is told and counted, and the next one is tried when there is more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from inference import InferenceError
from inference.trajectory import Trajectory
from sandbox import SandboxError
from training import DataError, NotPromoted, TrainingError
from training.census import Census, read_all
from training.reward import worth_of

log = logging.getLogger(__name__)

Round = Callable[[Sequence[Trajectory], Path], str]
"""Learns from all trajectories, working in a folder of its own, and says in one sentence what came of it."""


@dataclass
class LoopState:
    """``learned``: what a finished round had, the id of each trajectory with its ``state_of``. ``rounds``: each one's sentence."""

    learned: dict[str, str] = field(default_factory=dict)
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
        states = {one.id: state_of(one) for one in found}
        new = {name for name, now in states.items() if state.learned.get(name) != now}
        if len(new) < least_new:
            sleep(poll_seconds)
            continue
        begun += 1
        for line in census.lines():
            say(line)
        try:
            ended = one_round(found, work / f"round-{len(state.rounds) + 1}-{_digest(states)}")
        except NotPromoted as error:
            ended = str(error)
        except (TrainingError, InferenceError, SandboxError, OSError) as error:
            ended = f"failed: {error}"
        except Exception as error:  # memory, a library: nobody is there to start the loop again, and the next data may do
            log.exception("a round failed")
            ended = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        state.learned |= states
        state.rounds.append(ended)
        _save(work / "loop.json", state)
        say(f"round {len(state.rounds)}, {len(new)} new trajectories: {ended}")
    return state


def state_of(trajectory: Trajectory) -> str:
    """Another one for what teaches something else: other rounds, a judgement by people that changed, what they wrote themselves. That
    nobody did anything (``ignored``) says nothing."""
    rounds = [[one.patch, one.completion] for one in trajectory.rounds]
    wrote = [one.human_patch for one in trajectory.feedback if one.human_patch]
    return _digest([rounds, trajectory.chosen, worth_of(trajectory.feedback), wrote])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _load(file: Path) -> LoopState:
    if not file.exists():
        return LoopState()
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        learned = data["learned"]
        # Of before states were kept: each once more.
        return LoopState(dict.fromkeys(learned, "") if isinstance(learned, list) else dict(learned), list(data["rounds"]))
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file} is damaged: delete it, and the loop learns from everything once more") from None


def _save(file: Path, state: LoopState) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(state), sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, file)
