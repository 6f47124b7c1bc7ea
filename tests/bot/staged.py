"""A repository of the emulated GitHub with the bot at work in it; only the repair is a stand-in, so that each case takes moments.

The fixtures ``whole`` and ``case`` of ``conftest.py`` hand these out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import select

from bot.demo.emulator import script
from bot.demo.emulator.state import Comment, Pull, Repository
from bot.demo.stage import Stage
from bot.models import JobRow
from inference.outcome import Outcome
from inference.repair import RepairRequest
from tests.bot.shop import BROKEN, FIXED, LOG


@dataclass
class StandIn:
    """A repair that answers what the test says, and counts."""

    outcome: Outcome = FIXED
    asked: list[RepairRequest] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def __call__(self, request: RepairRequest) -> Outcome:
        self.asked.append(request)
        self.before()
        return self.outcome


@dataclass
class Case:
    stage: Stage
    repair: StandIn
    repository: Repository

    def pull(self, **options: object) -> Pull:
        return script.open_pull_request(self.stage.emulator, self.repository, "cheap", {"shop.py": BROKEN}, **options)  # type: ignore[arg-type]

    def fail(self, pull: Pull, *logs: str, **options: object) -> None:
        jobs = [script.CiJob(f"test ({n})", log) for n, log in enumerate(logs or (LOG,))]
        script.fail_run(self.stage.emulator, pull, jobs, **options)  # type: ignore[arg-type]
        self.stage.settle(60)

    def comments(self, pull: Pull) -> list[Comment]:
        return script.comments_of(self.stage.emulator, pull)

    def say(self, pull: Pull, body: str, by: str = "maintainer") -> None:
        script.comment(self.stage.emulator, pull, body, by=by)
        self.stage.settle(60)

    def reason(self, kind: str) -> str:
        with self.stage.context.database.reading() as session:
            found = select(JobRow.reason).where(JobRow.kind == kind, JobRow.repository_id == self.repository.id).order_by(JobRow.id.desc())
            return session.scalar(found) or ""
