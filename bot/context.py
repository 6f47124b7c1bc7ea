"""What every job is given, built once where a command starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bot import BotError, locks, store
from bot.database import Database
from bot.planning import Filters, Identity, JobSpec
from bot.settings import BotSettings
from bot.store import Claim

if TYPE_CHECKING:
    from bot.github.protocol import App
    from sandbox.runner import Runner


class Postpone(BotError):
    """Raised by a handler whose job cannot run now: a lock is taken, a limit of GitHub's is reached. Uses up no attempt."""

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.reason = reason


class Refused(BotError):
    """Raised by a handler that GitHub (403, 404, 409, 422) or git said no to, which may be a hiccup: only the same refusal, several times
    in a row, is believed and ends the job. ``answer`` is what tells whoever asked, then."""

    def __init__(self, reason: str, answer: Callable[[], Result] | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True)
class Result:
    """How a job ended: ``state`` done, failed or dropped; ``then`` are the jobs that follow, made in the same transaction."""

    reason: str | None = None
    state: str = "done"
    then: Sequence[JobSpec] = ()


@dataclass(frozen=True)
class Context:
    """``github``: the App's client, None without credentials. ``runner()`` gives the sandbox. ``extra``: what stands in for a handler's own
    parts in tests."""

    settings: BotSettings
    database: Database
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    github: App | None = None
    runner: Callable[[], Runner] | None = None
    identity: Identity = field(default_factory=Identity)
    clock: Callable[[], float] = time.time
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def filters(self) -> Filters:
        return Filters(self.identity, self.settings.allowed_bots, self.settings.disabled_installations, self.settings.disabled_repositories)

    def is_current(self, claim: Claim) -> bool:
        """Whether the job is still to be done: to be asked before anything is written to GitHub."""
        with self.database.reading() as session:
            return store.is_current(session, claim)

    def lock(self, claim: Claim, name: str, retry_seconds: float = 15.0) -> None:
        """Take the lock ``name`` until the job ends; it is renewed with the job's lease. Raises Postpone while another job has it."""
        with self.database.writing() as session:
            if not locks.take(session, name, claim.token, self.clock() + self.settings.lease_seconds, self.clock()):
                raise Postpone(retry_seconds, f"waits for the lock {name}")


Handler = Callable[[Context, Claim], Result | None]
"""Runs one job, and may run twice when its process dies midway. Raises Postpone; any other exception is an attempt that failed."""
