"""What is said of a failed run: check run, comment, suggestions, proof; and what is written down of it."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction

from bot import store
from bot.attestation import SigningFailed
from bot.check_run import CheckRunView, render_check_run
from bot.comment import marker, render
from bot.comment_view import CommentView
from bot.context import Context, Result
from bot.erasure import trees_folder
from bot.github import Forbidden, NotFound, Rejected
from bot.github.protocol import CHECKING, COMMENTING, App, Button, CheckRun, ReviewComment, Session
from bot.looking import Work
from bot.models import FixRow, RunRow
from bot.planning import JobSpec
from bot.policy import by_itself
from bot.proof import PROOFS, Facts, write_bundle
from bot.proof_link import proof_url
from bot.recording import keep, keep_tree
from bot.steps import repository_folder, step
from bot.store import Claim
from bot.suggestions import suggestions
from bot.telling import SILENT, check_view, with_replay
from inference.outcome import Outcome
from inference.proposer import Proposal

log = logging.getLogger(__name__)
CHECK_ID = re.compile(r"ledex:([1-9][0-9]{0,17}):(\S{1,40})", re.ASCII)
"""The ``external_id`` of our check runs: the pull request, and the beginning of the failure's signature."""


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
    if best is not None:
        with context.database.writing() as session:  # from here on commands wait for the fix: see bot.posted.latest_fix
            session.get_one(RunRow, work.run_row).outcome = word
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
    if best is None or outcome is None:
        finish_run(context, work, word, view.reason, outcome)
        return Result(f"{word}: {view.state}")
    trees = trees_folder(context.settings.data_dir, work.run.installation_id)
    tree = keep_tree(repository_folder(context, claim), pull, work.policy, trees)
    base_sha = view.proof.base_sha if view.proof is not None else pull.base_sha
    with context.database.writing() as session:  # one moment: an attempt that was cut off before it is made again, after it never
        earlier = session.scalar(select(FixRow).where(FixRow.run_id == work.run_row))
        if earlier is not None:  # another worker, which took this one for dead, has told it
            return told_fix(claim, work, earlier, word)
        fix = note_fix(session, context, work, best, proof_path)
        fix.comment_id, fix.check_run_id = comment.id if comment is not None else None, check
        keep(session, fix, outcome, work.policy, context.clock(), base_sha, work.triaged.failures, tree)
        store.audit(session, "fix_posted", context.clock(), {"level": fix.level, "comment": fix.comment_id}, claim)
        note_end(session, context, work, word, view.reason, outcome)
    return told_fix(claim, work, fix, word)


def told_before(context: Context, claim: Claim, work: Work) -> Result | None:
    """What an earlier attempt of this job came to that posted a fix and was cut off before its job had ended. What people did with the fix
    since then stands."""
    with context.database.reading() as session:
        fix = session.scalar(select(FixRow).where(FixRow.run_id == work.run_row))
    return told_fix(claim, work, fix, "fixed") if fix is not None else None


def told_fix(claim: Claim, work: Work, fix: FixRow, word: str) -> Result:
    """The end of a job that posted a fix, with what the policy wants done with it."""
    command = by_itself(work.policy.policy, work.pull, int(fix.level.removeprefix("V")))
    spec = JobSpec(
        "unasked", f"unasked:{claim.key}", {"command": command}, fix.repository_id, fix.repository, claim.installation_id,
        fix.pr_number, fix.head_sha)  # fmt: skip
    return Result(f"{word}: fix_ready", then=(spec,) if command is not None else ())


def note_fix(session: Transaction, context: Context, work: Work, best: Proposal, proof_path: str | None) -> FixRow:
    """The new row of a fix that was posted."""
    assert best.verdict is not None
    pull, now = work.pull, context.clock()
    fix = FixRow(
        run_id=work.run_row, repository_id=pull.repository_id, repository=pull.repository, installation_id=work.run.installation_id,
        pr_number=pull.number, head_sha=pull.head_sha, patch=best.patch, explanation=best.explanation, level=f"V{best.verdict.level}",
        state="posted", proof_path=proof_path, posted_at=now, updated_at=now)  # fmt: skip
    session.add(fix)
    session.flush()
    return fix


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
        note_end(session, context, work, word, reason, outcome)


def note_end(session: Transaction, context: Context, work: Work, word: str, reason: str, outcome: Outcome | None) -> None:
    row = session.get_one(RunRow, work.run_row)
    row.outcome, row.reason, row.finished_at = word, reason, context.clock()
    row.timings = {k: v for k, v in vars(outcome.timings).items() if v is not None} if outcome is not None else {}
