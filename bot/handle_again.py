"""Working on a commit's failed runs once more: after a command, GitHub's own Re-run button, or when a pull request is wanted after all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction

from bot.context import Context, Result
from bot.github.protocol import READING
from bot.looking import PER_HEAD
from bot.models import JobRow, RunRow
from bot.planning import JobSpec
from bot.posting import CHECK_ID
from bot.steps import app_of, step, talking_to_github
from bot.store import Claim

MAY_PUSH = frozenset({"admin", "write"})
_LOOKED_AT = 50


@dataclass(frozen=True)
class Known:
    """A failed run that a job was about: ``run_id`` is the check suite's where ``is_actions`` is False. ``number``: of the pull request."""

    run_id: int
    is_actions: bool
    head_repository: str | None
    number: int | None

    def payload(self, **more: Any) -> dict[str, Any]:
        return {"is_actions": self.is_actions, "run_id": self.run_id, "head_repository": self.head_repository, **more}


def known_runs(
    session: Transaction, repository_id: int | None, head_sha: str | None, signature: str = "", number: int | None = None
) -> list[Known]:
    """The failed runs of a commit that are known, the last one worked on first, then those that nothing was done about.

    ``signature`` (its beginning) and ``number`` narrow it to one failure of one pull request.
    """
    jobs = select(JobRow).where(JobRow.repository_id == repository_id, JobRow.head_sha == head_sha, JobRow.kind == "failed_run")
    worked = jobs.join(RunRow, RunRow.job_id == JobRow.id).order_by(RunRow.id.desc())
    if signature:
        worked = worked.where(RunRow.signature.startswith(signature, autoescape=True), RunRow.pr_number == number)
    found = list(session.scalars(worked.limit(_LOOKED_AT)))
    if not signature:
        found += session.scalars(jobs.order_by(JobRow.id.desc()).limit(_LOOKED_AT))
    runs: dict[tuple[int, bool], Known] = {}
    for job in found:
        payload: Mapping[str, Any] = job.payload
        known = Known(payload["run_id"], payload.get("is_actions", True), payload.get("head_repository"), job.pr_number)
        runs.setdefault((known.run_id, known.is_actions), known)
    return list(runs.values())


@talking_to_github
def handle_rerequest(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``rerequest``: somebody pressed Re-run on our check run, or on all checks of the commit.

    The answer is the check run alone, unless there is a fix to tell of: nobody wrote, so nobody is written to.
    """
    payload = claim.payload
    with step(app_of(context), claim, READING) as github:
        if github.permission(payload["sender"]) not in MAY_PUSH:
            return Result("whoever asked may not push to this repository", "dropped")
    ours = CHECK_ID.fullmatch(payload.get("external_id") or "")
    number, signature = (int(ours.group(1)), ours.group(2)) if ours else (None, "")
    with context.database.reading() as session:
        runs = known_runs(session, claim.repository_id, claim.head_sha, signature, number)
    return _looking(claim, runs, asked=True, quiet=True)


def once_wanted(context: Context, claim: Claim) -> Result:
    """A pull request was reopened, is no draft any more, or got or lost a label: what was left alone may be wanted now. The policy decides,
    and what was worked on already is not worked on again."""
    with context.database.reading() as session:
        runs = known_runs(session, claim.repository_id, claim.head_sha)
    return _looking(claim, runs)


def _looking(claim: Claim, runs: Sequence[Known], **more: Any) -> Result:
    specs = [
        JobSpec(
            "failed_run", f"again:{claim.key}:{run.run_id}", run.payload(**more), claim.repository_id, claim.repository,
            claim.installation_id, claim.pr_number or run.number, claim.head_sha)
        for run in runs[:PER_HEAD]
    ]  # fmt: skip
    return Result(f"looking again at {len(specs)} runs" if specs else "no failed run of this commit is known", then=specs)
