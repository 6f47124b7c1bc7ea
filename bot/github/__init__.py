"""GitHub as the bot needs it: one App, narrow tokens, reads that are tried again, writes that are looked for before they are.

Every failure is one of these, each with one sentence that holds the way out and never a token::

    GitHubError
    ├── NotConfigured    no App id or private key is set
    ├── Unauthorized     the App's key, or a token that was minted a moment ago, is refused (401)
    ├── Forbidden        the App lacks a permission; ``needed`` says which (403)
    ├── NotFound         gone, or not visible to this token (404, 410)
    ├── RateLimited      a limit of GitHub or our own; ``retry_at`` says when to come back (403, 429)
    ├── Unavailable      no answer, or one that says nothing about what happened (5xx, dropped, timed out)
    ├── Conflict         somebody was quicker: the branch moved, the reference exists (409, and 422 of a reference)
    └── Rejected         GitHub understood the request and will not do it (422 and other 4xx)
"""

from __future__ import annotations

from datetime import datetime

from bot import BotError


class GitHubError(BotError):
    """``reason`` is a short word fit for a metric."""

    reason = "github"


class NotConfigured(GitHubError):
    reason = "not_configured"


class Unauthorized(GitHubError):
    reason = "unauthorized"


class Forbidden(GitHubError):
    """``needed``: what would have been enough, in GitHub's words (``pull_requests=write``); empty when GitHub did not say."""

    reason = "forbidden"

    def __init__(self, message: str, needed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.needed = needed


class NotFound(GitHubError):
    reason = "not_found"


class RateLimited(GitHubError):
    """``retry_at``: aware, the first moment at which another try makes sense. The job goes back to the queue until then."""

    reason = "rate_limited"

    def __init__(self, message: str, retry_at: datetime) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class Unavailable(GitHubError):
    """After a write this does not say whether it happened: look before trying again."""

    reason = "unavailable"


class Conflict(GitHubError):
    reason = "conflict"


class Rejected(GitHubError):
    reason = "rejected"
