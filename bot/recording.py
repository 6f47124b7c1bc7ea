"""What is kept of a posted fix for training, where the repository's policy allows it: the trajectory, and perhaps the source."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import os
import secrets
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from bot import store
from bot.erasure import take_back
from bot.feedback import Fate
from bot.models import FeedbackRow, FixRow, TrajectoryRow
from bot.policy import EffectivePolicy
from bot.runs import PullRequest
from inference.outcome import Outcome
from inference.proposer import Proposal
from inference.trajectory import RecordedEnvironment, RecordedFailure, RecordedProblem, Round, Trajectory, trajectory_json
from sandbox import SandboxError
from sandbox.limits import MIB
from sandbox.report import Failure
from sandbox.workspace import Workspace, at_revision

log = logging.getLogger(__name__)
MAX_ARCHIVE_BYTES = 64 * MIB


def keep_tree(repository: Path, pull: PullRequest, policy: EffectivePolicy, trees: Path) -> str | None:
    """Archive the head's source into the folder ``trees``, named by its content; None where that is not allowed or cannot be done."""
    learning = policy.policy.learning
    if not (learning.use_feedback and learning.share_code):
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="ledex-") as name:
            content = archive(at_revision(repository, pull.head_sha, Path(name) / "head"))
        if len(content) > MAX_ARCHIVE_BYTES:
            log.info("the source of pull request %d is not kept: its archive has %d MB", pull.number, len(content) // MIB)
            return None
        return _put(content, trees)
    except (SandboxError, OSError) as error:  # the fix is worth telling of without it
        log.warning("the source of pull request %d could not be kept: %s", pull.number, error)
        return None


def archive(workspace: Workspace) -> bytes:
    """A tar.gz of a tree; the same tree gives the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in workspace.files:
            source = workspace.root / path
            entry = tarfile.TarInfo(path)
            if source.is_symlink():
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(source)
                tar.addfile(entry)
                continue
            content = source.read_bytes()
            entry.size, entry.mode = len(content), 0o755 if source.stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 6, mtime=0)


def _put(content: bytes, trees: Path) -> str:
    trees.mkdir(parents=True, exist_ok=True)
    name = f"{hashlib.sha256(content).hexdigest()}.tar.gz"
    if (trees / name).exists():
        os.utime(trees / name)  # what is young is not swept away before its row is there
        return name
    with tempfile.NamedTemporaryFile(dir=trees, prefix=".new-", delete=False) as file:
        file.write(content)
    os.replace(file.name, trees / name)
    return name


def keep(
    session: Session,
    fix: FixRow,
    outcome: Outcome,
    policy: EffectivePolicy,
    now: float,
    base_sha: str | None,
    failures: Sequence[Failure] = (),
    tree: str | None = None,
) -> None:
    """Record the fix's trajectory as its repository's policy allows at this moment; what it allows no more is taken back.

    ``failures``: what CI told, for want of what was seen here. ``tree``: see ``keep_tree``.
    """
    learning = policy.policy.learning
    take_back(session, fix.repository_id, everything=not learning.use_feedback, trees=not learning.share_code)
    if not learning.use_feedback:
        return
    row = session.scalar(select(TrajectoryRow).where(TrajectoryRow.fix_id == fix.id)) or TrajectoryRow(fix_id=fix.id)
    until = now + learning.retention_days * store.DAY
    consent = {"use_feedback": True, "share_code": learning.share_code, "source": policy.source, "at": now,
               "until": until}  # fmt: skip
    found = trajectory(fix, outcome, base_sha, failures, consent, row.body["id"] if row.body else secrets.token_hex(16))
    row.installation_id, row.repository_id, row.tree, row.expires_at = fix.installation_id, fix.repository_id, tree, until
    row.body = trajectory_json(found)
    session.add(row)


def trajectory(
    fix: FixRow, outcome: Outcome, base_sha: str | None, failures: Sequence[Failure], consent: dict[str, Any], name: str
) -> Trajectory:
    """What was tried and verified, without feedback and source, which are added when it is exported."""
    seen = outcome.reproduction.failures if outcome.reproduction is not None else failures
    surroundings = outcome.surroundings
    verified = [p for p in outcome.proposals if p.verdict is not None]
    problem = RecordedProblem(
        fix.repository, base_sha, fix.head_sha, RecordedEnvironment(surroundings.python, surroundings.environment or None),
        outcome.test_command, tuple(map(_failure, seen)))  # fmt: skip
    # A model's answers are all kept, the unreadable ones too: what a round was given is what it learns from.
    sampled = outcome.search.rounds
    told = [p for p in verified if p.round is None or not 0 <= p.round < len(sampled)]
    chosen = next((n for n, p in enumerate(told) if p is outcome.best), None)
    if chosen is None and outcome.best is not None and outcome.best.round is not None:
        chosen = len(told) + outcome.best.round
    return Trajectory(name, problem, (*map(_round, told), *sampled), chosen, consent=consent)


def _failure(failure: Failure) -> RecordedFailure:
    frames = tuple((f.path, f.line, f.function) for f in failure.frames)
    return RecordedFailure(failure.test_id, failure.exception, failure.message, frames)


def _round(proposal: Proposal) -> Round:
    assert proposal.verdict is not None
    return Round(
        proposal.origin, proposal.patch.decode("utf-8", "surrogateescape"), proposal.verdict.to_json(), completion=proposal.explanation,
        explanation_span=(0, len(proposal.explanation)),
        extra={"signals": dict(proposal.signals), "score": proposal.score, "withheld": proposal.withheld or None})  # fmt: skip


def note_feedback(session: Session, fix: FixRow, fate: Fate | str, now: float, actor: str | None = None) -> bool:
    """Write down what became of a fix, once of each kind; False if it was known. ``ignored`` gives way to anything that is known.

    What people wrote themselves is kept only where the policy allowed it when the fix was posted.
    """
    kind, reason, distance, patch = (fate, None, None, None) if isinstance(fate, str) else vars(fate).values()
    known = set(session.scalars(select(FeedbackRow.kind).where(FeedbackRow.fix_id == fix.id)))
    if kind in known or (kind == "ignored" and known):
        return False
    if kind != "ignored":
        session.execute(delete(FeedbackRow).where(FeedbackRow.fix_id == fix.id, FeedbackRow.kind == "ignored"))
    allowed = session.scalar(select(TrajectoryRow.id).where(TrajectoryRow.fix_id == fix.id)) is not None
    session.add(FeedbackRow(
        fix_id=fix.id, kind=kind, reason=reason, actor_hash=None if kind == "ignored" else actor, at=now, edit_distance=distance,
        human_patch=patch if allowed else None))  # fmt: skip
    return True
