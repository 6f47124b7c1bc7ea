"""GitHub's webhook events as small frozen values: only the fields that are used.

They are read in ``bot.payloads``; what is to be done about them is decided in ``bot.planning``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HEAD_ACTIONS = frozenset("opened reopened synchronize edited closed labeled unlabeled converted_to_draft ready_for_review".split())


@dataclass(frozen=True)
class Sender:
    id: int
    login: str
    is_bot: bool


@dataclass(frozen=True)
class Event:
    """What every event has. ``repository_id`` is None for events of an installation or an organisation."""

    action: str | None
    sender: Sender
    installation_id: int | None
    repository_id: int | None
    repository: str | None


@dataclass(frozen=True)
class Ping(Event):
    pass


@dataclass(frozen=True)
class WorkflowRun(Event):
    run_id: int
    run_attempt: int
    workflow: str
    run_event: str
    status: str
    conclusion: str | None
    head_sha: str
    head_branch: str | None
    head_repository: str | None


@dataclass(frozen=True)
class CheckSuite(Event):
    suite_id: int
    app_id: int | None
    app_slug: str | None
    conclusion: str | None
    head_sha: str
    head_branch: str | None


@dataclass(frozen=True)
class CheckRun(Event):
    """``identifier`` is the pressed button's, for the action ``requested_action``."""

    check_run_id: int
    suite_id: int | None
    app_id: int | None
    name: str
    external_id: str
    head_sha: str
    identifier: str | None


@dataclass(frozen=True)
class PullRequestChange(Event):
    """``updated_at`` is GitHub's own text (ISO 8601, UTC, whole seconds), which sorts as time does. ``before``: the head that a push
    (``synchronize``) replaced."""

    number: int
    head_sha: str
    head_ref: str
    head_repository: str | None
    base_sha: str
    base_ref: str
    state: str
    merged: bool
    merge_commit_sha: str | None
    updated_at: str
    label: str | None
    before: str | None = None


@dataclass(frozen=True)
class Comment(Event):
    """On an issue, a pull request (``is_pull_request``) or a line of its diff (``is_review``). ``app_id``: the App that wrote it."""

    number: int
    comment_id: int
    body: str
    author_id: int
    app_id: int | None
    is_pull_request: bool
    is_review: bool


@dataclass(frozen=True)
class Push(Event):
    """``messages``: of the new commits that GitHub lists, at most 2048."""

    ref: str
    before: str
    after: str
    default_branch: str
    deleted: bool
    forced: bool
    messages: tuple[str, ...]


@dataclass(frozen=True)
class Installation(Event):
    account: str
    account_id: int
    permissions: Mapping[str, str]


@dataclass(frozen=True)
class InstallationRepositories(Event):
    added: tuple[tuple[int, str], ...]
    removed: tuple[tuple[int, str], ...]
