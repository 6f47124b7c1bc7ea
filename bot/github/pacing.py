"""Time, and what one installation may spend of it: GitHub's secondary limits as token buckets, and the pause that GitHub itself asked for.

One per installation and process. What several worker processes overspend together, GitHub refuses with a time to wait, and that is obeyed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

READ_POINTS, WRITE_POINTS = 1.0, 5.0


@dataclass(frozen=True)
class Clock:
    """Where time comes from, so that tests need none. ``now`` in Unix seconds, ``steady`` never goes backwards, ``jitter`` in [0, 1)."""

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def backoff(self, failures: int) -> None:
        """Half a second, doubled at each failure, up to 8 s, with jitter, so that workers do not come back in step."""
        self.sleep(min(8.0, 0.5 * 2.0**failures) * (0.5 + self.jitter()))


@dataclass(frozen=True)
class Allowance:
    """``amount`` in any ``seconds``: half of it may come at once and half flows back over the window, so no window ever holds more."""

    amount: float
    seconds: float


POINTS = Allowance(900, 60)
CREATIONS_PER_MINUTE = Allowance(80, 60)
CREATIONS_PER_HOUR = Allowance(500, 3600)


class Bucket:
    """``take`` hands out what there is and answers how long to wait for what is owed."""

    def __init__(self, allowance: Allowance, now: float) -> None:
        self.capacity = allowance.amount / 2
        self.rate = allowance.amount / 2 / allowance.seconds
        self._level, self._at = self.capacity, now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` is there; takes nothing."""
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now
        return max(0.0, (amount - self._level) / self.rate)

    def take(self, amount: float) -> None:
        self._level -= amount


class Budget:
    """Safe for threads."""

    def __init__(self, clock: Clock) -> None:
        now = clock.steady()
        self._clock = clock
        self._points, self._minute, self._hour = (Bucket(a, now) for a in (POINTS, CREATIONS_PER_MINUTE, CREATIONS_PER_HOUR))
        self._paused_until = now
        self._lock = threading.Lock()

    def take(self, points: float, *, creates: bool, patience: float) -> float:
        """Seconds to sleep before the request may go. The points are taken if that is no more than ``patience``, else nothing is."""
        with self._lock:
            now = self._clock.steady()
            buckets = [(self._points, points)] + ([(self._minute, 1.0), (self._hour, 1.0)] if creates else [])
            wait = max(self._paused_until - now, *(bucket.wait(amount, now) for bucket, amount in buckets))
            if wait <= patience:
                for bucket, amount in buckets:
                    bucket.take(amount)
            return wait

    def pause(self, seconds: float) -> None:
        """No request of this installation goes before that: going on during a secondary limit can get the App banned."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.steady() + seconds)
