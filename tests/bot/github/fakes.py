"""GitHub in memory, behind the same two protocols: for tests of everything that is above ``bot.github``.

It refuses what a step's permissions do not cover, keeps one comment per marker and one check run per external id as the real client does,
and fails where ``fail`` says so.
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import Self

from bot.github import Conflict, Forbidden, GitHubError, NotFound, Rejected
from bot.github.protocol import (
    AppIdentity,
    ChangedFile,
    CheckRun,
    CommentKind,
    CommitText,
    Delivery,
    FileChange,
    GitAccess,
    PolicyText,
    Posted,
    Reaction,
    ReviewComment,
)
from bot.runs import FailedRun, PullRequest

_LEVELS = {"read": 1, "write": 2}


@dataclass
class MemoryComment:
    id: int
    number: int
    marker: str
    body: str
    edits: int = 0


@dataclass
class MemoryCheckRun:
    id: int
    head_sha: str
    external_id: str
    shown: CheckRun
    edits: int = 0


@dataclass(frozen=True)
class MemoryReview:
    id: int
    number: int
    commit_sha: str
    body: str
    comments: tuple[ReviewComment, ...]
    marker: str


@dataclass(frozen=True)
class MemoryCommit:
    sha: str
    branch: str
    parent: str
    files: tuple[FileChange, ...]
    text: CommitText


@dataclass
class InMemoryGitHub:
    """See ``bot.github.protocol.App``. Fill the fields, hand it to what is tested, read the fields."""

    app: AppIdentity = field(default_factory=lambda: AppIdentity(77, "ledex-test"))
    granted: dict[str, str] = field(
        default_factory=lambda: {"actions": "read", "checks": "write", "contents": "read", "metadata": "read", "pull_requests": "write"}
    )
    pull_requests: dict[int, PullRequest] = field(default_factory=dict)
    runs: dict[int, FailedRun] = field(default_factory=dict)
    suites: dict[int, FailedRun] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    """(path, ref) -> text."""
    shared_policy: str | None = None
    changed: dict[int, tuple[ChangedFile, ...]] = field(default_factory=dict)
    permissions: dict[str, str] = field(default_factory=dict)
    """login -> admin, write, read."""
    users: dict[str, int] = field(default_factory=dict)
    """login -> account id."""
    git_url: str = "https://github.example/octo/calc.git"
    installed: dict[int, dict[int, str]] = field(default_factory=dict)
    """installation -> repository id -> owner/name."""
    hook: str | None = None
    sent: list[Delivery] = field(default_factory=list)

    comments: list[MemoryComment] = field(default_factory=list)
    check_runs: list[MemoryCheckRun] = field(default_factory=list)
    reviews: list[MemoryReview] = field(default_factory=list)
    reactions: list[tuple[int, str, str]] = field(default_factory=list)
    labels: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    commits: list[MemoryCommit] = field(default_factory=list)
    stacked: dict[str, Posted] = field(default_factory=dict)
    """branch -> pull request."""
    redelivered: list[int] = field(default_factory=list)
    steps: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    """(repository id, repository, permissions) of every step opened."""
    open_sessions: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._ids = itertools.count(1)
        self._failures: dict[str, list[GitHubError]] = defaultdict(list)

    def fail(self, method: str, *errors: GitHubError) -> None:
        """The next calls of that method of a session or the App raise these, one each, and do nothing."""
        self._failures[method].extend(errors)

    def check(self, method: str) -> None:
        if self._failures[method]:
            raise self._failures[method].pop(0)

    def new_id(self) -> int:
        return next(self._ids)

    def identity(self) -> AppIdentity:
        self.check("identity")
        return self.app

    def for_step(self, installation_id: int, repository_id: int, repository: str, permissions: Mapping[str, str]) -> MemorySession:
        self.steps.append((repository_id, repository, dict(permissions)))
        return MemorySession(self, installation_id, repository_id, repository, dict(permissions))

    def installation_permissions(self, installation_id: int) -> dict[str, str]:
        self.check("installation_permissions")
        return dict(self.granted)

    def installations(self) -> list[int]:
        self.check("installations")
        return sorted(self.installed)

    def repositories(self, installation_id: int) -> dict[int, str]:
        self.check("repositories")
        return dict(self.installed.get(installation_id, {}))

    def webhook_url(self) -> str | None:
        self.check("webhook_url")
        return self.hook

    def deliveries(self, since: datetime) -> list[Delivery]:
        self.check("deliveries")
        return sorted((d for d in self.sent if d.delivered_at >= since), key=lambda d: d.delivered_at, reverse=True)

    def redeliver(self, delivery_id: int) -> None:
        self.check("redeliver")
        self.redelivered.append(delivery_id)


@dataclass
class MemorySession:
    """See ``bot.github.protocol.Session``."""

    github: InMemoryGitHub
    installation_id: int
    repository_id: int
    repository: str
    permissions: dict[str, str]

    def __enter__(self) -> Self:
        self.github.open_sessions += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.github.open_sessions -= 1

    def _ask(self, method: str, permission: str, level: str) -> None:
        self.github.check(method)
        has = min(_LEVELS.get(held.get(permission, ""), 0) for held in (self.permissions, self.github.granted))
        if has < _LEVELS[level]:
            raise Forbidden(f"This step has no {permission}={level}.", (f"{permission}={level}",))

    def pull_request(self, number: int) -> PullRequest:
        self._ask("pull_request", "pull_requests", "read")
        found = self.github.pull_requests.get(number)
        if found is None or found.repository_id != self.repository_id:
            raise NotFound(f"There is no pull request {number}.")
        return found

    def resolve_pull_request(
        self, run: FailedRun, *, head_owner: str | None = None, known: Callable[[str], Iterable[int]] = lambda sha: ()
    ) -> PullRequest | None:
        self._ask("resolve_pull_request", "pull_requests", "read")
        numbers = [*known(run.head_sha), *sorted(self.github.pull_requests)]
        found = (self.github.pull_requests[n] for n in numbers if n in self.github.pull_requests)
        return next((p for p in found if p.head_sha == run.head_sha and p.state == "open" and p.repository_id == self.repository_id), None)

    def failed_run(self, run_id: int) -> FailedRun:
        self._ask("failed_run", "actions", "read")
        return self._known(self.github.runs, run_id)

    def failed_suite(self, suite_id: int) -> FailedRun:
        self._ask("failed_suite", "checks", "read")
        return self._known(self.github.suites, suite_id)

    def _known(self, runs: Mapping[int, FailedRun], run_id: int) -> FailedRun:
        if run_id not in runs:
            raise NotFound(f"There is no run {run_id}.")
        return runs[run_id]

    def failed_run_ids(self, since: datetime) -> list[int]:
        self._ask("failed_run_ids", "actions", "read")
        return sorted(run.id for run in self.github.runs.values() if run.conclusion == "failure")

    def failed_run_of(self, head_sha: str) -> int | None:
        self._ask("failed_run_of", "actions", "read")
        return max((run.id for run in self.github.runs.values() if run.conclusion == "failure" and run.head_sha == head_sha), default=None)

    def changed_files(self, number: int) -> tuple[ChangedFile, ...]:
        self._ask("changed_files", "pull_requests", "read")
        return self.github.changed.get(number, ())

    def file_text(self, path: str, ref: str) -> str | None:
        self._ask("file_text", "contents", "read")
        return self.github.files.get((path, ref))

    def policy_text(self, base_sha: str) -> PolicyText | None:
        self._ask("policy_text", "contents", "read")
        for path in (".github/ledex.toml", ".ledex.toml"):
            if (path, base_sha) in self.github.files:
                return PolicyText(self.github.files[path, base_sha], f"{self.repository}:{path}@{base_sha[:12]}")
        shared = self.github.shared_policy
        return None if shared is None else PolicyText(shared, f"{self.repository.split('/')[0]}/.github:.github/ledex.toml")

    def permission(self, login: str) -> str:
        self._ask("permission", "metadata", "read")
        return self.github.permissions.get(login, "none")

    def user_id(self, login: str) -> int | None:
        self._ask("user_id", "metadata", "read")
        return self.github.users.get(login)

    def git_access(self) -> GitAccess:
        self._ask("git_access", "contents", "read")
        return GitAccess(self.github.git_url, {})

    def upsert_comment(self, number: int, marker: str, body: str) -> Posted:
        self._ask("upsert_comment", "pull_requests", "write")
        if marker not in body or len(body) > 65_536:
            raise Rejected("The comment lacks its marker or is too long.")
        with self.github.lock:
            found = next((c for c in self.github.comments if (c.number, c.marker) == (number, marker)), None)
            if found is None:
                found = MemoryComment(self.github.new_id(), number, marker, body)
                self.github.comments.append(found)
                return Posted(found.id, f"https://github.example/{self.repository}/pull/{number}#issuecomment-{found.id}")
            if found.body != body:
                found.body, found.edits = body, found.edits + 1
            return Posted(found.id, f"https://github.example/{self.repository}/pull/{number}#issuecomment-{found.id}", created=False)

    def upsert_check_run(self, head_sha: str, external_id: str, check: CheckRun) -> Posted:
        self._ask("upsert_check_run", "checks", "write")
        if check.conclusion == "failure":  # type: ignore[comparison-overlap]
            raise Rejected("A check run of ours never says failure.")
        with self.github.lock:
            found = next((c for c in self.github.check_runs if (c.head_sha, c.external_id) == (head_sha, external_id)), None)
            if found is None:
                found = MemoryCheckRun(self.github.new_id(), head_sha, external_id, check)
                self.github.check_runs.append(found)
                return Posted(found.id)
            found.shown, found.edits = check, found.edits + 1
            return Posted(found.id, created=False)

    def review(self, number: int, commit_sha: str, body: str, comments: Sequence[ReviewComment], marker: str) -> Posted:
        self._ask("review", "pull_requests", "write")
        with self.github.lock:
            found = next((r for r in self.github.reviews if (r.number, r.marker) == (number, marker)), None)
            if found is not None:
                return Posted(found.id, created=False)
            made = MemoryReview(self.github.new_id(), number, commit_sha, body, tuple(comments), marker)
            self.github.reviews.append(made)
            return Posted(made.id)

    def react(self, comment_id: int, content: Reaction = "eyes", kind: CommentKind = "issue") -> bool:
        try:
            self._ask("react", "pull_requests", "write")
        except GitHubError:
            return False
        self.github.reactions.append((comment_id, content, kind))
        return True

    def add_labels(self, number: int, labels: Sequence[str]) -> None:
        self._ask("add_labels", "pull_requests", "write")
        self.github.labels[number] += [label for label in labels if label not in self.github.labels[number]]

    def open_stacked(
        self,
        pull_request: PullRequest,
        verified_sha: str,
        signature: str,
        files: Sequence[FileChange],
        text: CommitText,
        title: str,
        body: str,
    ) -> Posted:
        self._ask("open_stacked", "contents", "write")
        if pull_request.is_fork:
            raise Rejected("A stacked pull request cannot go into a fork's branch.")
        branch = f"ledex/{pull_request.number}-{signature}"
        with self.github.lock:
            if branch in self.github.stacked:
                return replace(self.github.stacked[branch], created=False)
            self._commit(branch, verified_sha, files, text)
            number = max([*self.github.pull_requests, *(p.number or 0 for p in self.github.stacked.values()), 0]) + 1
            url = f"https://github.example/{self.repository}/pull/{number}"
            self.github.stacked[branch] = Posted(self.github.new_id(), url, number=number)
            return self.github.stacked[branch]

    def commit_to_head(self, pull_request: PullRequest, verified_sha: str, files: Sequence[FileChange], text: CommitText) -> str:
        self._ask("commit_to_head", "contents", "write")
        if pull_request.is_fork:
            raise Rejected("The App cannot push to a fork.")
        with self.github.lock:
            now = self.github.pull_requests[pull_request.number]
            done = next(
                (c for c in self.github.commits if (c.sha, c.parent, c.text.run_id) == (now.head_sha, verified_sha, text.run_id)), None
            )
            if done is not None:
                return done.sha
            if now.head_sha != verified_sha:
                raise Conflict(f"The branch has moved on to {now.head_sha[:12]}.")
            commit = self._commit(now.head_ref, verified_sha, files, text)
            self.github.pull_requests[now.number] = replace(now, head_sha=commit.sha)
            return commit.sha

    def is_our_commit(self, sha: str, parent_sha: str, run_id: str) -> bool:
        self._ask("is_our_commit", "contents", "read")
        with self.github.lock:
            return any((c.sha, c.parent, c.text.run_id) == (sha, parent_sha, run_id) for c in self.github.commits)

    def _commit(self, branch: str, parent: str, files: Sequence[FileChange], text: CommitText) -> MemoryCommit:
        made = MemoryCommit(f"{self.github.new_id():040x}", branch, parent, tuple(files), text)
        self.github.commits.append(made)
        return made
