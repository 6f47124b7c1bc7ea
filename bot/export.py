"""``ledex export``: what repositories allow to be learnt from, as a file of trajectories; beside it their sources, where allowed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from sqlalchemy import select
from sqlalchemy.orm import Session

from bot import BotError
from bot.context import Context
from bot.erasure import trees_folder
from bot.feedback import capped
from bot.models import FeedbackRow, FixRow, TrajectoryRow
from inference.trajectory import Feedback, Trajectory, parse_trajectory, write_trajectories

log = logging.getLogger(__name__)
TREES = "trees"
"""The folder of the sources, beside the file."""


class ExportFailed(BotError):
    """The file cannot be written; one sentence."""


@dataclass(frozen=True)
class Exported:
    """How many trajectories were written, and how many have their source beside them."""

    trajectories: int
    trees: int


def export(context: Context, out: Path | None, stream: IO[str], since: float = 0.0) -> Exported:
    """Write the trajectories of fixes posted at or after ``since`` to the file ``out``, whole or not at all, or to ``stream``.

    Nothing lies beside a stream: its trajectories name no source. Raises ExportFailed.
    """
    beside = None if out is None else out.resolve().parent / TREES
    trees: set[str] = set()
    count = 0
    try:
        with _opened(out, stream) as file, context.database.reading() as session:
            for one, tree in found(session, since, context.clock()):
                source = trees_folder(context.settings.data_dir, tree[0]) / tree[1] if tree is not None else None
                if source is not None and beside is not None and _copied(source, beside):
                    trees.add(source.name)
                    one = replace(one, problem=replace(one.problem, tree=f"{TREES}/{source.name}"))
                file.writelines(write_trajectories([one]))
                count += 1
    except OSError as error:
        raise ExportFailed(f"{out or 'the output'} cannot be written: {error.strerror or error}") from None
    return Exported(count, len(trees))


def follow(
    context: Context, out: Path, since: float, seconds: float, report: Callable[[Exported], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Write ``out`` anew every ``seconds``, for ever: what `ledex-train loop` watches. A reader sees one writing or the next, whole; what
    was taken back meanwhile is in none that follows. A disk that is full for an hour ends nothing. Raises what the database raises."""
    while True:
        try:
            report(export(context, out, sys.stdout, since))
        except ExportFailed as error:
            log.warning("%s; tried again in %.0f s", error, seconds)
        sleep(seconds)


def found(session: Session, since: float, now: float) -> Iterator[tuple[Trajectory, tuple[int, str] | None]]:
    """Trajectories that were allowed and whose time is not over, oldest first, with the installation and name of their source."""
    chosen = select(TrajectoryRow).join(FixRow, TrajectoryRow.fix_id == FixRow.id)
    chosen = chosen.where(FixRow.posted_at >= since, TrajectoryRow.expires_at > now).order_by(TrajectoryRow.id)
    counted: Counter[str] = Counter()
    for row in session.scalars(chosen.execution_options(yield_per=100)):
        said = session.scalars(select(FeedbackRow).where(FeedbackRow.fix_id == row.fix_id).order_by(FeedbackRow.id))
        feedback = [Feedback(f.kind, f.at, f.reason, f.actor_hash, f.edit_distance, f.human_patch) for f in said]
        trajectory = replace(parse_trajectory(row.body, f"trajectory {row.id}"), feedback=capped(feedback, counted))
        yield trajectory, (row.installation_id, row.tree) if row.tree is not None else None


def _copied(source: Path, beside: Path) -> bool:
    """Whether the source lies beside the file; it may have been swept away meanwhile."""
    target = beside / source.name
    if target.exists():  # the name is the content's hash
        return True
    if not source.is_file():
        return False
    beside.mkdir(parents=True, exist_ok=True)
    part = beside / f".{source.name}.part"
    shutil.copyfile(source, part)
    os.replace(part, target)
    return True


@contextlib.contextmanager
def _opened(out: Path | None, stream: IO[str]) -> Iterator[IO[str]]:
    if out is None:
        yield stream
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=out.resolve().parent, prefix=f".{out.name}.", delete=False) as file:
        try:
            yield file
        except BaseException:
            os.unlink(file.name)
            raise
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, out)
