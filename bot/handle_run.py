"""A failed CI run becomes one comment, or a recorded reason why not: found, triaged, repaired, told."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bot import store
from bot.attestation import SigningFailed
from bot.check_run import CheckRunView, render_check_run
from bot.checkout import Commits, fetch
from bot.comment import marker, render
from bot.comment_view import CommentView
from bot.context import Context, Postpone, Result
from bot.erasure import trees_folder
from bot.github import Conflict, Forbidden, NotFound, RateLimited, Rejected
from bot.github.protocol import CHECKING, COMMENTING, READING, App, Button, CheckRun, ReviewComment, Session
from bot.kept_outcome import repair_once
from bot.models import FixRow, RepositorySettingRow, RunRow
from bot.near import named_paths
from bot.planning import FAILED
from bot.policy import EffectivePolicy, PolicyFile, effective_policy, why_not
from bot.proof import PROOFS, Facts, write_bundle
from bot.proof_link import proof_url
from bot.pulls import count_runs, count_runs_since, open_pulls_with_head
from bot.recording import keep, keep_tree
from bot.runs import FailedRun, PullRequest
from bot.store import Claim
from bot.suggestions import suggestions
from bot.telling import SILENT, check_view, told, told_without_repair, with_replay
from bot.triage import Triage, after_reproduction, triage
from inference import InferenceError
from inference.outcome import Outcome
from inference.proposer import Proposal
from inference.repair import RepairRequest, repair_checkout
from sandbox import SandboxError

log = logging.getLogger(__name__)
Repair = Callable[[RepairRequest], Outcome]
REFUSALS = 3
"""Attempts after which a refusal of GitHub's is believed."""
PER_HEAD = 3
"""Different failures worked on for one commit."""
CHECK_ID = re.compile(r"ledex:([1-9][0-9]{0,17}):(\S{1,40})", re.ASCII)
"""The ``external_id`` of our check runs: the pull request, and the beginning of the failure's signature."""


@dataclass(frozen=True)
class Work:
    """A failed run that is worth working on. ``run_row`` is its row in the table of runs."""

    run: FailedRun
    pull: PullRequest
    policy: EffectivePolicy
    triaged: Triage
    run_row: int
    asked: bool = False


def talking_to_github(handler: Callable[[Context, Claim], Result]) -> Callable[[Context, Claim], Result]:
    """A limit of GitHub's puts the job back without using up an attempt. A refusal (403, 404, 409, 422) may be a hiccup of theirs too: it
    is tried again a little later, and ends the job with its reason when it stays."""

    @functools.wraps(handler)
    def wrapped(context: Context, claim: Claim) -> Result:
        try:
            return handler(context, claim)
        except RateLimited as error:
            raise Postpone(max(error.retry_at.timestamp() - context.clock(), 1.0), str(error)) from None
        except (Forbidden, NotFound, Conflict, Rejected) as error:
            if claim.attempt < REFUSALS:
                raise
            return Result(str(error), "dropped")

    return wrapped


def app_of(context: Context) -> App:
    if context.github is None:
        raise Postpone(300.0, "no GitHub App is set up")
    return context.github


