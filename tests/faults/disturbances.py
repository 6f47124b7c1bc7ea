"""What a storm does to the bot's surroundings: its processes are killed, its database is locked, webhooks are held back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from bot.demo.emulator import deliveries


@dataclass
class Process:
    """One process of the bot that is killed and started again."""

    role: str
    environment: Mapping[str, str]
    log: Path
    kills: int = 0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.bot_process", self.role], env={**os.environ, **self.environment}, stdout=log,
                stderr=log)  # fmt: skip

    def kill(self, *, counted: bool = True) -> None:
        if self.running is not None:
            self.running.send_signal(signal.SIGKILL)
            self.running.wait()
            self.kills += counted

    def revive(self) -> None:
        if self.running is None or self.running.poll() is not None:
            self.start()


@dataclass
class DatabaseLock:
    """Another writer that holds the bot's database for seconds: SQLite's one write lock, or PostgreSQL's tables of jobs and deliveries."""

    address: str
    held: int = 0
    seconds: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)

    def hold(self, seconds: float) -> None:
        """Returns at once; the lock is held from when it is had."""
        thread = threading.Thread(target=self._hold, args=(seconds,), name="database-lock", daemon=True)
        self._threads.append(thread)
        thread.start()

    def release(self) -> None:
        """Wait until none is held any more."""
        for thread in self._threads:
            thread.join()

    def _hold(self, seconds: float) -> None:
        url = make_url(self.address)
        if url.get_backend_name() == "sqlite":
            assert url.database is not None
            with contextlib.closing(sqlite3.connect(url.database, timeout=60, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._keep(seconds)
                connection.execute("ROLLBACK")
        else:
            with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
                # In the order in which the bot writes them: else one of the two would be refused, as a deadlock.
                connection.execute("LOCK TABLE deliveries, jobs IN ACCESS EXCLUSIVE MODE")
                self._keep(seconds)
                connection.rollback()

    def _keep(self, seconds: float) -> None:
        self.held += 1
        self.seconds += seconds
        time.sleep(seconds)


class HoldingBack:
    """Sends webhooks as the emulator does, a share of them late, so that later ones overtake them."""

    def __init__(self, seed: int, share: float = 0.2, most_seconds: float = 2.0, send: deliveries.Sender = deliveries.post) -> None:
        self.count = 0
        self._random, self._share, self._most, self._send = random.Random(seed), share, most_seconds, send
        self._lock = threading.Lock()
        self.wait: Callable[[float], None] = time.sleep

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
        with self._lock:
            late = self._random.random() < self._share
            seconds = self._random.uniform(0.1, self._most)
            self.count += late
        if late:
            self.wait(seconds)
        return self._send(url, body, headers)
