"""Whether a worker still reads its queues. A consumer can lose its broker without noticing; the job table shows that nobody comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bot.models import JobRow


@dataclass
class Pulse:
    """For each queue of this process: how many jobs run now, and when one was last begun or ended."""

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

    def is_silent(self, queue: str, since: float) -> bool:
        """Whether nothing of ``queue`` runs, and no message of it came since a moment."""
        with self._lock:
            return not self._running.get(queue, 0) and max(self._last.get(queue, 0.0), self.started) < since


def unread_queues(session: Session, pulse: Pulse, queues: Sequence[str], now: float, seconds: float) -> list[str]:
    """Queues with jobs that have been due for ``seconds`` while this process, which should read them, got no message for as long."""
    waiting = select(JobRow.queue, func.count(JobRow.id).label("number")).where(
        JobRow.state == "queued", JobRow.queue.in_(queues), JobRow.not_before < now - seconds, JobRow.created_at < now - seconds,
        JobRow.sent_at.is_not(None), JobRow.updated_at < now - seconds)  # fmt: skip
    due = {row.queue: row.number for row in session.execute(waiting.group_by(JobRow.queue))}
    return [queue for queue in queues if due.get(queue) and pulse.is_silent(queue, now - seconds)]
