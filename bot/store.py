"""Deliveries and jobs in the database; each function is part of its caller's transaction.

A job goes queued -> running -> done or failed; queued or running -> superseded or dropped, when a newer commit or the end of its pull
request makes it pointless (``bot.pulls``). Every change names the state that it starts from, so that of two who try, one comes second.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import CursorResult, Update, and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from bot import locks
from bot.database import insert_into
from bot.events import Installation, PullRequestChange
from bot.models import AuditRow, DeliveryRow, JobRow, Model
from bot.planning import JobSpec
from bot.pulls import note_installation, note_pull

DAY = 86400.0


@dataclass(frozen=True)
class Delivery:
    """A delivery to be recorded, with the jobs it asks for. ``body`` is the deflated JSON."""

    guid: str
    event: str
    action: str | None
    installation_id: int | None
    state: str
    reason: str | None = None
    body: bytes | None = field(default=None, repr=False)
    jobs: tuple[JobSpec, ...] = ()
    pull: PullRequestChange | None = None
    installation: Installation | None = None


@dataclass(frozen=True)
class Claim:
    """A job that this process runs. ``token`` is what finishing and locking are done with; ``attempt`` counts from 1."""

    id: int
    kind: str
    key: str
    token: str
    attempt: int
    payload: Mapping[str, Any]
    repository_id: int | None
    repository: str | None
    installation_id: int | None
    pr_number: int | None
    head_sha: str | None
    created_at: float


def record_deliveries(session: Session, deliveries: Sequence[Delivery], now: float) -> tuple[list[int], set[str]]:
    """Record those not seen before, with their jobs. Returns the ids of the new jobs and the guids of the new deliveries."""
    first = {d.guid: d for d in reversed(deliveries)}  # of two with the same guid, the first
    rows = [
        {"guid": d.guid, "event": d.event, "action": d.action, "installation_id": d.installation_id, "received_at": now,
         "state": d.state, "reason": d.reason, "body": d.body}
        for d in sorted(first.values(), key=lambda d: d.guid)
    ]  # fmt: skip
    new = _insert_new(session, DeliveryRow, rows, "guid")
    fresh = [d for d in deliveries if d.guid in new and first[d.guid] is d]
    for delivery in fresh:
        if delivery.pull is not None:
            note_pull(session, delivery.pull, now)
        if delivery.installation is not None:
            note_installation(session, delivery.installation, now)
    return enqueue(session, [job for d in fresh for job in d.jobs], now), new


def enqueue(session: Session, specs: Iterable[JobSpec], now: float) -> list[int]:
    """Make the jobs whose keys are new. Returns the ids of those due, to be sent once the transaction has been committed."""
    by_key = {spec.key: spec for spec in specs}
    rows = [
        {"kind": s.kind, "queue": s.queue, "key": s.key, "repository_id": s.repository_id, "repository": s.repository,
         "installation_id": s.installation_id, "pr_number": s.pr_number, "head_sha": s.head_sha, "payload": dict(s.payload),
         "state": "queued", "attempts": 0, "not_before": s.not_before, "sent_at": now if s.not_before <= now else None,
         "created_at": now, "updated_at": now}
        for s in sorted(by_key.values(), key=lambda s: s.key)
    ]  # fmt: skip
    new = _insert_new(session, JobRow, rows, "key")
    due = [key for key, spec in by_key.items() if key in new and spec.not_before <= now]
    ids = {row.key: row.id for row in session.execute(select(JobRow.key, JobRow.id).where(JobRow.key.in_(due)))} if due else {}
    return [ids[key] for key in due]


def _insert_new(session: Session, table: type[Model], rows: list[dict[str, Any]], key: str) -> set[str]:
    """Insert what is new; returns its keys. All processes insert in the order of the keys, so that no two wait for each other."""
    if not rows:
        return set()
    statement = insert_into(session, table).on_conflict_do_nothing(index_elements=[key]).returning(getattr(table, key))
    return set(session.scalars(statement, rows))


def claim(session: Session, job_id: int, now: float, lease_seconds: float) -> Claim | None:
    """Take a queued job, or a running one whose holder let its lease run out. None if there is nothing to take."""
    token = secrets.token_hex(16)
    due = and_(JobRow.state == "queued", JobRow.not_before <= now)
    abandoned = and_(JobRow.state == "running", JobRow.lease_until < now)
    taking = (
        update(JobRow)
        .where(JobRow.id == job_id, or_(due, abandoned))
        .values(state="running", holder=token, lease_until=now + lease_seconds, attempts=JobRow.attempts + 1, updated_at=now)
    )
    if _count(session, taking) != 1:
        return None
    job = session.get_one(JobRow, job_id, populate_existing=True)
    return Claim(
        job.id, job.kind, job.key, token, job.attempts, job.payload, job.repository_id, job.repository, job.installation_id,
        job.pr_number, job.head_sha, job.created_at)  # fmt: skip


def renew(session: Session, claim: Claim, now: float, lease_seconds: float) -> bool:
    """Keep the job and its locks for longer. False when the job is no longer ours: superseded, dropped or taken by another."""
    locks.extend(session, claim.token, now + lease_seconds)
    return _count(session, _ours(claim).values(lease_until=now + lease_seconds)) == 1


def is_current(session: Session, claim: Claim) -> bool:
    """Whether the job is still ours: neither superseded nor dropped nor taken by another."""
    found = select(func.count(JobRow.id)).where(JobRow.id == claim.id, JobRow.state == "running", JobRow.holder == claim.token)
    return session.scalar(found) == 1


def assign_pull(session: Session, claim: Claim, number: int, now: float) -> bool:
    """Write down which pull request a job turned out to be about; from then on that one's new commits end it. False: no longer ours."""
    return _count(session, _ours(claim).values(pr_number=number, updated_at=now)) == 1


