"""What the webhooks said of pull requests and installations, and which jobs a new commit or a closed pull request makes pointless."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from bot.database import insert_into
from bot.events import Installation, PullRequestChange
from bot.models import InstallationRow, JobRow, PullHeadRow, RunRow

ABOUT_ONE_COMMIT = ("failed_run", "rerun", "rerequest")
"""Kinds of job that a newer commit makes pointless. Commands and buttons speak of the pull request, and look for themselves."""


def note_pull(session: Session, pull: PullRequestChange, now: float) -> None:
    """Remember a pull request's head, unless something newer is known; end the jobs of its earlier heads, and all when it was closed."""
    if pull.repository_id is None:
        return
    known = (
        select(PullHeadRow.head_sha, PullHeadRow.version)
        .where(PullHeadRow.repository_id == pull.repository_id, PullHeadRow.number == pull.number)
        .with_for_update()
    )
    row = session.execute(known).one_or_none()
    if row is not None and row.version > pull.updated_at:
        return  # a delivery that comes late
    if row is not None and row.version == pull.updated_at and pull.before is not None and pull.before != row.head_sha:
        return  # of two pushes in one second, the earlier that comes late: it does not follow on the head that is known
    values = {"installation_id": pull.installation_id, "head_sha": pull.head_sha, "ref": pull.head_ref,
              "head_repository": pull.head_repository, "state": pull.state, "version": pull.updated_at, "seen_at": now}  # fmt: skip
    statement = insert_into(session, PullHeadRow).values(repository_id=pull.repository_id, number=pull.number, **values)
    newer = PullHeadRow.version <= pull.updated_at
    session.execute(statement.on_conflict_do_update(index_elements=["repository_id", "number"], set_=values, where=newer))
    old_sha = row.head_sha if row is not None else None
    if pull.state == "closed":
        end_jobs(session, pull.repository_id, pull.number, "", old_sha or pull.head_sha, now, "dropped", "the pull request was closed")
    elif old_sha != pull.head_sha:
        end_jobs(session, pull.repository_id, pull.number, pull.head_sha, old_sha, now, "superseded", "a newer commit was pushed")


def end_jobs(
    session: Session, repository_id: int, number: int, current_sha: str, old_sha: str | None, now: float, state: str, reason: str
) -> int:
    """End the unfinished jobs of a pull request that are about another commit than ``current_sha``; returns how many.

    A job that does not know its pull request yet goes by ``old_sha``, unless another open pull request has the same head.
    """
    other = aliased(PullHeadRow)
    of_another_pull = select(other.id).where(
        other.repository_id == repository_id, other.head_sha == old_sha, other.state == "open", other.number != number
    )
    of_this_pull = and_(JobRow.pr_number == number, or_(JobRow.head_sha.is_(None), JobRow.head_sha != current_sha))
    of_its_old_head = and_(JobRow.pr_number.is_(None), JobRow.head_sha == old_sha, ~of_another_pull.exists())
    pointless = (
        update(JobRow)
        .where(JobRow.repository_id == repository_id, JobRow.state.in_(("queued", "running")), JobRow.kind.in_(ABOUT_ONE_COMMIT))
        .where(or_(of_this_pull, of_its_old_head))
        .values(state=state, reason=reason, updated_at=now)
    )
    return cast("CursorResult[Any]", session.execute(pointless, execution_options={"synchronize_session": False})).rowcount


def open_pulls_with_head(session: Session, repository_id: int, head_sha: str) -> list[int]:
    """Numbers of the open pull requests that the webhooks last said to have this head: for forks the first thing to ask."""
    found = select(PullHeadRow.number).where(
        PullHeadRow.repository_id == repository_id, PullHeadRow.head_sha == head_sha, PullHeadRow.state == "open"
    )
    return list(session.scalars(found.order_by(PullHeadRow.number)))


def note_installation(session: Session, event: Installation, now: float) -> None:
    if event.installation_id is None:
        return
    state = {"deleted": "deleted", "suspend": "suspended"}.get(event.action or "", "active")
    values = {"account": event.account, "account_id": event.account_id, "state": state, "permissions": dict(event.permissions),
              "updated_at": now}  # fmt: skip
    statement = insert_into(session, InstallationRow).values(id=event.installation_id, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def count_runs(
    session: Session,
    repository_id: int,
    pr_number: int | None,
    signature: str | None = None,
    head_sha: str | None = None,
    other_than: int | None = None,
) -> int:
    """How often a pull request's failure (``signature``), or any failure of its head, was worked on by other jobs than ``other_than``."""
    found = select(func.count(RunRow.id)).where(RunRow.repository_id == repository_id, RunRow.pr_number == pr_number)
    if signature is not None:
        found = found.where(RunRow.signature == signature)
    if head_sha is not None:
        found = found.where(RunRow.head_sha == head_sha)
    if other_than is not None:
        found = found.where(or_(RunRow.job_id.is_(None), RunRow.job_id != other_than))
    return session.scalar(found) or 0


def count_runs_since(session: Session, repository_id: int, since: float, other_than: int | None = None) -> int:
    """How many failures of a repository were worked on since a moment."""
    found = select(func.count(RunRow.id)).where(RunRow.repository_id == repository_id, RunRow.started_at >= since)
    if other_than is not None:
        found = found.where(or_(RunRow.job_id.is_(None), RunRow.job_id != other_than))
    return session.scalar(found) or 0
