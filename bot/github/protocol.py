"""What the rest of the bot may ask of GitHub: values and two protocols. ``client`` answers from GitHub, a fake in the tests from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

from bot.runs import Annotation, FailedRun, PullRequest

Conclusion = Literal["success", "neutral", "cancelled", "skipped", "timed_out", "action_required"]
"""Of our check run: GitHub's list without ``failure``, which is never ours to say."""
Reaction = Literal["eyes", "+1", "-1", "confused", "rocket"]
CommentKind = Literal["issue", "review"]

# What the token of a step is narrowed to. Never Issues: write, nor Actions: write.
READING = {"actions": "read", "checks": "read", "contents": "read", "metadata": "read", "pull_requests": "read"}
COMMENTING = {"metadata": "read", "pull_requests": "write"}
CHECKING = {"checks": "write", "metadata": "read"}
PUSHING = {"contents": "write", "metadata": "read", "pull_requests": "write"}


@dataclass(frozen=True)
class AppIdentity:
    """``permissions``: the App's registration, which an installation may not have accepted yet."""

    id: int
    slug: str
    permissions: Mapping[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def login(self) -> str:
        return f"{self.slug}[bot]"


@dataclass(frozen=True)
class Posted:
    """A comment, check run, review or pull request of ours. ``number`` only for a pull request."""

    id: int
    url: str = ""
    created: bool = True
    number: int | None = None


@dataclass(frozen=True)
class ChangedFile:
    """One file of a pull request's diff. ``patch``: its hunks (no file header), or None where GitHub shows none (binary, too large)."""

    path: str
    status: str
    patch: str | None
    previous_path: str | None = None
    additions: int = 0
    deletions: int = 0


@dataclass(frozen=True)
class PolicyText:
    """``origin``: owner/name:path@commit, for people."""

    text: str
    origin: str


@dataclass(frozen=True)
class GitAccess:
    """How git reads the repository: ``url`` holds no token; ``environment`` does, for the one git process that fetches."""

    url: str
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Button:
    """A check run's button; longer texts are cut to GitHub's 20, 40 and 20 characters."""

    label: str
    description: str
    identifier: str


@dataclass(frozen=True)
class CheckRun:
    """What our check run is to show. ``conclusion`` None while it runs. Texts and annotations are cut to GitHub's limits."""

    title: str
    summary: str
    text: str = ""
    conclusion: Conclusion | None = None
    annotations: Sequence[Annotation] = ()
    buttons: Sequence[Button] = ()
    details_url: str = ""
    name: str = "ledex"


@dataclass(frozen=True)
class ReviewComment:
    """On lines ``start_line`` to ``line`` (1-based, of the new side), which must lie in the pull request's diff."""

    path: str
    start_line: int
    line: int
    body: str


@dataclass(frozen=True)
class FileChange:
    """The new content of one file; None deletes it. ``mode`` as git writes it."""

    path: str
    content: bytes | None
    mode: Literal["100644", "100755"] = "100644"


@dataclass(frozen=True)
class CommitText:
    """``co_author``: name and address of the person who asked for it."""

    subject: str
    body: str
    run_id: str
    co_author: tuple[str, str] | None = None


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver a webhook; redeliveries share ``guid``."""

    id: int
    guid: str
    event: str
    status: str
    status_code: int
    delivered_at: datetime
    redelivery: bool = False
    installation_id: int | None = None
    repository_id: int | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status_code < 300


class Session(Protocol):
    """One repository, for one step, with that step's permissions. Used by one thread, closed after the step.

    All methods raise ``bot.github.GitHubError``. All writes may be repeated: each looks first for what an earlier try left.
    """

    @property
    def installation_id(self) -> int: ...
    @property
    def repository_id(self) -> int: ...
    @property
    def repository(self) -> str: ...

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def pull_request(self, number: int) -> PullRequest: ...

    def resolve_pull_request(
        self, run: FailedRun, *, head_owner: str | None = None, known: Callable[[str], Iterable[int]] = lambda sha: ()
    ) -> PullRequest | None:
        """The open pull request whose head is the run's commit, forks too; None when there is none (any more).

        ``known``: our own table, from a head SHA to pull-request numbers.
        ``head_owner``: of the run's head repository, where the event told it.
        """

    def failed_run(self, run_id: int) -> FailedRun:
        """The workflow run as it is now: jobs and reports only where it failed."""

    def failed_suite(self, suite_id: int) -> FailedRun:
        """The same of a check suite of any other CI; a job's log is what its check run says."""

    def failed_run_ids(self, since: datetime) -> list[int]:
        """Workflow runs of pull requests that failed since then, oldest first: the last resort for lost deliveries."""

    def failed_run_of(self, head_sha: str) -> int | None:
        """The newest failed workflow run of a commit."""

    def changed_files(self, number: int) -> tuple[ChangedFile, ...]: ...
    def file_text(self, path: str, ref: str) -> str | None: ...

    def policy_text(self, base_sha: str) -> PolicyText | None:
        """``.github/ledex.toml``, else ``.ledex.toml``, of the base commit; else of the owner's ``.github`` repository where readable."""

    def permission(self, login: str) -> str:
        """admin, write, read or none (maintain is write, triage is read)."""

    def user_id(self, login: str) -> int | None:
        """The numeric account id; our own is that of ``AppIdentity.login``."""

    def git_access(self) -> GitAccess: ...

    def upsert_comment(self, number: int, marker: str, body: str) -> Posted:
        """Creates or edits our one comment that holds ``marker``; ``body`` must hold it."""

    def upsert_check_run(self, head_sha: str, external_id: str, check: CheckRun) -> Posted: ...

    def review(self, number: int, commit_sha: str, body: str, comments: Sequence[ReviewComment], marker: str) -> Posted:
        """A review of event COMMENT on the verified head. Rejected when a line lies outside the diff."""

    def react(self, comment_id: int, content: Reaction = "eyes", kind: CommentKind = "issue") -> bool:
        """Best effort: False where GitHub would not."""

    def add_labels(self, number: int, labels: Sequence[str]) -> None: ...

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
        """A pull request from ``ledex/<number>-<signature>`` into the pull request's branch. Rejected for forks."""

    def commit_to_head(self, pull_request: PullRequest, verified_sha: str, files: Sequence[FileChange], text: CommitText) -> str:
        """The new head's SHA. Conflict when the head is no longer ``verified_sha``; nothing is written then."""

    def is_our_commit(self, sha: str, parent_sha: str, run_id: str) -> bool:
        """Whether ``sha`` is what an earlier try of the run ``run_id`` committed onto ``parent_sha``."""


class App(Protocol):
    def identity(self) -> AppIdentity: ...

    def for_step(self, installation_id: int, repository_id: int, repository: str, permissions: Mapping[str, str]) -> Session: ...

    def installation_permissions(self, installation_id: int) -> dict[str, str]:
        """What the installation has granted."""

    def installations(self) -> list[int]: ...

    def repositories(self, installation_id: int) -> dict[int, str]:
        """Those the installation gave us: id -> owner/name."""

    def webhook_url(self) -> str | None:
        """Where GitHub sends this App's webhooks."""

    def deliveries(self, since: datetime) -> list[Delivery]:
        """Attempts to deliver webhooks since then, newest first."""

    def redeliver(self, delivery_id: int) -> None: ...