def finish(
    session: Session, claim: Claim, now: float, state: str = "done", reason: str | None = None, then: Sequence[JobSpec] = ()
) -> list[int]:
    """End a job and make those that follow from it, unless it is no longer ours. Returns the ids to send."""
    locks.release(session, claim.token)
    ended = _ours(claim).values(state=state, reason=reason, lease_until=None, holder=None, updated_at=now)
    return enqueue(session, then, now) if _count(session, ended) else []


def postpone(session: Session, claim: Claim, now: float, seconds: float, reason: str, counts: bool = True) -> None:
    """Put a job back; a sweep sends it when its time has come. ``counts``: whether this was one of its attempts."""
    locks.release(session, claim.token)
    waiting = _ours(claim).values(
        state="queued", reason=reason, not_before=now + seconds, sent_at=None, lease_until=None, holder=None, updated_at=now,
        attempts=JobRow.attempts if counts else JobRow.attempts - 1)  # fmt: skip
    _count(session, waiting)


def refuse(session: Session, claim: Claim, now: float, seconds: float, reason: str, believed: int) -> bool:
    """Put back a job that GitHub refused. True, and nothing is done, when it refused it for the same reason ``believed`` times in a row."""
    known = session.execute(select(JobRow.reason, JobRow.refusals).where(JobRow.id == claim.id)).one()
    refusals = known.refusals + 1 if known.reason == reason else 1
    if refusals >= believed:
        return True
    postpone(session, claim, now, seconds, reason)
    waiting = update(JobRow).where(JobRow.id == claim.id, JobRow.state == "queued", JobRow.reason == reason)
    _count(session, waiting.values(refusals=refusals))
    return False


def start_over(session: Session, now: float, is_alone: bool) -> None:
    """For the start of a process whose queue is in memory: what was queued is to be sent again, and what ran too, if it is alone."""
    if is_alone:
        locks.release_all(session)
        _count(session, update(JobRow).where(JobRow.state == "running").values(
            state="queued", not_before=now, lease_until=None, holder=None, updated_at=now))  # fmt: skip
    _count(session, update(JobRow).where(JobRow.state == "queued").values(sent_at=None))


def sweep(session: Session, now: float, max_attempts: int, job_days: float, resend_seconds: float, limit: int = 500) -> list[int]:
    """Give up what failed too often or waited too long. Returns what to send again: expired leases, and queued jobs not sent lately."""
    expired = and_(JobRow.state == "running", JobRow.lease_until < now)
    free: dict[str, Any] = {"updated_at": now, "lease_until": None, "holder": None}
    hopeless = update(JobRow).where(expired, JobRow.attempts >= max_attempts)
    _count(session, hopeless.values(state="failed", reason=f"its worker died {max_attempts} times", **free))
    _count(session, update(JobRow).where(expired).values(state="queued", not_before=now, sent_at=None, **free))
    stale = update(JobRow).where(JobRow.state == "queued", JobRow.created_at < now - job_days * DAY)
    _count(session, stale.values(state="dropped", reason="it could not run in time", updated_at=now))
    locks.forget(session, now - DAY)
    forgotten = or_(JobRow.sent_at.is_(None), JobRow.sent_at <= now - resend_seconds)
    due = select(JobRow.id).where(JobRow.state == "queued", JobRow.not_before <= now, forgotten)
    ids = list(session.scalars(due.order_by(JobRow.id).limit(limit)))
    if ids:
        _count(session, update(JobRow).where(JobRow.id.in_(ids)).values(sent_at=now))
    return ids


def forget_bodies(session: Session, now: float, days: float) -> int:
    """Empty the bodies of deliveries older than ``days``; returns how many."""
    old = update(DeliveryRow).where(DeliveryRow.received_at < now - days * DAY, DeliveryRow.body.is_not(None))
    return _count(session, old.values(body=None))


def count_jobs(session: Session) -> dict[str, int]:
    """How many jobs are in each state."""
    counted = select(JobRow.state, func.count(JobRow.id).label("number")).group_by(JobRow.state)
    return {row.state: row.number for row in session.execute(counted)}


def queues_of(session: Session, job_ids: Sequence[int]) -> dict[int, str]:
    """The queue of each job, in the order in which the jobs were made."""
    found = select(JobRow.id, JobRow.queue).where(JobRow.id.in_(job_ids)).order_by(JobRow.id)
    return {row.id: row.queue for row in session.execute(found)}


def known_deliveries(session: Session, guids: Sequence[str]) -> set[str]:
    """Which of these deliveries were recorded; the others may be asked for again."""
    return set(session.scalars(select(DeliveryRow.guid).where(DeliveryRow.guid.in_(guids))))


def audit(
    session: Session, kind: str, now: float, detail: Mapping[str, Any], claim: Claim | None = None, actor_id: int | None = None
) -> None:
    """Add a row to the audit. ``detail`` holds no token and no text from outside that is not needed."""
    values = {"at": now, "kind": kind, "detail": dict(detail), "actor_id": actor_id}
    if claim is not None:
        values |= {"job_id": claim.id, "installation_id": claim.installation_id, "repository_id": claim.repository_id}
    session.execute(insert(AuditRow).values(**values))


def _ours(claim: Claim) -> Update:
    return update(JobRow).where(JobRow.id == claim.id, JobRow.state == "running", JobRow.holder == claim.token)


def _count(session: Session, statement: Update) -> int:
    """Execute, and return the number of rows changed."""
    return cast("CursorResult[Any]", session.execute(statement, execution_options={"synchronize_session": False})).rowcount
