"""What the emulated GitHub remembers. Plain dataclasses under one lock; nothing here answers a request or runs git."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

# What an App needs for everything that the bot does (the tier with write access to contents included).
ALL_PERMISSIONS = {
    "actions": "read", "checks": "write", "contents": "write", "issues": "read", "metadata": "read", "pull_requests": "write",
}  # fmt: skip


@dataclass(frozen=True)
class User:
    """``type`` is User, Organization or Bot."""

    id: int
    login: str
    type: str = "User"


@dataclass
class Repository:
    """``directory`` is a bare git repository; ``roles`` maps logins to admin, write or read; ``parent`` is what a fork was made from."""

    id: int
    owner: User
    name: str
    directory: Path
    default_branch: str
    private: bool
    roles: dict[str, str] = field(default_factory=dict)
    parent: Repository | None = None
    created: float = 0.0
    last_number: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


@dataclass
class Pull:
    """A pull request. ``head_repository`` is None once its fork was deleted."""

    id: int
    number: int
    repository: Repository
    head_repository: Repository | None
    head_ref: str
    head_sha: str
    base_ref: str
    base_sha: str
    title: str
    body: str | None
    author: User
    created: float
    updated: float
    state: str = "open"
    draft: bool = False
    closed: float | None = None
    merged: float | None = None
    merge_sha: str | None = None
    labels: list[str] = field(default_factory=list)
    maintainer_can_modify: bool = True

    @property
    def is_fork(self) -> bool:
        return self.head_repository is not self.repository


@dataclass
class Reaction:
    id: int
    user: User
    content: str
    created: float


@dataclass
class Comment:
    """A comment on the conversation of a pull request; ``by_app`` when our App wrote it."""

    id: int
    pull: Pull
    author: User
    body: str
    created: float
    updated: float
    by_app: bool = False
    reactions: list[Reaction] = field(default_factory=list)


@dataclass
class Review:
    id: int
    pull: Pull
    author: User
    body: str
    state: str
    commit: str
    created: float


@dataclass
class ReviewComment:
    id: int
    review: Review
    pull: Pull
    author: User
    body: str
    path: str
    line: int
    start_line: int | None
    side: str
    commit: str
    created: float
    reply_to: int | None = None
    reactions: list[Reaction] = field(default_factory=list)


@dataclass
class Annotation:
    """Lines are 1-based; ``level`` is notice, warning or failure."""

    path: str
    start_line: int
    end_line: int
    level: str
    message: str
    title: str | None = None
    raw_details: str | None = None


@dataclass
class CheckSuite:
    """``app`` is "actions", "ours", or "other" for a CI that brings an App of its own."""

    id: int
    repository: Repository
    head_sha: str
    head_branch: str | None
    app: str
    created: float
    updated: float
    status: str = "queued"
    conclusion: str | None = None


@dataclass
class CheckRun:
    id: int
    suite: CheckSuite
    name: str
    status: str = "queued"
    conclusion: str | None = None
    external_id: str | None = None
    details_url: str | None = None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    started: float | None = None
    completed: float | None = None
    annotations: list[Annotation] = field(default_factory=list)
    actions: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Run:
    """One workflow run."""

    id: int
    suite: CheckSuite
    repository: Repository
    head_repository: Repository | None
    name: str
    path: str
    event: str
    number: int
    actor: User
    created: float
    updated: float
    attempt: int = 1


@dataclass
class Job:
    """``steps`` are (name, conclusion); ``log`` is None once GitHub has thrown it away."""

    id: int
    run: Run
    check_run: CheckRun
    steps: list[tuple[str, str]]
    log: bytes | None


@dataclass
class Artifact:
    """``content`` is the zip."""

    id: int
    run: Run
    name: str
    content: bytes
    created: float
    expired: bool = False


@dataclass
class Installation:
    """The App on one account. ``repositories`` holds the ids that it was given."""

    id: int
    account: User
    permissions: dict[str, str]
    created: float
    repositories: set[int] = field(default_factory=set)
    suspended: float | None = None


@dataclass(frozen=True)
class Token:
    """An installation token; ``repositories`` is narrowed already."""

    value: str
    installation: Installation
    repositories: frozenset[int]
    permissions: dict[str, str]
    expires: float


@dataclass(frozen=True)
class App:
    """The registered App. ``private_key`` and ``public_key`` are PEM; ``bot`` is the account that its comments carry."""

    id: int
    slug: str
    name: str
    owner: User
    bot: User
    private_key: str = field(repr=False)
    public_key: str
    webhook_secret: str = field(repr=False)
    events: tuple[str, ...] = ()
    created: float = 0.0


@dataclass
class State:
    """Everything, under ``lock``. ``clock`` gives seconds since the epoch: tests move it instead of waiting."""

    app: App
    clock: Callable[[], float] = time.time
    lock: threading.RLock = field(default_factory=threading.RLock)
    users: dict[str, User] = field(default_factory=dict)
    repositories: dict[int, Repository] = field(default_factory=dict)
    pulls: list[Pull] = field(default_factory=list)
    comments: dict[int, Comment] = field(default_factory=dict)
    reviews: list[Review] = field(default_factory=list)
    review_comments: dict[int, ReviewComment] = field(default_factory=dict)
    suites: dict[int, CheckSuite] = field(default_factory=dict)
    check_runs: dict[int, CheckRun] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    artifacts: dict[int, Artifact] = field(default_factory=dict)
    installations: dict[int, Installation] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    manifest_codes: set[str] = field(default_factory=set)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1001))

    def new_id(self) -> int:
        return next(self.ids)

    def user(self, login: str, kind: str = "User") -> User:
        """The account of that name, made at the first mention."""
        if login.lower() not in self.users:
            self.users[login.lower()] = User(self.new_id(), login, kind)
        return self.users[login.lower()]

    def repository(self, full_name: str) -> Repository | None:
        return next((one for one in self.repositories.values() if one.full_name.lower() == full_name.lower()), None)

    def pull(self, repository: Repository, number: int) -> Pull | None:
        return next((one for one in self.pulls if one.repository is repository and one.number == number), None)

    def installation_of(self, repository: Repository) -> Installation | None:
        return next((one for one in self.installations.values() if repository.id in one.repositories), None)


def stamp(seconds: float) -> str:
    """Seconds since the epoch in the form that GitHub writes."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
