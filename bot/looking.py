"""Whether a failed run is worth working on: the run as it is now, its pull request, the policy, the triage, the limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select

from bot import store
from bot.context import Context, Result
from bot.github.protocol import Session
from bot.models import RepositorySettingRow, RunRow
from bot.planning import FAILED
from bot.policy import EffectivePolicy, PolicyFile, effective_policy, why_not
from bot.pulls import count_runs, count_runs_since, open_pulls_with_head
from bot.runs import FailedRun, PullRequest
from bot.store import Claim
from bot.triage import Triage, triage

PER_HEAD = 3
"""Different failures worked on for one commit."""


@dataclass(frozen=True)
class Work:
    """A failed run that is worth working on. ``run_row`` is its row in the table of runs."""

    run: FailedRun
    pull: PullRequest
    policy: EffectivePolicy
    triaged: Triage
    run_row: int
    asked: bool = False


def look(context: Context, claim: Claim, github: Session) -> Work | Result:
    """Whether there is something to be done: the run as it is now, its pull request, the policy, the triage, the limits."""
    payload = claim.payload
    run = github.failed_run(payload["run_id"]) if payload.get("is_actions", True) else github.failed_suite(payload["run_id"])
    if run.conclusion not in FAILED:
        return Result(f"the run is {run.conclusion} now", "dropped")
    owner = (payload.get("head_repository") or "").partition("/")[0] or None
    with context.database.reading() as session:
        known = open_pulls_with_head(session, run.repository_id, run.head_sha)
    pull = github.resolve_pull_request(run, head_owner=owner, known=lambda _sha: known)
    if pull is None:
        return Result("no open pull request has this commit as its head", "dropped")
    with context.database.writing() as session:
        if not store.assign_pull(session, claim, pull.number, context.clock()):
            return Result("superseded", "dropped")
    text = github.policy_text(pull.base_sha)
    policy = effective_policy(PolicyFile(text.origin, text.text) if text is not None else None)
    if payload.get("explain"):
        policy = replace(policy, policy=policy.policy.model_copy(update={"mode": "explain"}))
    asked = bool(payload.get("asked"))
    reason = why_not(policy.policy, run, pull, asked)
    if reason is None and not asked and is_off(context, pull):
        reason = "somebody said /ledex off on this pull request"
    if reason is not None:
        return Result(reason, "dropped")
    context.lock(claim, f"pull:{pull.repository_id}:{pull.number}")
    triaged = triage(run, policy.policy)
    spent = over_limit(context, run, pull, policy, triaged, claim.id, asked)
    if spent is not None:
        return Result(spent, "dropped")
    return Work(run, pull, policy, triaged, note_run(context, claim, run, pull, triaged), asked and not payload.get("quiet"))


def is_off(context: Context, pull: PullRequest) -> bool:
    chosen = select(RepositorySettingRow.value).where(
        RepositorySettingRow.repository_id == pull.repository_id, RepositorySettingRow.pr_number == pull.number,
        RepositorySettingRow.name == "off")  # fmt: skip
    with context.database.reading() as session:
        return bool((session.scalar(chosen) or {}).get("off"))


def over_limit(
    context: Context, run: FailedRun, pull: PullRequest, policy: EffectivePolicy, triaged: Triage, job_id: int, asked: bool
) -> str | None:
    """Why no more is tried, or None. A command may always try once more; the day's limit holds for it too."""
    limits = policy.policy.limits
    with context.database.reading() as session:
        today = count_runs_since(session, pull.repository_id, context.clock() - store.DAY, job_id)
        if today >= limits.daily_runs:
            return f"the day's {limits.daily_runs} runs of this repository are used up (limits.daily_runs)"
        if asked:
            return None
        same = count_runs(session, pull.repository_id, pull.number, triaged.signature, other_than=job_id)
        here = count_runs(session, pull.repository_id, pull.number, triaged.signature, pull.head_sha, other_than=job_id)
        of_head = count_runs(session, pull.repository_id, pull.number, head_sha=pull.head_sha, other_than=job_id)
    if here:
        return "the same failure of this commit was worked on already"
    if same >= limits.attempts_per_failure:
        return f"this failure was worked on {same} times (limits.attempts_per_failure)"
    return f"{of_head} failures of this commit were worked on already" if of_head >= PER_HEAD else None


def note_run(context: Context, claim: Claim, run: FailedRun, pull: PullRequest, triaged: Triage) -> int:
    """The row of this job's run: the one that an earlier try of the job left, or a new one."""
    with context.database.writing() as session:
        row = session.scalar(select(RunRow).where(RunRow.job_id == claim.id))
        if row is None:
            row = RunRow(
                job_id=claim.id, repository_id=pull.repository_id, repository=pull.repository, installation_id=run.installation_id,
                pr_number=pull.number, head_sha=pull.head_sha, ci_run_id=run.id, ci_attempt=run.attempt, workflow=run.workflow,
                evidence={}, timings={}, started_at=context.clock())  # fmt: skip
            session.add(row)
        row.signature, row.failure_class = triaged.signature, triaged.kind
        row.evidence = {"sentences": list(triaged.evidence), "jobs": list(triaged.jobs), "source": triaged.source}
        session.flush()
        return row.id
