"""Failures that the bot has met, as wrong code to collect attempts at: trajectories whose repository lets its source be kept."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from training.benchmark.checkout import commit_all
from training.census import Census, read_all
from training.problems import Planted
from training.references import group_of

RECORDED = "recorded"


def recorded_in(paths: Iterable[Path], census: Census) -> Iterator[Planted]:
    """One for each failure with a tree beside its file; its own verified fix, if it has one, stays where it is: in its trajectory."""
    seen: set[str] = set()
    for file in sorted(file for one in paths for file in ([one] if one.is_file() else one.rglob("*.jsonl"))):
        for trajectory in read_all([file], census):
            group, tree = group_of(trajectory), trajectory.problem.tree
            if tree is None:
                census.leave_out("its source was not kept", trajectory.id)
            elif group not in seen:
                seen.add(group)
                yield Planted(
                    f"{RECORDED}/{group}", trajectory.problem.repository, RECORDED, "", "", group, "", "private",
                    _unpacker(file.parent / tree), problem=trajectory.problem)  # fmt: skip


def _unpacker(archive: Path) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")  # no path outside of the folder, no device, no foreign owner
        commit_all(folder)
        return folder

    return write
