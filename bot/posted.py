"""The fix that people speak of when they give a command: the one posted last on their pull request."""

from __future__ import annotations

from sqlalchemy import select

from bot.context import Context, Postpone
from bot.models import FixRow, JobRow, RunRow
from bot.runs import PullRequest

_WAIT_SECONDS = 2.0


def latest_fix(context: Context, pull: PullRequest) -> FixRow | None:
    """The fix posted last on a pull request. Raises Postpone while one is being told: its comment may have been read already, and its row
    is written only when the check run and the suggestions are there too, which may take several attempts."""
    telling = (
        select(RunRow.id)
        .join(JobRow, RunRow.job_id == JobRow.id)
        .where(RunRow.repository_id == pull.repository_id, RunRow.pr_number == pull.number)
        .where(RunRow.outcome.is_not(None), RunRow.finished_at.is_(None), JobRow.state.in_(("queued", "running")))
    )
    chosen = select(FixRow).where(FixRow.repository_id == pull.repository_id, FixRow.pr_number == pull.number)
    with context.database.reading() as session:
        if session.scalar(telling.limit(1)) is not None:
            raise Postpone(_WAIT_SECONDS, "waits for a fix that is being posted")
        return session.scalar(chosen.order_by(FixRow.id.desc()).limit(1))
