"""What people ask for: comment commands and the check run's buttons. Whoever asks must be allowed to push; GitHub is asked each time."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from bot import store
from bot.bundle import DamagedBundle, read_bundle
from bot.checkout import fetch
from bot.commands import Command, Unknown, help_reply, parse, refused_reply, unknown_reply
from bot.comment import marker, render
from bot.comment_view import CommentView
from bot.context import Context, Refused, Result
from bot.database import insert_into
from bot.github import Conflict, Forbidden, Rejected
from bot.github.protocol import COMMENTING, PUSHING, READING, App, CommitText, FileChange, Session
from bot.handle_again import MAY_PUSH, Known, known_runs
from bot.handle_rerun import ANSWER
from bot.markdown import link, prose
from bot.models import AuditRow, FeedbackRow, FixRow, RepositorySettingRow
from bot.planning import JobSpec
from bot.policy import PolicyFile, effective_policy, may_commit
from bot.posted import latest_fix
from bot.posting import CHECK_ID
from bot.proof_link import proof_url
from bot.runs import PullRequest
from bot.server_secret import actor_hash
from bot.steps import app_of, repository_folder, step, talking_to_github
from bot.store import Claim
from bot.telling import proof_reply
from sandbox import WorkspaceError
from sandbox.workspace import at_revision

log = logging.getLogger(__name__)
AGAIN = frozenset({"fix", "retry", "explain", "rerun"})


@talking_to_github
def handle_command(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``command``."""
    app, payload = app_of(context), claim.payload
    command = parse(payload["body"])
    if command is None or claim.pr_number is None:
        return Result("no command", "dropped")
    kind: Literal["review", "issue"] = "review" if payload.get("is_review") else "issue"
    with step(app, claim, READING) as github:
        may = github.permission(payload["sender"]) in MAY_PUSH
        pull = github.pull_request(claim.pr_number)
    with step(app, claim, COMMENTING) as github:
        github.react(payload["comment_id"], "eyes" if may else "confused", kind)
        if not may:  # no words: whoever may comment could make the bot talk for ever
            return Result("whoever asked may not push to this repository", "dropped")
        if isinstance(command, Unknown):
            return answer(github, claim, unknown_reply(command), "unknown command")
        if command.name == "help":
            return answer(github, claim, help_reply(), "help")
    return carry_out(context, claim, app, pull, command)


