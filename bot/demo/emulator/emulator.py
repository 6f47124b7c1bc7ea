"""One emulated GitHub: its state, its surroundings, and what tests look at afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.demo.emulator.deliveries import Deliveries
from bot.demo.emulator.faults import Faults
from bot.demo.emulator.shapes import Addresses
from bot.demo.emulator.state import State

RATE_LIMIT = 5000  # an hour, each installation


@dataclass(frozen=True)
class LogEntry:
    """One request. ``status`` is None when the connection was dropped; ``done`` says whether the work was committed all the same."""

    at: float
    method: str
    path: str
    owner: str
    status: int | None
    body: Any
    answer: Any
    fault: str | None
    done: bool


@dataclass
class Emulator:
    """One running GitHub. ``violations`` must stay empty: each is a request or an answer that GitHub's description does not allow."""

    state: State
    at: Addresses
    storage: str
    directory: Path
    deliveries: Deliveries
    faults: Faults = field(default_factory=Faults)
    long_tokens: bool = False
    rate_limit: int = RATE_LIMIT
    log: list[LogEntry] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    used: dict[str, tuple[float, int]] = field(default_factory=dict)
    links: dict[str, tuple[float, bytes, str]] = field(default_factory=dict)
    transports: dict[tuple[str, int], asyncio.Transport] = field(default_factory=dict)
    stop: Callable[[], None] = field(default=lambda: None)

    def rates(self, name: str) -> dict[str, int]:
        """limit, remaining, reset (epoch seconds) and used of a caller, as the request log names it."""
        start, used = self.used.get(name, (self.state.clock(), 0))
        return {"limit": self.rate_limit, "remaining": max(0, self.rate_limit - used), "reset": int(start + 3600), "used": used}

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until every webhook that is under way was answered. Raises TimeoutError."""
        self.deliveries.settle(timeout)

    def close(self) -> None:
        self.stop()
        self.deliveries.close()

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
