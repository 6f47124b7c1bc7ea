"""Reading Trajectory files, however damaged: what was read and what was left out is counted by reason, reported, and stops no run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inference import InferenceError
from inference.trajectory import Trajectory, parse_trajectory

_MOST_LINE_BYTES = 64 << 20


@dataclass
class Census:
    """What was read and what was left out, by reason; ``examples`` of each reason for whoever looks for the cause."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, where: str = "") -> None:
        self.left_out[reason] += 1
        if where:
            self.examples.setdefault(reason, where[:300])

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{name}: {count}" for name, count in sorted(self.counts.items())]
        for reason, count in self.left_out.most_common():
            first = f" (first: {self.examples[reason]})" if reason in self.examples else ""
            told.append(f"left out, {reason}: {count}{first}")
        return told

    def to_json(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "left_out": dict(self.left_out), "examples": dict(self.examples)}


def read_all(paths: Iterable[Path], census: Census) -> Iterator[Trajectory]:
    """The trajectories of files and folders (``*.jsonl`` below them), each id once, damaged ones counted and left out. Of several exports
    of one trajectory the one counts that knows most of what people did."""
    kept: dict[str, Trajectory] = {}
    for path in sorted(file for one in paths for file in ([one] if one.is_file() else sorted(one.rglob("*.jsonl")))):
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    where = f"{path.name}:{number}"
                    found = _parsed(line, where, census)
                    if found is None:
                        continue
                    if found.id in kept:
                        census.leave_out("the same trajectory again", where)
                        if _told(found) <= _told(kept[found.id]):
                            continue
                    if found.problem.tree is not None and not (path.parent / found.problem.tree).exists():
                        # The dialogue is whole without it; only what would have to run again is lost.
                        census.counts["trajectories whose tree is gone"] += 1
                        found = replace(found, problem=replace(found.problem, tree=None))
                    census.counts["trajectories"] += found.id not in kept
                    kept[found.id] = found
        except OSError as error:
            census.leave_out("file cannot be read", f"{path.name}: {error.strerror or error}")
    yield from kept.values()


def _told(trajectory: Trajectory) -> tuple[float, int]:
    """How late the last thing was that people did, and how many they were."""
    return max((one.at for one in trajectory.feedback), default=0.0), len(trajectory.feedback)


def _parsed(line: bytes, where: str, census: Census) -> Trajectory | None:
    if not line.strip():
        return None
    if len(line) > _MOST_LINE_BYTES:
        census.leave_out("line too long", where)
        return None
    try:
        return parse_trajectory(json.loads(line), where)
    except InferenceError as error:
        newer = "upgrade" in str(error)
        census.leave_out("format of another version" if newer else "no trajectory", str(error))
    except (ValueError, RecursionError):
        census.leave_out("line is no JSON (cut?)", where)
    return None


def is_held_out(repository: str, share: float) -> bool:
    """Whether a repository (or a problem of a public set, which counts as one) belongs to the held-out split; always the same answer."""
    return int.from_bytes(hashlib.sha256(f"split:{repository}".encode()).digest()[:7], "big") / (1 << 56) < share


def without_held_out(trajectories: Iterable[Trajectory], share: float, census: Census) -> Iterator[Trajectory]:
    """What may be trained on; the rest is for evaluation."""
    for one in trajectories:
        if is_held_out(one.problem.repository, share):
            census.leave_out("of a repository that is held out", one.id)
        else:
            yield one
