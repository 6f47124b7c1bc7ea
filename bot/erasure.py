"""Taking back what was kept: when its time is over, when a repository no longer allows it, and when an installation is to be forgotten."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Delete, and_, delete, func, or_, select, union, update
from sqlalchemy.orm import Session

from bot.checkout import forget as forget_checkout
from bot.context import Context
from bot.database import Database
from bot.kept_outcome import outcomes_folder
from bot.models import (
    AuditRow,
    DeliveryRow,
    FeedbackRow,
    FixRow,
    InstallationRow,
    JobRow,
    LockRow,
    PullHeadRow,
    RepositorySettingRow,
    RunRow,
    TrajectoryRow,
)  # fmt: skip
from bot.proof import PROOFS
from bot.store import DAY
from sandbox.cache import EnvironmentCache

log = logging.getLogger(__name__)
YOUNG_SECONDS = 3600.0
"""A tree or a proof is written before its row: one that no row names yet is left alone for so long."""


@dataclass(frozen=True)
class Erased:
    """How much was erased of an installation. ``running``: jobs that ran meanwhile and may leave something behind."""

    rows: int
    files: int
    running: int
    still_installed: bool


def trees_folder(data_dir: Path, installation_id: int) -> Path:
    """Where the sources of an installation's fixes are kept; one folder each, so that they are forgotten together."""
    return data_dir / "trees" / str(installation_id)


def take_back(session: Session, repository_id: int, *, everything: bool, trees: bool) -> None:
    """Erase the trajectories of a repository, or only their trees; the files go with the next sweep."""
    if everything:
        _erase(session, TrajectoryRow.repository_id == repository_id)
    elif trees:
        session.execute(update(TrajectoryRow).where(TrajectoryRow.repository_id == repository_id).values(tree=None))


def _erase(session: Session, which: ColumnElement[bool]) -> int:
    """Trajectories, and of their feedback what people wrote."""
    fixes = select(TrajectoryRow.fix_id).where(which)
    words = update(FeedbackRow).where(FeedbackRow.fix_id.in_(fixes)).values(human_patch=None, text=None)
    session.execute(words, execution_options={"synchronize_session": False})
    return _count(session, delete(TrajectoryRow).where(which))


def enforce_retention(context: Context) -> None:
    """Erase the trajectories and proofs whose time is over, then the files that no row names. Run by the timer."""
    now = context.clock()
    old_proof = and_(FixRow.proof_path.is_not(None), FixRow.posted_at <= now - context.settings.proof_days * DAY)
    with context.database.writing() as session:
        over = _erase(session, TrajectoryRow.expires_at <= now)
        session.execute(update(FixRow).where(old_proof).values(proof_path=None), execution_options={"synchronize_session": False})
    home = context.settings.data_dir
    with context.database.reading() as session:
        trees = session.execute(select(TrajectoryRow.installation_id, TrajectoryRow.tree).where(TrajectoryRow.tree.is_not(None)))
        named = {trees_folder(home, row.installation_id) / str(row.tree) for row in trees}
        named |= {home / str(path) for path in session.scalars(select(FixRow.proof_path).where(FixRow.proof_path.is_not(None)))}
    swept = {folder: _sweep((home / folder).glob(pattern), named) for folder, pattern in (("trees", "*/*"), (PROOFS, "*"))}
    if over or any(swept.values()):
        log.info("%d trajectories, %d trees and %d proofs were erased: the time to keep them was over", over, swept["trees"], swept[PROOFS])


def _sweep(files: Iterable[Path], named: Set[Path]) -> int:
    """Remove those that no row names, and are not so young that their row may yet come; returns how many."""
    swept = 0
    for file in files:
        with contextlib.suppress(OSError):
            if file not in named and file.stat().st_mtime < time.time() - YOUNG_SECONDS:
                file.unlink()
                swept += 1
    return swept


