"""Merges, pushes, reverts and labels become feedback on the fixes that were posted. What they mean is decided in ``bot.feedback``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction

from bot import policy, store
from bot.context import Context, Result
from bot.feedback import REVERT_DAYS, Fate, Hunk, Texts, fate, is_among, is_restored, patch_hunks, regions
from bot.github.protocol import Session
from bot.handle_again import MAY_PUSH, once_wanted
from bot.models import FixRow, RunRow
from bot.recording import note_feedback
from bot.server_secret import actor_hash
from bot.steps import app_of, step, talking_to_github
from bot.store import Claim

LOOKING = {"contents": "read", "metadata": "read", "pull_requests": "read"}
MOST_FIXES = 20
"""The newest that are looked at for one event."""
MOST_FILES = 30
"""Of a pull request that are read to find what repaired it instead."""


@dataclass
class Files:
    """Texts of files at commits, each read once."""

    github: Session
    _read: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def at(self, commit: str, paths: Iterable[str]) -> Texts:
        for path in paths:
            if (path, commit) not in self._read:
                self._read[path, commit] = self.github.file_text(path, commit)
        return {path: self._read[path, commit] for path in paths}


@talking_to_github
def handle_pull_request(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``pull_request``."""
    payload = claim.payload
    if payload.get("is_echo"):
        return Result("our own doing")
    match payload["action"], payload.get("label"):
        case ("reopened" | "ready_for_review", _) | ("labeled", policy.OPT_IN_LABEL) | ("unlabeled", policy.OPT_OUT_LABEL):
            return once_wanted(context, claim)
    fixes = _fixes(context, FixRow.repository_id == claim.repository_id, FixRow.pr_number == claim.pr_number)
    if not fixes or claim.head_sha is None:
        return Result("no fix was posted on this pull request")
    match payload["action"]:
        case "closed" if payload.get("merged"):
            return _merged(context, claim, fixes)
        case "closed":
            return _write(context, claim, fixes, lambda fix: Fate("ignored", "closed"))
        case "synchronize":
            return _pushed(context, claim, fixes)
        case "labeled" if payload.get("label") == policy.OPT_OUT_LABEL:
            return _opted_out(context, claim, fixes)
        case _:
            return Result("says nothing of a fix")


