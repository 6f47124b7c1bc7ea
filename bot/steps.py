"""The steps of a job at GitHub: a session of its own for each, and what a refusal or a limit does to the job."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.context import Context, Postpone, Refused, Result
from bot.github import Conflict, Forbidden, NotFound, RateLimited, Rejected
from bot.github.protocol import App, Session
from bot.store import Claim


def talking_to_github(handler: Callable[[Context, Claim], Result]) -> Callable[[Context, Claim], Result]:
    """A limit of GitHub's puts the job back without using up an attempt. A refusal is tried again a
    little later, and ends the job with its reason when it stays."""

    @functools.wraps(handler)
    def wrapped(context: Context, claim: Claim) -> Result:
        try:
            return handler(context, claim)
        except RateLimited as error:
            raise Postpone(max(error.retry_at.timestamp() - context.clock(), 1.0), str(error)) from None
        except (Forbidden, NotFound, Conflict, Rejected) as error:
            raise Refused(str(error)) from None

    return wrapped


def app_of(context: Context) -> App:
    if context.github is None:
        raise Postpone(300.0, "no GitHub App is set up")
    return context.github


def step(app: App, claim: Claim, permissions: Any) -> Session:
    """A session for the job's repository with this step's permissions."""
    assert claim.installation_id is not None
    assert claim.repository_id is not None
    assert claim.repository is not None
    return app.for_step(claim.installation_id, claim.repository_id, claim.repository, permissions)


def repository_folder(context: Context, claim: Claim) -> Path:
    """Where the repository's commits are kept; its last part is the folder's name inside the sandbox."""
    name = (claim.repository or "repository").rpartition("/")[2]
    return context.settings.data_dir.resolve() / "repositories" / str(claim.repository_id) / name
