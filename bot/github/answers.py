"""Reads what GitHub's answer means: which error it is, and how long to wait. Pure: plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.github import Conflict, Forbidden, GitHubError, NotFound, RateLimited, Rejected, Unauthorized, Unavailable
from bot.github.scrubbing import scrub

SECONDARY_WAIT_SECONDS = 60.0
"""GitHub's advice where a secondary limit comes without any time: a minute at least, doubled at each further refusal."""
_LIMIT_WORDS = ("rate limit", "abuse detection", "retry your request again later", "wait a few minutes before you try again")


def limit_wait(status: int, headers: Mapping[str, Any], message: str, *, refusals: int, now: float) -> float | None:
    """Seconds to wait when the answer is a rate limit, else None. ``headers`` in lower case; ``now`` in Unix seconds."""
    if status not in (403, 429):
        return None
    retry_after = _number(headers.get("retry-after"))
    if retry_after is not None:
        return max(retry_after, 0.0)
    if _number(headers.get("x-ratelimit-remaining")) == 0:
        reset = _number(headers.get("x-ratelimit-reset"))
        if reset is not None:
            return max(reset - now, 1.0)  # the two clocks need not agree
    elif status == 403 and not any(words in message.lower() for words in _LIMIT_WORDS):
        return None
    return SECONDARY_WAIT_SECONDS * 2.0 ** min(refusals, 6)


def limited(wait: float, now: float) -> RateLimited:
    at = datetime.fromtimestamp(now + wait, UTC)
    return RateLimited(f"GitHub asks to wait until {at:%H:%M:%S} UTC; the job is taken up again then.", at)


def error_of(status: int, headers: Mapping[str, Any], data: Any, *, verb: str, path: str) -> GitHubError:
    """The error that an answer of 400 or more is (rate limits apart). ``path`` is named in its sentence."""
    said = message_of(data)
    what = scrub(f"{verb} {path.split('?')[0]}")
    because = scrub(f" ({said})")[:600] if said else ""
    if status == 401:
        return Unauthorized(f"GitHub refused our credentials for {what}{because}: check the App's id, its key and this machine's clock.")
    if status == 403:
        needed = needed_permissions(headers)
        if needed:
            return Forbidden(f"The App may not {what}: grant it {' or '.join(needed)} and have the installation accept it.", needed)
        return Forbidden(f"The App may not {what}{because}: `ledex doctor` compares its permissions with those needed.")
    if status in (404, 410):
        return NotFound(f"GitHub has nothing to show for {what}: it is gone, or the App is not installed on that repository.")
    if status == 409 or status == 422 and verb in ("POST", "PATCH") and "/git/refs" in path:
        return Conflict(f"{what} came too late{because}: read what is there now before another try.")
    if status >= 500 or status == 408:
        return Unavailable(f"GitHub answered {status} to {what}; see githubstatus.com if it lasts.")
    return Rejected(f"GitHub refused {what} with {status}{because}: the request itself has to change.")


def message_of(data: Any) -> str:
    """GitHub's message, with the details of its ``errors`` in short."""
    if not isinstance(data, dict):
        return ""
    details = [e.get("message") or e.get("code") if isinstance(e, dict) else e for e in data.get("errors") or () if e]
    return "; ".join(str(part) for part in (data.get("message"), *details) if part)


def needed_permissions(headers: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``X-Accepted-GitHub-Permissions`` lists: alternatives by ``;``, each a list that is needed together."""
    listed = str(headers.get("x-accepted-github-permissions") or "")
    return tuple(part.strip() for part in listed.split(";") if part.strip() and part.strip() != "allows_permissionless_access=true")


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