@talking_to_github
def handle_failed_run(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``failed_run``. ``extra["repair"]`` replaces ``repair_checkout`` in tests."""
    app = app_of(context)
    with step(app, claim, READING) as github:
        found = look(context, claim, github)
        if isinstance(found, Result):
            return found
        if not found.triaged.repairable:
            view = told_without_repair(found.pull, found.run, found.triaged)
            return tell(context, claim, app, found, view, None, "triaged")
        announce(app, claim, found)
        pull = found.pull
        commits = fetch(github.git_access(), repository_folder(context, claim), pull.number, pull.head_sha, pull.base_sha)
    policy = found.policy.policy
    try:
        outcome = repair_once(context, claim, repair_request(context, claim, found, commits), repair_of(context))
    except (SandboxError, InferenceError) as error:
        outcome = Outcome("broken", str(error))
    triaged = after_reproduction(found.triaged, outcome.status, outcome.reason)
    view = told(found.pull, found.run, triaged, outcome, policy, commits.base_sha)
    return tell(context, claim, app, found, view, outcome, outcome.status)


def repair_of(context: Context) -> Repair:
    repair: Repair = context.extra.get("repair", repair_checkout)
    return repair


def repair_request(context: Context, claim: Claim, work: Work, commits: Commits, search: bool = True) -> RepairRequest:
    settings = context.settings
    return RepairRequest(
        path=commits.path, head=commits.head_sha, base=commits.base_sha, budget=settings.repair_seconds,
        setup_timeout=settings.setup_seconds, jobs=settings.repair_jobs, policy=work.policy.policy, search=search,
        near=named_paths(work.triaged), hint=str(claim.payload.get("hint") or ""),
        repository=f"{claim.repository}{'#fork' if work.pull.is_fork else ''}",
        fixer=None if work.triaged.failures else work.triaged.fixer)  # fmt: skip


def step(app: App, claim: Claim, permissions: Any) -> Session:
    """A session for the job's repository with this step's permissions."""
    assert claim.installation_id is not None
    assert claim.repository_id is not None
    assert claim.repository is not None
    return app.for_step(claim.installation_id, claim.repository_id, claim.repository, permissions)


def repository_folder(context: Context, claim: Claim) -> Path:
    """Where the repository's commits are kept; its last part is the folder's name inside the sandbox."""
    name = (claim.repository or "repository").rpartition("/")[2]
    return context.settings.data_dir.resolve() / "repositories" / str(claim.repository_id) / name


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


def announce(app: App, claim: Claim, work: Work) -> None:
    """The check run that says that something is being done; nobody is notified by it."""
    view = CommentView(work.pull.number, "working", head_sha=work.pull.head_sha, failing=len(work.triaged.failures), jobs=work.triaged.jobs)
    with step(app, claim, CHECKING) as github:
        post_check_run(github, work, check_view(view, work.policy))


def tell(
    context: Context, claim: Claim, app: App, work: Work, view: CommentView, outcome: Outcome | None, word: str
) -> Result:
    """Post what there is to say, and write it down. Nothing is posted for a commit that is no longer the head."""
    best = outcome.best if outcome is not None and view.state == "fix_ready" else None
    if not context.is_current(claim):
        return Result("superseded by a newer commit", "dropped")
    with step(app, claim, COMMENTING) as github:
        pull = github.pull_request(work.pull.number)
        if pull.state != "open" or pull.head_sha != work.pull.head_sha:
            finish_run(context, work, "superseded", "the pull request has moved on", outcome)
            return Result("the pull request has moved on to another commit or was closed", "dropped")
        comment = None
        proof_path = None
        view = replace(view, code_url=f"{context.settings.web_url}/{pull.repository}/blob/{pull.head_sha}")
        if best is not None and outcome is not None:
            view, proof_path = prove(context, claim, work, view, outcome, best)
        if work.asked or view.state not in SILENT:
            comment = github.upsert_comment(pull.number, marker(pull.number), render(view))
    with step(app, claim, CHECKING) as github:
        silent = view.reason if comment is None else ""
        check = post_check_run(github, work, check_view(view, work.policy, silent, best))
    if best is not None and work.policy.policy.mode == "suggest" and not pull.is_fork:
        suggest(app, claim, work, view)
    finish_run(context, work, word, view.reason, outcome)
    if best is not None and outcome is not None:
        assert best.verdict is not None
        trees = trees_folder(context.settings.data_dir, work.run.installation_id)
        tree = keep_tree(repository_folder(context, claim), pull, work.policy, trees)
        base_sha = view.proof.base_sha if view.proof is not None else pull.base_sha
        with context.database.writing() as session:
            earlier = session.scalar(select(FixRow).where(FixRow.run_id == work.run_row))
            row = earlier or FixRow(run_id=work.run_row, posted_at=context.clock())
            row.repository_id, row.repository, row.installation_id = pull.repository_id, pull.repository, work.run.installation_id
            row.pr_number, row.head_sha = pull.number, pull.head_sha
            row.patch, row.explanation = best.patch, best.explanation
            row.level, row.state, row.updated_at = f"V{best.verdict.level}", "posted", context.clock()
            row.comment_id, row.check_run_id = comment.id if comment is not None else None, check
            row.proof_path = proof_path
            session.add(row)
            session.flush()
            keep(session, row, outcome, work.policy, context.clock(), base_sha, work.triaged.failures, tree)
            store.audit(session, "fix_posted", context.clock(), {"level": row.level, "comment": row.comment_id}, claim)
    return Result(f"{word}: {view.state}")


def prove(
    context: Context, claim: Claim, work: Work, view: CommentView, outcome: Outcome, best: Proposal
) -> tuple[CommentView, str | None]:
    """Write the proof bundle: the view that says how to run it again, and where the bundle lies below ``data_dir``. A disk that is full or
    a key that cannot be used costs the bundle, not the fix."""
    settings = context.settings
    path = f"{PROOFS}/{work.run_row}.tar.gz"
    facts = Facts(
        work.run_row, work.run, work.pull, view.proof.base_sha if view.proof is not None else work.pull.base_sha, outcome, best,
        work.policy.policy, context.clock(), repository_folder(context, claim), settings.web_url)  # fmt: skip
    try:
        code = write_bundle(facts, settings.data_dir / path, settings.proof_key_file)
    except (OSError, SigningFailed) as error:
        log.error("the proof of run %d was not written: %s", work.run_row, error)
        return view, None
    view = with_replay(view, path, has_code=code.bundle is not None)
    if view.proof is not None:
        url = proof_url(settings, work.run_row, work.pull.repository_id, work.pull.head_sha)
        view = replace(view, proof=replace(view.proof, bundle_url=url))
    return view, path


def post_check_run(github: Session, work: Work, view: CheckRunView) -> int:
    shown = render_check_run(view)
    buttons = [Button(a.label, a.description, a.identifier) for a in shown.actions]
    check = CheckRun(shown.title, shown.summary, shown.text, shown.conclusion, shown.annotations, buttons, name=shown.name)
    return github.upsert_check_run(work.pull.head_sha, f"ledex:{work.pull.number}:{work.triaged.signature[:40]}", check).id


def suggest(app: App, claim: Claim, work: Work, view: CommentView) -> None:
    """A review with suggestions where every hunk lies inside the diff. The comment has the patch already: a refusal costs nothing."""
    mark = f"<!-- ledex:v1 suggestions:{work.pull.head_sha} -->"
    with step(app, claim, COMMENTING) as github:
        files = {f.path: f.patch for f in github.changed_files(work.pull.number)}
        found = suggestions(view.patch, files)
        if found:
            comments = [ReviewComment(s.path, s.start_line if s.start_line is not None else s.line, s.line, s.body) for s in found]
            try:
                github.review(work.pull.number, work.pull.head_sha, f"{mark}\nThe verified fix as suggestions.", comments, mark)
            except (Rejected, Forbidden, NotFound) as error:
                log.info("no suggestions on pull request %d: %s", work.pull.number, error.reason)


def finish_run(context: Context, work: Work, word: str, reason: str, outcome: Outcome | None) -> None:
    with context.database.writing() as session:
        row = session.get_one(RunRow, work.run_row)
        row.outcome, row.reason, row.finished_at = word, reason, context.clock()
        row.timings = {k: v for k, v in vars(outcome.timings).items() if v is not None} if outcome is not None else {}