@talking_to_github
def handle_push(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``push``: on the default branch, whether a fix that was merged is taken back."""
    payload = claim.payload
    branch = str(payload["ref"]).removeprefix("refs/heads/")
    if payload.get("is_echo") or branch != payload.get("default_branch"):
        return Result("not the default branch")
    since = context.clock() - REVERT_DAYS * store.DAY
    landed = _fixes(
        context, FixRow.repository_id == claim.repository_id, FixRow.state == "merged", FixRow.landed_ref == branch,
        FixRow.landed_at >= since, FixRow.landed_sha != payload["after"])  # fmt: skip
    if not landed:
        return Result("no fix was merged lately")
    fates: dict[int, Fate] = {}
    with step(app_of(context), claim, LOOKING) as github:
        if not _may_judge(github, claim):
            return Result("whoever pushed may not judge")
        files = Files(github)
        for fix in landed:
            if is_among(fix.landed_sha, payload["reverts"]) or is_among(fix.commit_sha, payload["reverts"]):
                fates[fix.id] = Fate("reverted", "commit")
            else:
                hunks = _hunks(fix)
                paths = _paths(hunks)
                if is_restored(hunks, files.at(fix.head_sha, paths), files.at(payload["after"], paths)):
                    fates[fix.id] = Fate("reverted", "lines")
    return _write(context, claim, landed, lambda fix: fates.get(fix.id), by_person=True)


def _merged(context: Context, claim: Claim, fixes: Sequence[FixRow]) -> Result:
    """The last word on every fix of a pull request: what is in the head that was merged."""
    assert claim.head_sha is not None
    assert claim.pr_number is not None
    head = claim.head_sha
    fates: dict[int, Fate] = {}
    with step(app_of(context), claim, LOOKING) as github:
        by_person = _may_judge(github, claim)
        files = Files(github)
        changed = [name for f in github.changed_files(claim.pr_number) for name in (f.path, f.previous_path) if name]
        for fix in fixes:
            if fix.head_sha == head:
                fates[fix.id] = Fate("ignored")  # nobody touched anything since it was posted
                continue
            hunks = _hunks(fix)
            kinds = {PurePosixPath(hunk.path).suffix for hunk in hunks}
            like = [path for path in dict.fromkeys(changed) if PurePosixPath(path).suffix in kinds][:MOST_FILES]
            paths = list(dict.fromkeys([*_paths(hunks), *like]))
            found = fate(hunks, files.at(fix.head_sha, paths), files.at(head, paths), _fails_still(context, fix, head))
            if found.kind == "ignored" and found.reason is None and fix.state == "applied":
                found = Fate("reverted", "before merge")
            fates[fix.id] = found
    return _write(context, claim, fixes, lambda fix: fates.get(fix.id), by_person)


def _pushed(context: Context, claim: Claim, fixes: Sequence[FixRow]) -> Result:
    """A person pushed to the branch: whether a fix is in it just as it was posted. Everything else is known only in the end."""
    assert claim.head_sha is not None
    waiting = [fix for fix in fixes if fix.state in ("posted", "stacked", "rejected") and fix.head_sha != claim.head_sha]
    if not waiting:
        return Result("no fix waits to be applied")
    fates: dict[int, Fate] = {}
    with step(app_of(context), claim, LOOKING) as github:
        if not _may_judge(github, claim):
            return Result("whoever pushed may not judge")
        files = Files(github)
        for fix in waiting:
            hunks = _hunks(fix)
            paths = _paths(hunks)
            found = regions(hunks, files.at(fix.head_sha, paths), files.at(claim.head_sha, paths))
            if found and all(r.now == r.posted for r in found):
                fates[fix.id] = Fate("applied", edit_distance=0.0)
    return _write(context, claim, waiting, lambda fix: fates.get(fix.id), by_person=True)


def _opted_out(context: Context, claim: Claim, fixes: Sequence[FixRow]) -> Result:
    with step(app_of(context), claim, LOOKING) as github:
        if not _may_judge(github, claim):
            return Result("whoever set the label may not judge")
    actor = _actor(context, claim)
    with context.database.writing() as session:
        for fix in fixes:
            note_feedback(session, fix, "opted_out", context.clock(), actor)
        store.audit(session, "opted_out", context.clock(), {"pull_request": claim.pr_number}, claim, claim.payload["sender_id"])
    return Result("opted out")


def _may_judge(github: Session, claim: Claim) -> bool:
    """People who may push, and no bots."""
    sender, is_bot = claim.payload.get("sender"), claim.payload.get("sender_is_bot", True)
    return bool(sender) and not is_bot and github.permission(str(sender)) in MAY_PUSH


def _actor(context: Context, claim: Claim) -> str:
    return actor_hash(context.settings, claim.installation_id, claim.payload["sender_id"])


def _fixes(context: Context, *which: object) -> list[FixRow]:
    with context.database.reading() as session:
        return list(session.scalars(select(FixRow).where(*which).order_by(FixRow.id.desc()).limit(MOST_FIXES)))  # type: ignore[arg-type]


def _hunks(fix: FixRow) -> tuple[Hunk, ...]:
    return patch_hunks(fix.patch.decode("utf-8", "surrogateescape"))


def _paths(hunks: Sequence[Hunk]) -> list[str]:
    return list(dict.fromkeys(hunk.path for hunk in hunks))


def _fails_still(context: Context, fix: FixRow, head: str) -> bool:
    """Whether the failure that the fix repairs was seen again on the commit that was merged."""
    with context.database.reading() as session:
        run = session.get(RunRow, fix.run_id) if fix.run_id is not None else None
        if run is None:
            return False
        again = select(RunRow.id).where(
            RunRow.repository_id == fix.repository_id, RunRow.pr_number == fix.pr_number, RunRow.head_sha == head,
            RunRow.signature == run.signature)  # fmt: skip
        return session.scalar(again) is not None


def _write(
    context: Context, claim: Claim, fixes: Sequence[FixRow], decided: Callable[[FixRow], Fate | None], by_person: bool = False
) -> Result:
    """What becomes of the rows. Without ``by_person`` it is written where the fix is, but nobody's judgement is."""
    words = []
    actor = _actor(context, claim)
    with context.database.writing() as session:
        for known in fixes:
            found = decided(known)
            fix = session.get(FixRow, known.id, with_for_update=True)
            if found is None or fix is None:
                continue
            _move(fix, found, claim, context.clock())
            if by_person or found.kind == "ignored":
                new = note_feedback(session, fix, found, context.clock(), actor if by_person else None)
                _audit(session, context, claim, fix, found, new)
            words.append(found.kind)
    return Result(", ".join(words) or "nothing became of a fix")


def _move(fix: FixRow, found: Fate, claim: Claim, now: float) -> None:
    payload = claim.payload
    merged = claim.kind == "pull_request" and payload["action"] == "closed" and bool(payload.get("merged"))
    match found.kind:
        case "applied" | "edited" if merged:
            fix.state, fix.landed_sha, fix.landed_ref, fix.landed_at = "merged", payload["merge_commit_sha"], payload["base_ref"], now
        case "applied" | "edited":
            fix.state, fix.commit_sha = "applied", claim.head_sha
        case "superseded" | "reverted":
            fix.state = found.kind
        case "ignored":
            return
    fix.updated_at = now


def _audit(session: Transaction, context: Context, claim: Claim, fix: FixRow, found: Fate, new: bool) -> None:
    if new:
        actor = None if found.kind == "ignored" else claim.payload.get("sender_id")
        store.audit(session, f"fix_{found.kind}", context.clock(), {"fix": fix.id, "reason": found.reason}, claim, actor)
