"""Which jobs an event asks for: a pure decision, made before the delivery is acknowledged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.events import CheckRun, CheckSuite, Comment, Event, Installation, InstallationRepositories, PullRequestChange, Push, WorkflowRun
from bot.feedback import reverted_commits

WEBHOOKS, REPAIR, FEEDBACK = "webhooks", "repair", "feedback"
QUEUES = (WEBHOOKS, REPAIR, FEEDBACK)
QUEUE_OF = {
    "failed_run": REPAIR,
    "rerun": REPAIR,
    "rerequest": WEBHOOKS,
    "command": WEBHOOKS,
    "button": WEBHOOKS,
    "installation": WEBHOOKS,
    "pull_request": FEEDBACK,
    "push": FEEDBACK,
    "unasked": WEBHOOKS,
}
"""The queue of each kind of job, so that a slow repair never delays a command. ``rerun`` and ``unasked`` come from no event: a command and
a policy make them."""
FAILED = frozenset({"failure", "timed_out"})
COMMAND = re.compile(r"^/ledex(?![\w-])", re.MULTILINE)
JOB_ACTIONS = frozenset("closed reopened synchronize labeled unlabeled converted_to_draft ready_for_review".split())


@dataclass(frozen=True)
class Identity:
    """Who we are on GitHub; None where it is not known (yet)."""

    app_id: int | None = None
    account_id: int | None = None


@dataclass(frozen=True)
class Filters:
    """What the server's settings leave out."""

    identity: Identity = Identity()
    allowed_bots: frozenset[int] = frozenset()
    disabled_installations: frozenset[int] = frozenset()
    disabled_repositories: frozenset[str] = frozenset()


@dataclass(frozen=True)
class JobSpec:
    """A job to be made. Two with the same ``key`` are one; ``pr_number`` and ``head_sha`` are what it is superseded by."""

    kind: str
    key: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    repository_id: int | None = None
    repository: str | None = None
    installation_id: int | None = None
    pr_number: int | None = None
    head_sha: str | None = None
    not_before: float = 0.0

    @property
    def queue(self) -> str:
        return QUEUE_OF.get(self.kind, WEBHOOKS)


@dataclass(frozen=True)
class Plan:
    """``reason`` says why nothing is to be done, when nothing is."""

    jobs: tuple[JobSpec, ...] = ()
    reason: str | None = None


def plan(event: Event, guid: str, filters: Filters) -> Plan:
    """The jobs that ``event``, delivered as ``guid``, asks for.

    Our own actions come back as events and are dropped. Bots' comments are dropped unless allowed. Failed runs of bots' pull requests are
    kept, since the repository's own policy may allow them; that policy is not known here.
    """
    if event.installation_id in filters.disabled_installations or event.repository in filters.disabled_repositories:
        return Plan(reason="disabled on this server")
    match event:
        case WorkflowRun():
            return _workflow_run(event, filters)
        case CheckSuite():
            return _check_suite(event, guid, filters)
        case CheckRun():
            return _check_run(event, guid, filters)
        case Comment():
            return _comment(event, filters)
        case PullRequestChange():
            if event.action not in JOB_ACTIONS:
                return Plan(reason="only the head is noted")
            payload = {
                "action": event.action, "merged": event.merged, "merge_commit_sha": event.merge_commit_sha, "base_ref": event.base_ref,
                "label": event.label, "is_echo": is_own(event, filters.identity), **_sender(event)}  # fmt: skip
            key = f"pull_request:{guid}"
            return Plan((_spec(event, "pull_request", key, payload, pr_number=event.number, head_sha=event.head_sha),))
        case Push():
            if event.deleted or not event.ref.startswith("refs/heads/"):
                return Plan(reason="no commits on a branch")
            payload = {"ref": event.ref, "before": event.before, "after": event.after, "default_branch": event.default_branch,
                       "forced": event.forced, "is_echo": is_own(event, filters.identity), "reverts": reverted_commits(event.messages),
                       **_sender(event)}  # fmt: skip
            return Plan((_spec(event, "push", f"push:{event.repository_id}:{guid}", payload),))
        case InstallationRepositories():
            payload = {"action": event.action, "added": [list(r) for r in event.added], "removed": [list(r) for r in event.removed]}
            return Plan((_spec(event, "installation", f"installation:{guid}", payload),))
        case Installation():
            payload = {"action": event.action, "account": event.account, "account_id": event.account_id}
            return Plan((_spec(event, "installation", f"installation:{guid}", payload),))
        case _:
            return Plan(reason="nothing to do")


