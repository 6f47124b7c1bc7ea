"""Payloads of events, made from the real ones by changing what a test is about, and their signed requests."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "octokit"
EVENTS = (
    "check_run", "check_suite", "installation", "installation_repositories", "issue_comment", "ping", "pull_request",
    "pull_request_review_comment", "push", "workflow_run")  # fmt: skip
SECRET = "a secret"


def octokit(name: str) -> list[dict[str, Any]]:
    """The real payloads of an event."""
    payloads: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return payloads


def changed(payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with some fields set; ``a__b`` is the field ``b`` of ``a``."""
    result = copy.deepcopy(payload)
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = result
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return result


def failed_run(**changes: Any) -> dict[str, Any]:
    base = {"action": "completed", "workflow_run__status": "completed", "workflow_run__conclusion": "failure", "installation": {"id": 7}}
    return changed(octokit("workflow_run")[0], **base | changes)


def pull_request(action: str, **changes: Any) -> dict[str, Any]:
    first = next(p for p in octokit("pull_request") if p["action"] == "opened")
    return changed(first, action=action, installation={"id": 7}, **changes)


def comment(body: str, **changes: Any) -> dict[str, Any]:
    """A comment on a pull request: none of the real examples is on one."""
    first = next(p for p in octokit("issue_comment") if p["action"] == "created")
    pull = {"url": "https://api.github.com/repos/Codertocat/Hello-World/pulls/1"}
    base = {"installation": {"id": 7}, "issue__pull_request": pull, "comment__body": body}
    return changed(first, **base | changes)


def headers(event: str, body: bytes, guid: str = "guid-1", secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid,
        "X-Hub-Signature-256": f"sha256={signature}",
    }
