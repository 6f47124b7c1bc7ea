"""What must hold after a storm, read from the emulated GitHub's own log of requests and from what it holds then."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bot.comment import marker
from bot.demo.emulator import script
from bot.demo.emulator.emulator import Emulator, LogEntry
from bot.demo.emulator.state import Comment, Pull

ANSWER = re.compile(r"<!-- ledex:v1 (?:answer|suggestions):\S+ -->")


@dataclass
class Watched:
    """A pull request of the storm. ``failed``: the head of its last failed run; ``asked``: what a maintainer asked for, and when last."""

    pull: Pull
    failed: str = ""
    asked: str | None = None

    @property
    def where(self) -> str:
        return f"{self.pull.repository.full_name}#{self.pull.number}"

    @property
    def api(self) -> str:
        return f"/repos/{self.pull.repository.full_name}"


def sticky(emulator: Emulator, pull: Pull) -> Comment | None:
    return next((c for c in script.comments_of(emulator, pull) if c.body.startswith(marker(pull.number))), None)


def is_fixed(emulator: Emulator, one: Watched) -> bool:
    """Whether the comment offers a fix that was verified on the last head that failed."""
    comment = sticky(emulator, one.pull)
    return comment is not None and "**Fix ready**" in comment.body and f"head `{one.failed[:12]}`" in comment.body


def broken(emulator: Emulator, watched: list[Watched]) -> Iterator[str]:
    """Everything that is not as it must be."""
    yield from emulator.violations
    done = [entry for entry in emulator.log if entry.done]
    yield from _twice(done)
    for one in watched:
        yield from _of_pull(emulator, one, [e for e in done if e.path.startswith(f"{one.api}/")])


def _twice(done: list[LogEntry]) -> Iterator[str]:
    """Writes that were carried out more than once: a comment (ours by its marker), a review, a check run of one head and failure."""
    made: Counter[tuple[str, str]] = Counter()
    for entry in done:
        if entry.method != "POST":
            continue
        if entry.path.endswith(("/comments", "/reviews")):
            mark = ANSWER.match(entry.body["body"]) or re.match(r"<!-- ledex:v1 pr:\d+ -->", entry.body["body"])
            made[entry.path, mark.group() if mark else "a comment without our mark"] += 1
        elif entry.path.endswith("/check-runs"):
            made[entry.path, f"{entry.body['head_sha']} {entry.body['external_id']}"] += 1
    yield from (f"{path} {what} was made {count} times" for (path, what), count in made.items() if count > 1)


def _of_pull(emulator: Emulator, one: Watched, done: list[LogEntry]) -> Iterator[str]:
    pull = one.pull
    comment = sticky(emulator, pull)
    if comment is None:
        yield f"{one.where} has no comment"
    elif one.failed[:12] not in comment.body and one.asked is None:
        yield f"{one.where}: the comment does not speak of {one.failed[:12]}, the last head that failed"
    elif not re.search(r"\*\*(Fix ready|Applied)\*\*", comment.body):
        yield f"{one.where}: the comment offers no fix: {comment.body.splitlines()[2]}"
    checks = [e for e in done if e.method == "POST" and e.path.endswith("/check-runs") and e.body["head_sha"] == one.failed]
    if not checks:
        yield f"{one.where}: no check run on {one.failed[:12]}, the last head that failed"
    ours = [c for c in emulator.state.check_runs.values() if c.suite.repository is pull.repository and c.suite.app == "ours"]
    for run in ours:
        if run.suite.head_sha == one.failed and run.status != "completed":
            yield f"{one.where}: the check run on {one.failed[:12]} is {run.status}"
    commits = [e for e in done if e.method == "PATCH" and "/git/refs/heads/" in e.path]
    branches = [e for e in done if e.method == "POST" and e.path.endswith("/git/refs")]
    pulls = [e for e in done if e.method == "POST" and e.path.endswith("/pulls")]
    wanted = (one.asked == "apply", one.asked == "pr", one.asked == "pr")
    for name, found, want in zip(("commits", "branches", "pull requests"), (commits, branches, pulls), wanted, strict=True):
        if len(found) != want:
            yield f"{one.where}: {len(found)} {name} of ours instead of {want:d} (asked for: {one.asked or 'nothing'})"
