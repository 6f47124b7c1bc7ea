"""Whether a worker still reads its queues. A consumer can lose its broker without noticing; the job table shows that nobody comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bot.models import JobRow

STARTING_SECONDS = 120.0
"""On a busy machine a start takes long, and one that is cut off never ends."""


@dataclass
class Pulse:
    """For each queue of this process: how many jobs run now, and when one was last begun or ended, or the queue began to be read. Until it
    is read a process that ``started`` then is given STARTING_SECONDS more."""

    started: float
    _running: dict[str, int] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def beating(self, queue: str, clock: Callable[[], float]) -> Iterator[None]:
        """Around one message of ``queue``. Its end is a pulse too: the next message is only asked for then."""
        with self._lock:
            self._running[queue] = self._running.get(queue, 0) + 1
            self._last[queue] = clock()
        try:
            yield
        finally:
            with self._lock:
                self._running[queue] -= 1
                self._last[queue] = clock()

    def ready(self, queue: str, now: float) -> None:
        """The queue is read from now on, for the first time or again."""
        with self._lock:
            self._last[queue] = now

    def is_silent(self, queue: str, since: float) -> bool:
        """Whether nothing of ``queue`` runs, and no message of it came since a moment."""
        with self._lock:
            return not self._running.get(queue, 0) and self._last.get(queue, self.started + STARTING_SECONDS) < since


def unread_queues(session: Session, pulse: Pulse, queues: Sequence[str], now: float, seconds: float) -> list[str]:
    """Queues with jobs that have been due for ``seconds`` while this process, which should read them, got no message for as long."""
    waiting = select(JobRow.queue, func.count(JobRow.id).label("number")).where(
        JobRow.state == "queued", JobRow.queue.in_(queues), JobRow.not_before < now - seconds, JobRow.created_at < now - seconds,
        JobRow.sent_at.is_not(None), JobRow.updated_at < now - seconds)  # fmt: skip
    due = {row.queue: row.number for row in session.execute(waiting.group_by(JobRow.queue))}
    return [queue for queue in queues if due.get(queue) and pulse.is_silent(queue, now - seconds)]