def is_own(event: Event, identity: Identity) -> bool:
    """Whether our own account did what the event tells of."""
    return identity.account_id is not None and event.sender.id == identity.account_id


def _workflow_run(event: WorkflowRun, filters: Filters) -> Plan:
    if event.action != "completed" or event.conclusion not in FAILED:
        return Plan(reason="no failed run")
    if is_own(event, filters.identity):
        return Plan(reason="our own push")
    payload = {
        "is_actions": True, "run_id": event.run_id, "run_attempt": event.run_attempt, "workflow": event.workflow,
        "event": event.run_event, "conclusion": event.conclusion, "head_branch": event.head_branch,
        "head_repository": event.head_repository, **_sender(event)}  # fmt: skip
    key = f"failed_run:{event.repository_id}:run:{event.run_id}:{event.run_attempt}"
    return Plan((_spec(event, "failed_run", key, payload, head_sha=event.head_sha),))


def _check_suite(event: CheckSuite, guid: str, filters: Filters) -> Plan:
    ours = event.app_id is not None and event.app_id == filters.identity.app_id
    if event.action == "rerequested" and ours and not _is_unwelcome(event, filters):
        return Plan((_spec(event, "rerequest", f"rerequest:{guid}", _sender(event), head_sha=event.head_sha),))
    if event.action != "completed" or event.conclusion not in FAILED:
        return Plan(reason="no failed suite")
    if ours or event.app_slug == "github-actions":
        return Plan(reason="our own suite" if ours else "told by workflow_run too")
    if is_own(event, filters.identity):
        return Plan(reason="our own push")
    payload = {
        "is_actions": False, "run_id": event.suite_id, "run_attempt": 1, "workflow": event.app_slug or "", "event": "check_suite",
        "conclusion": event.conclusion, "head_branch": event.head_branch, "head_repository": None, **_sender(event)}  # fmt: skip
    key = f"failed_run:{event.repository_id}:suite:{event.suite_id}:{event.head_sha}"
    return Plan((_spec(event, "failed_run", key, payload, head_sha=event.head_sha),))


def _check_run(event: CheckRun, guid: str, filters: Filters) -> Plan:
    if event.app_id is None or event.app_id != filters.identity.app_id:
        return Plan(reason="another App's check run")
    if event.action not in ("requested_action", "rerequested") or _is_unwelcome(event, filters):
        return Plan(reason="nothing was asked for")
    payload = {"check_run_id": event.check_run_id, "external_id": event.external_id, "identifier": event.identifier, **_sender(event)}
    kind = "button" if event.action == "requested_action" else "rerequest"
    # Every press is a job of its own: one that was refused may be tried again. The handler looks at what has become of the fix.
    return Plan((_spec(event, kind, f"{kind}:{guid}", payload, head_sha=event.head_sha),))


def _comment(event: Comment, filters: Filters) -> Plan:
    if event.action != "created" or not event.is_pull_request:
        return Plan(reason="no new comment on a pull request")
    if _is_unwelcome(event, filters) or (event.app_id is not None and event.app_id == filters.identity.app_id):
        return Plan(reason="a bot's comment")
    if not COMMAND.search(event.body):
        return Plan(reason="no command")
    payload = {"comment_id": event.comment_id, "is_review": event.is_review, "body": event.body, **_sender(event)}
    kind = "review_comment" if event.is_review else "comment"
    return Plan((_spec(event, "command", f"command:{kind}:{event.repository_id}:{event.comment_id}", payload, pr_number=event.number),))


def _is_unwelcome(event: Event, filters: Filters) -> bool:
    return is_own(event, filters.identity) or (event.sender.is_bot and event.sender.id not in filters.allowed_bots)


def _sender(event: Event) -> dict[str, Any]:
    return {"sender_id": event.sender.id, "sender": event.sender.login, "sender_is_bot": event.sender.is_bot}


def _spec(
    event: Event, kind: str, key: str, payload: Mapping[str, Any], pr_number: int | None = None, head_sha: str | None = None
) -> JobSpec:
    return JobSpec(kind, key, payload, event.repository_id, event.repository, event.installation_id, pr_number, head_sha)
