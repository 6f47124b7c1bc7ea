"""GitHub's answers as plain values of ours. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

from github.PullRequest import PullRequest as GithubPullRequest
from github.Repository import Repository
from github.WorkflowRun import WorkflowRun

from bot.github.protocol import ChangedFile
from bot.runs import Annotation, PullRequest

TEXT_CAP_BYTES = 1_000_000
"""Of a file that is read as text; GitHub sends none above a megabyte this way."""


def pull_request_of(pull: GithubPullRequest) -> PullRequest:
    head_repository = cast("Repository | None", pull.head.repo)
    return PullRequest(
        repository=pull.base.repo.full_name,
        repository_id=pull.base.repo.id,
        number=pull.number,
        head_sha=pull.head.sha,
        head_ref=pull.head.ref,
        head_repository=head_repository.full_name if head_repository is not None else None,
        base_sha=pull.base.sha,
        base_ref=pull.base.ref,
        author_id=pull.user.id,
        author_is_bot=pull.user.type == "Bot",
        state=pull.state,
        draft=bool(pull.draft),
        merged=bool(pull.merged),
        maintainer_can_modify=bool(pull.maintainer_can_modify),
        labels=frozenset(label.name for label in pull.labels),
        title=pull.title or "",
    )


def head_owner_of(run: WorkflowRun) -> str | None:
    """None when the fork is gone."""
    return (((run.raw_data.get("head_repository") or {}).get("owner")) or {}).get("login")


def changed_file_of(data: dict[str, Any]) -> ChangedFile:
    return ChangedFile(
        path=data["filename"],
        status=data["status"],
        patch=data.get("patch"),
        previous_path=data.get("previous_filename"),
        additions=data.get("additions", 0),
        deletions=data.get("deletions", 0),
    )


def annotation_of(data: dict[str, Any]) -> Annotation:
    return Annotation(
        path=data["path"],
        start_line=data["start_line"],
        end_line=data["end_line"],
        level=data.get("annotation_level") or "notice",
        message=data.get("message") or "",
        title=data.get("title") or "",
    )


def text_of(contents: Any) -> str | None:
    """The text of an answer of the contents API; None for folders, links, submodules and what is too large to be a text of ours."""
    if not isinstance(contents, dict) or contents.get("type", "file") != "file" or contents.get("encoding") != "base64":
        return None
    if contents.get("size", 0) > TEXT_CAP_BYTES:
        return None
    try:
        return base64.b64decode(contents["content"]).decode("utf-8", "replace")
    except (KeyError, binascii.Error):
        return None


def number_at_end(url: str | None) -> int | None:
    """The id that an address ends with."""
    last = (url or "").rstrip("/").rsplit("/", 1)[-1]
    return int(last) if last.isdigit() else None
