"""Webhook payload -> event: every field is checked as it is read, whatever was sent. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bot import BotError
from bot.events import (
    CheckRun,
    CheckSuite,
    Comment,
    Event,
    Installation,
    InstallationRepositories,
    Ping,
    PullRequestChange,
    Push,
    Sender,
    WorkflowRun,
)

_BIGGEST_ID = 2**63 - 1


class PayloadError(BotError):
    """A payload lacks a field that GitHub documents, or has another type in it."""


def parse(name: str, payload: Mapping[str, Any]) -> Event | None:
    """The event, or None if it is of a kind that is not handled. Raises PayloadError."""
    reader = _READERS.get(name)
    return reader(payload, _shared(payload)) if reader else None


def _workflow_run(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    run = _object(payload, "workflow_run")
    return WorkflowRun(
        **shared,
        run_id=_id(run, "id"),
        run_attempt=_id(run, "run_attempt") if run.get("run_attempt") is not None else 1,
        workflow=_text_or_none(run, "name") or "",
        run_event=_text_or_none(run, "event") or "",
        status=_text_or_none(run, "status") or "",
        conclusion=_text_or_none(run, "conclusion"),
        head_sha=_text(run, "head_sha"),
        head_branch=_text_or_none(run, "head_branch"),
        head_repository=_full_name(run.get("head_repository")),
    )


def _check_suite(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    suite = _object(payload, "check_suite")
    app = _object_or_empty(suite, "app")
    return CheckSuite(
        **shared,
        suite_id=_id(suite, "id"),
        app_id=_id_or_none(app, "id"),
        app_slug=_text_or_none(app, "slug"),
        conclusion=_text_or_none(suite, "conclusion"),
        head_sha=_text(suite, "head_sha"),
        head_branch=_text_or_none(suite, "head_branch"),
    )


def _check_run(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    run = _object(payload, "check_run")
    return CheckRun(
        **shared,
        check_run_id=_id(run, "id"),
        suite_id=_id_or_none(_object_or_empty(run, "check_suite"), "id"),
        app_id=_id_or_none(_object_or_empty(run, "app"), "id"),
        name=_text_or_none(run, "name") or "",
        external_id=_text_or_none(run, "external_id") or "",
        head_sha=_text(run, "head_sha"),
        identifier=_text_or_none(_object_or_empty(payload, "requested_action"), "identifier"),
    )


def _pull_request(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    pull = _object(payload, "pull_request")
    head, base = _object(pull, "head"), _object(pull, "base")
    return PullRequestChange(
        **shared,
        number=_id(pull, "number"),
        head_sha=_text(head, "sha"),
        head_ref=_text(head, "ref"),
        head_repository=_full_name(head.get("repo")),
        base_sha=_text(base, "sha"),
        base_ref=_text(base, "ref"),
        state=_text(pull, "state"),
        merged=pull.get("merged") is True,
        merge_commit_sha=_text_or_none(pull, "merge_commit_sha"),
        updated_at=_text(pull, "updated_at"),
        label=_text_or_none(_object_or_empty(payload, "label"), "name"),
        before=_text_or_none(payload, "before"),
    )


def _issue_comment(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    issue = _object(payload, "issue")
    return _comment(payload, shared, _id(issue, "number"), is_pull_request=bool(issue.get("pull_request")), is_review=False)


def _review_comment(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    return _comment(payload, shared, _id(_object(payload, "pull_request"), "number"), is_pull_request=True, is_review=True)


def _comment(payload: Mapping[str, Any], shared: dict[str, Any], number: int, is_pull_request: bool, is_review: bool) -> Comment:
    comment = _object(payload, "comment")
    return Comment(
        **shared,
        number=number,
        comment_id=_id(comment, "id"),
        body=_text_or_none(comment, "body") or "",
        author_id=_id_or_none(_object_or_empty(comment, "user"), "id") or 0,  # the account may be gone
        app_id=_id_or_none(_object_or_empty(comment, "performed_via_github_app"), "id"),
        is_pull_request=is_pull_request,
        is_review=is_review,
    )


def _push(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    return Push(
        **shared,
        ref=_text(payload, "ref"),
        before=_text(payload, "before"),
        after=_text(payload, "after"),
        default_branch=_text_or_none(_object(payload, "repository"), "default_branch") or "",
        deleted=payload.get("deleted") is True,
        forced=payload.get("forced") is True,
        messages=tuple(_text_or_none(commit, "message") or "" for commit in _objects(payload, "commits")),
    )


def _installation(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    installation = _object(payload, "installation")
    account = _object(installation, "account")
    permissions = _object_or_empty(installation, "permissions")
    return Installation(
        **shared,
        account=_text_or_none(account, "login") or _text_or_none(account, "slug") or "",
        account_id=_id(account, "id"),
        permissions={_clean(str(name)): _clean(str(level)) for name, level in permissions.items()},
    )


def _installation_repositories(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    return InstallationRepositories(
        **shared, added=_repositories(payload, "repositories_added"), removed=_repositories(payload, "repositories_removed")
    )


def _ping(payload: Mapping[str, Any], shared: dict[str, Any]) -> Event:
    return Ping(**shared)


_READERS: dict[str, Callable[[Mapping[str, Any], dict[str, Any]], Event]] = {
    "check_run": _check_run,
    "check_suite": _check_suite,
    "installation": _installation,
    "installation_repositories": _installation_repositories,
    "issue_comment": _issue_comment,
    "ping": _ping,
    "pull_request": _pull_request,
    "pull_request_review_comment": _review_comment,
    "push": _push,
    "workflow_run": _workflow_run,
}


def _shared(payload: Mapping[str, Any]) -> dict[str, Any]:
    sender = _object_or_empty(payload, "sender")  # a ping to an organisation's hook may lack it
    repository = _object_or_empty(payload, "repository")
    return {
        "action": _text_or_none(payload, "action"),
        "sender": Sender(_id_or_none(sender, "id") or 0, _text_or_none(sender, "login") or "", sender.get("type") == "Bot"),
        "installation_id": _id_or_none(_object_or_empty(payload, "installation"), "id"),
        "repository_id": _id_or_none(repository, "id"),
        "repository": _full_name(repository),
    }


def _repositories(payload: Mapping[str, Any], key: str) -> tuple[tuple[int, str], ...]:
    return tuple((_id(r, "id"), _text(r, "full_name")) for r in _objects(payload, key))


def _objects(parent: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    listed = parent.get(key) or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise PayloadError(f"{key} is no list of objects")
    return listed


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise PayloadError(f"{key} is missing or no object")
    return value


def _object_or_empty(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _object(parent, key) if parent.get(key) is not None else {}


def _id(parent: Mapping[str, Any], key: str) -> int:
    value = parent.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _BIGGEST_ID:
        raise PayloadError(f"{key} is missing or no id")
    return value


def _id_or_none(parent: Mapping[str, Any], key: str) -> int | None:
    return None if parent.get(key) is None else _id(parent, key)


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str):
        raise PayloadError(f"{key} is missing or no text")
    return _clean(value)


def _text_or_none(parent: Mapping[str, Any], key: str) -> str | None:
    return None if parent.get(key) is None else _text(parent, key)


def _full_name(repository: object) -> str | None:
    return _text_or_none(repository, "full_name") if isinstance(repository, dict) else None


def _clean(text: str) -> str:
    """JSON can carry NUL and lone surrogates, which PostgreSQL and UTF-8 cannot."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