@talking_to_github
def handle_button(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``button``. The payload names no pull request: the fix's row does, and before there is one the check
    run's own name."""
    app, payload = app_of(context), claim.payload
    chosen = select(FixRow.pr_number).where(FixRow.check_run_id == payload["check_run_id"]).order_by(FixRow.id.desc())
    with context.database.reading() as session:
        number = session.scalar(chosen)
    if number is None and (ours := CHECK_ID.fullmatch(payload.get("external_id") or "")):
        number = int(ours.group(1))
    name = {"apply": "apply", "pr": "pr", "reject": "reject"}.get(payload.get("identifier") or "")
    if number is None or name is None:
        return Result("the button belongs to no fix that is known", "dropped")
    with step(app, claim, READING) as github:
        if github.permission(payload["sender"]) not in MAY_PUSH:
            return Result("whoever asked may not push to this repository", "dropped")
        pull = github.pull_request(number)
    return carry_out(context, replace(claim, pr_number=number), app, pull, Command(name))  # type: ignore[arg-type]


@talking_to_github
def handle_unasked(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``unasked``: the policy's mode wants the fix that was posted committed or stacked."""
    app = app_of(context)
    assert claim.pr_number is not None
    with step(app, claim, READING) as github:
        pull = github.pull_request(claim.pr_number)
    fix = latest_fix(context, pull)
    if pull.state != "open" or fix is None or fix.head_sha != claim.head_sha or fix.state == "rejected":
        return Result("the fix is not wanted any more", "dropped")
    return apply(context, claim, app, pull, fix, Command(claim.payload["command"]))


def carry_out(context: Context, claim: Claim, app: App, pull: PullRequest, command: Command) -> Result:
    if command.name in ("off", "on"):
        return switch(context, claim, app, pull, off=command.name == "off")
    if pull.state != "open" and command.name != "reject":
        return refuse(app, claim, command, "the pull request is closed")
    if command.name in AGAIN:
        return again(context, claim, app, pull, command)
    fix = latest_fix(context, pull)
    if fix is None:
        return refuse(app, claim, command, "no fix was posted on this pull request")
    if command.name == "proof":
        with step(app, claim, COMMENTING) as github:
            return answer(github, claim, proof_of(context, fix), "proof")
    if command.name == "reject":
        return reject(context, claim, app, fix, command)
    return apply(context, claim, app, pull, fix, command)


def switch(context: Context, claim: Claim, app: App, pull: PullRequest, *, off: bool) -> Result:
    """/ledex off and on."""
    values = {"installation_id": claim.installation_id, "value": {"off": off}, "updated_at": context.clock()}
    with context.database.writing() as session:
        statement = insert_into(session, RepositorySettingRow).values(
            repository_id=pull.repository_id, pr_number=pull.number, name="off", **values)  # fmt: skip
        session.execute(statement.on_conflict_do_update(index_elements=["repository_id", "pr_number", "name"], set_=values))
    word = "off for this pull request, until `/ledex on`" if off else "on again for this pull request; `/ledex fix` looks now"
    with step(app, claim, COMMENTING) as github:
        return answer(github, claim, f"Switched {word}.", "off" if off else "on")


def again(context: Context, claim: Claim, app: App, pull: PullRequest, command: Command) -> Result:
    """Work on the commit's failed run once more, limits of attempts left aside. What explains a fix that was posted is said at once."""
    fix = latest_fix(context, pull) if command.name == "explain" else None
    if fix is not None and fix.head_sha == pull.head_sha:
        with step(app, claim, COMMENTING) as github:
            return answer(github, claim, prose(fix.explanation, 2000), "explained")
    with context.database.reading() as session:
        known = next(iter(known_runs(session, pull.repository_id, pull.head_sha)), None)
    if known is None:
        with step(app, claim, READING) as github:
            run_id = github.failed_run_of(pull.head_sha)
        if run_id is None:
            return refuse(app, claim, command, f"no failed run of `{pull.head_sha[:12]}` is known")
        known = Known(run_id, True, pull.head_repository, pull.number)
    payload = known.payload(
        asked=True, hint=command.text, explain=command.name == "explain", comment_id=claim.payload.get("comment_id"))  # fmt: skip
    spec = JobSpec(
        "rerun" if command.name == "rerun" else "failed_run", f"asked:{claim.key}", payload, pull.repository_id, pull.repository,
        claim.installation_id, pull.number, pull.head_sha)  # fmt: skip
    return Result(f"/ledex {command.name}: looking again", then=(spec,))


def reject(context: Context, claim: Claim, app: App, fix: FixRow, command: Command) -> Result:
    actor = actor_hash(context.settings, claim.installation_id, claim.payload["sender_id"])
    with context.database.writing() as session:
        row = session.get_one(FixRow, fix.id)
        earlier = session.scalar(select(FeedbackRow.id).where(FeedbackRow.fix_id == fix.id, FeedbackRow.kind == "rejected"))
        row.state, row.updated_at = "rejected", context.clock()
        if earlier is None:
            session.add(FeedbackRow(
                fix_id=fix.id, kind="rejected", reason=command.reason, text=command.text or None, actor_hash=actor,
                at=context.clock()))  # fmt: skip
        store.audit(session, "fix_rejected", context.clock(), {"fix": fix.id, "reason": command.reason}, claim, claim.payload["sender_id"])
    return show(app, claim, fix, "rejected", str(claim.payload["sender"]), command.reason or "")


def apply(context: Context, claim: Claim, app: App, pull: PullRequest, fix: FixRow, command: Command) -> Result:
    """Commit the posted patch, or open it as a pull request of its own; only onto the commit that it was verified on."""
    if fix.state in ("applied", "stacked"):
        if did(context, claim, f"fix_{fix.state}"):  # and was cut off before it could say so
            return show_applied(app, claim, fix, fix.commit_sha, fix.stacked_pr)
        return refuse(app, claim, command, "the patch was applied already")
    said = CommitText("Repair the failing tests", fix.explanation, str(fix.run_id), co_author(claim))
    with step(app, claim, READING) as github:
        if fix.head_sha != pull.head_sha:
            # An attempt that was killed between the commit and the table has applied it already.
            if command.name == "apply" and github.is_our_commit(pull.head_sha, fix.head_sha, said.run_id):
                return applied(context, claim, app, fix, pull.head_sha, None)
            return refuse(app, claim, command, "the pull request has moved on since the patch was verified")
        text = github.policy_text(pull.base_sha)
        policy = effective_policy(PolicyFile(text.origin, text.text) if text is not None else None).policy
        if not may_commit(policy, pull):
            return refuse(app, claim, command, "the branch is a fork's or protected (scope.protected_branches)")
        commits = fetch(github.git_access(), repository_folder(context, claim), pull.number, pull.head_sha, pull.base_sha)
    try:
        files = changed_files(commits.path, pull.head_sha, fix.patch)
    except WorkspaceError as error:  # it was verified on this very commit: rather git was cut off here
        unreadable = f"the patch does not apply ({error})"
        raise Refused(unreadable, lambda: refuse(app, claim, command, unreadable)) from None
    try:
        with step(app, claim, PUSHING) as github:
            if command.name == "apply":
                sha, number = github.commit_to_head(pull, fix.head_sha, files, said), None
            else:
                title = f"Repair the failing tests of #{pull.number}"
                posted = github.open_stacked(pull, fix.head_sha, str(fix.id), files, said, title, fix.explanation)
                sha, number = None, posted.number
    except (Forbidden, Conflict, Rejected) as error:
        why = "the branch has moved on since the patch was verified"
        if isinstance(error, Forbidden):
            why = "the App may not write to this repository; the `git apply` line in the comment does the same"
        raise Refused(str(error), lambda: refuse(app, claim, command, why)) from None
    return applied(context, claim, app, fix, sha, number)


def applied(context: Context, claim: Claim, app: App, fix: FixRow, sha: str | None, number: int | None) -> Result:
    """Write down the commit ``sha`` on the branch, or the stacked pull request ``number``, and say so."""
    sender_id, kind = claim.payload.get("sender_id"), "applied" if sha else "stacked"
    with context.database.writing() as session:
        row = session.get_one(FixRow, fix.id, with_for_update=True)
        first = row.state != kind  # of two commands at the same moment the second finds the commit of the first
        row.state, row.commit_sha, row.stacked_pr, row.updated_at = kind, sha, number, context.clock()
        if first and sender_id is not None:  # what the policy does by itself is nobody's judgement
            actor = actor_hash(context.settings, claim.installation_id, sender_id)
            session.add(FeedbackRow(fix_id=fix.id, kind=kind, actor_hash=actor, at=context.clock(), edit_distance=0.0))
        store.audit(session, f"fix_{kind}", context.clock(), {"fix": fix.id}, claim, sender_id)
    return show_applied(app, claim, fix, sha, number)


def show_applied(app: App, claim: Claim, fix: FixRow, sha: str | None, number: int | None) -> Result:
    return show(app, claim, fix, "applied", str(claim.payload.get("sender", "")), sha[:12] if sha else f"#{number}")


def did(context: Context, claim: Claim, kind: str) -> bool:
    """Whether an earlier attempt of this job did it."""
    with context.database.reading() as session:
        return session.scalar(select(AuditRow.id).where(AuditRow.job_id == claim.id, AuditRow.kind == kind).limit(1)) is not None


def changed_files(repository: Path, head_sha: str, patch: bytes) -> tuple[FileChange, ...]:
    """The files that a patch changes, with their new contents. Raises WorkspaceError where it does not apply exactly."""
    with tempfile.TemporaryDirectory(prefix="ledex-") as name:
        folder = Path(name)
        head = at_revision(repository, head_sha, folder / "head")
        patched = head.patched(patch, folder)
        return tuple(
            FileChange(path, after, "100755" if patched.exists(path) and patched.path(path).stat().st_mode & 0o100 else "100644")
            for path, (_, after) in patched.diff_from(head).items()
        )


def proof_of(context: Context, fix: FixRow) -> str:
    """The answer to ``/ledex proof``. A bundle that is gone, or was changed since, is not told from."""
    found = None
    if fix.proof_path is not None:
        try:
            found = read_bundle(context.settings.data_dir / fix.proof_path)
        except DamagedBundle as error:
            log.error("the proof of fix %d: %s", fix.id, error)
    said = proof_reply(
        fix.level, fix.head_sha, fix.proof_path, found.proof if found is not None else None,
        found.sha256 if found is not None else "")  # fmt: skip
    url = proof_url(context.settings, fix.run_id, fix.repository_id, fix.head_sha) if found is not None and fix.run_id is not None else ""
    return f"{said}\n\n{link('Download the bundle', url)}" if url else said


def show(app: App, claim: Claim, fix: FixRow, state: Literal["applied", "rejected"], actor: str, result: str) -> Result:
    """The sticky comment as it stands after somebody decided."""
    view = CommentView(
        fix.pr_number, state, head_sha=fix.head_sha, level=fix.level, explanation=fix.explanation, actor=actor, result=result,
        patch=fix.patch)  # fmt: skip
    with step(app, claim, COMMENTING) as github:
        github.upsert_comment(fix.pr_number, marker(fix.pr_number), render(view))
    return Result(state)


def refuse(app: App, claim: Claim, command: Command, why: str) -> Result:
    if claim.kind == "unasked":  # nobody is there to be answered, and the comment has the patch
        return Result(why, "dropped")
    with step(app, claim, COMMENTING) as github:
        return answer(github, claim, refused_reply(command, why), why)


def answer(github: Session, claim: Claim, text: str, reason: str) -> Result:
    """One reply to one command, however often its job runs."""
    assert claim.pr_number is not None
    mark = ANSWER.format(claim.payload.get("comment_id") or claim.id)
    github.upsert_comment(claim.pr_number, mark, f"{mark}\n{text}")
    return Result(reason)


def co_author(claim: Claim) -> tuple[str, str] | None:
    """GitHub's own no-reply address of the person who asked; None where nobody did."""
    if "sender" not in claim.payload:
        return None
    login, number = str(claim.payload["sender"]), claim.payload["sender_id"]
    return login, f"{number}+{login}@users.noreply.github.com"