def forget_installation(
    database: Database, data_dir: Path, installation_id: int, now: float, environments: EnvironmentCache | None = None
) -> Erased:
    """Erase every row and file of an installation. One row of the audit says that it was done, and how much it was.

    ``environments``: where this machine keeps what was built for the tests; other workers have their own.

    Rows go first: a job that still runs finds itself gone and writes nothing more. Raises EnvironmentFailed for a cache that is not ours.
    """
    with database.writing() as session:
        repositories = _repositories(session, installation_id)
        running = session.scalar(_count_of(JobRow.installation_id == installation_id, JobRow.state == "running")) or 0
        installed = session.scalar(select(InstallationRow.state).where(InstallationRow.id == installation_id)) not in (None, "deleted")
        proofs = [Path(p) for p in session.scalars(
            select(FixRow.proof_path).where(FixRow.installation_id == installation_id, FixRow.proof_path.is_not(None))) if p]  # fmt: skip
        names = session.scalars(select(RunRow.repository).where(RunRow.installation_id == installation_id).distinct()).all()
        runs = session.scalars(select(RunRow.id).where(RunRow.installation_id == installation_id))
        proofs += [Path(PROOFS) / f"{run}.tar.gz" for run in runs]  # one that was written before its fix's row
        rows = sum(_count(session, statement) for statement in _everything(installation_id, repositories))
        files: int = _forget_files(data_dir, installation_id, repositories, proofs)
        if environments is not None:
            files += sum(environments.forget(f"{name}{kind}") for name in names for kind in ("", "#fork"))
        session.add(AuditRow(
            at=now, kind="installation_forgotten", installation_id=installation_id, detail={"rows": rows, "files": files}))  # fmt: skip
    if database.is_sqlite:
        _compact(database)
    return Erased(rows, files, running, installed)


def _count_of(*which: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(JobRow).where(*which)


def _repositories(session: Session, installation_id: int) -> list[int]:
    tables: tuple[Any, ...] = (JobRow, RunRow, FixRow, PullHeadRow, RepositorySettingRow)
    named = union(*(select(t.repository_id).where(t.installation_id == installation_id) for t in tables))
    return sorted(number for number in session.scalars(named) if number is not None)


def _everything(installation_id: int, repositories: Sequence[int]) -> list[Delete]:
    """Feedback and trajectories go with their fixes."""
    tables: tuple[Any, ...] = (FixRow, RunRow, JobRow, DeliveryRow, AuditRow)
    statements = [delete(t).where(t.installation_id == installation_id) for t in tables]
    by_repository: tuple[Any, ...] = (PullHeadRow, RepositorySettingRow)
    statements += [
        delete(t).where(or_(t.installation_id == installation_id, t.repository_id.in_(repositories))) for t in by_repository
    ]
    statements += [delete(LockRow).where(LockRow.name.like(f"pull:{number}:%")) for number in repositories]
    return [*statements, delete(InstallationRow).where(InstallationRow.id == installation_id)]


def _forget_files(data_dir: Path, installation_id: int, repositories: Sequence[int], proofs: Sequence[Path]) -> int:
    """Sources, outcomes, checkouts and proof bundles; returns how many files there were."""
    home = data_dir.resolve()
    found = 0
    own = (trees_folder(home, installation_id), outcomes_folder(home, installation_id))
    for folder in (*own, *(home / "repositories" / str(number) for number in repositories)):
        found += sum(path.is_file() for path in folder.rglob("*"))
        forget_checkout(folder)
    for path in {(home / proof).resolve() for proof in proofs}:
        if path.is_relative_to(home / PROOFS) and path.is_file():
            path.unlink()
            found += 1
    return found


def _compact(database: Database) -> None:
    """SQLite leaves what was deleted in free pages and in its log until both are written anew."""
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            cursor.execute(statement)
        cursor.close()
    except sqlite3.OperationalError as error:  # a running server reads: SQLite writes the pages over in time
        log.warning("the database file could not be written anew (%s): stop the server and run it again", error)
    finally:
        connection.close()


def _count(session: Session, statement: Delete) -> int:
    return cast("CursorResult[Any]", session.execute(statement, execution_options={"synchronize_session": False})).rowcount
