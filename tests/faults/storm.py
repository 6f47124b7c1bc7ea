"""Failed runs, pushes, duplicates and commands against a bot that is killed at random, and a GitHub that fails one call in ten.

``python -m tests.faults.storm --deliveries 300 [--mode embedded|broker]``. What counts is what the emulated GitHub holds after a quiet
period: one comment for each pull request whose head failed, one check run for each such head, one commit for each applied fix.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from bot.comment import marker
from bot.database import open_database
from bot.demo.emulator import script, server
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.faults import FaultPlan
from bot.demo.emulator.state import Pull
from bot.models import DeliveryRow
from bot.store import count_jobs
from tests import services
from tests.bot.shop import BROKEN, FILES, LOG

SECRET = "emulated-webhook-secret"
KINDS = ("403", "422", "429", "secondary", "500", "502", "503", "slow", "drop", "drop_after")


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
class Storm:
    """What happened and what must hold afterwards."""

    emulator: Emulator
    processes: Sequence[Process]
    database: str
    seed: int
    pulls: list[Pull] = field(default_factory=list)
    applied: list[Pull] = field(default_factory=list)
    restarts: int = 0
    redis_share: float = 0.2
    linger_seconds: float = 3.0

    def rage(self, deliveries: int, redis: services.Service | None = None) -> None:
        """Make things happen until so many webhooks were sent."""
        random_ = random.Random(self.seed)
        self.emulator.faults.follow(FaultPlan(self.seed, 0.1, KINDS, seconds=0.5))
        next_kill = time.monotonic() + 1.0
        while len(self.emulator.deliveries.kept) < deliveries:
            self._event(random_)
            time.sleep(random_.uniform(0.1, 0.5))
            if time.monotonic() > next_kill:
                random_.choice(self.processes).kill()
                next_kill = time.monotonic() + random_.uniform(1.0, 4.0)
                if redis is not None and random_.random() < self.redis_share:
                    redis.restart()
                    self.restarts += 1
            for process in self.processes:
                process.revive()

    def calm(self, timeout: float) -> None:
        """No more faults and kills: wait until every delivery arrived and every job has ended. Raises TimeoutError."""
        self._linger()
        self.emulator.faults.follow(FaultPlan())
        database = open_database(self.database)
        deadline = time.monotonic() + timeout
        quiet = 0
        while quiet < 6:
            for process in self.processes:
                process.revive()
            self.emulator.settle()
            with database.reading() as session:
                counts = count_jobs(session)
                lost = self._lost(set(session.scalars(select(DeliveryRow.guid))))
            busy = counts.get("queued", 0) + counts.get("running", 0) + lost
            quiet = 0 if busy else quiet + 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout:.0f} s: jobs {counts}, {lost} deliveries lost")
            time.sleep(0.5)
        database.engine.dispose()

    def _linger(self) -> None:
        """No kills, and calls still fail: on a slow machine most of a short life is starting, and few calls were made in it."""
        end = time.monotonic() + self.linger_seconds
        while time.monotonic() < end:
            for process in self.processes:
                process.revive()
            time.sleep(0.1)

    def faults(self) -> Iterator[str]:
        """Everything that is not as it must be."""
        yield from self.emulator.violations
        for pull in self.pulls:
            where = f"{pull.repository.full_name}#{pull.number}"
            stickies = [c for c in script.comments_of(self.emulator, pull) if c.body.startswith(marker(pull.number))]
            if len(stickies) != 1:
                yield f"{where} has {len(stickies)} comments of ours instead of one"
            heads = [c.suite.head_sha for c in script.check_runs_of(self.emulator, pull)]
            if len(heads) != len(set(heads)):
                yield f"{where} has {len(heads)} check runs on {len(set(heads))} heads"
        for entry in self.emulator.log:
            if entry.method == "POST" and entry.path.endswith("/pulls") and entry.done:
                yield f"a pull request was opened: {entry.path}"

    def _lost(self, recorded: set[str]) -> int:
        """Deliveries that were neither answered with 2xx nor recorded: one that was killed between the two is not lost."""
        arrived = {d.guid for d in self.emulator.deliveries.kept if 200 <= d.code < 300}
        return len({d.guid for d in self.emulator.deliveries.kept} - arrived - recorded)

    def _event(self, random_: random.Random) -> None:
        choice = random_.random()
        if choice < 0.35 or not self.pulls:
            number = len(self.pulls) + 1
            repository = script.add_repository(self.emulator, f"octo/shop-{number}", FILES, writers=("maintainer",))
            fork = "stranger" if random_.random() < 0.2 else None
            pull = script.open_pull_request(self.emulator, repository, "cheap", {"shop.py": BROKEN}, from_fork=fork)
            script.fail_run(self.emulator, pull, [script.CiJob(f"test ({n})", LOG) for n in range(random_.randint(1, 3))])
            self.pulls.append(pull)
        elif choice < 0.55:
            pull = random_.choice(self.pulls)
            if not pull.is_fork:
                script.push(self.emulator, pull.repository, "cheap", {"notes.txt": f"{random_.random()}\n"})
                script.fail_run(self.emulator, pull, [script.CiJob("test", LOG)])
        elif choice < 0.7:
            script.fail_run(self.emulator, random_.choice(self.pulls), [script.CiJob("again", LOG)], workflow="Nightly")
        else:  # somebody presses "Redeliver"
            self.emulator.deliveries.redeliver(random_.choice(self.emulator.deliveries.kept).id)


def run(deliveries: int, mode: str, seed: int, folder: Path, patience: float = 240.0) -> Storm:
    """One storm; the caller looks at ``faults()``."""
    port = _free_port()
    with ExitStack() as stack:
        address = f"http://127.0.0.1:{port}/webhook"
        emulator = stack.enter_context(server.serve(folder / "github", webhook_url=address, webhook_secret=SECRET))
        app = emulator.state.app
        data = folder / "bot"
        data.mkdir()
        database, redis = f"sqlite:///{data}/ledex.sqlite", None
        environment = {
            "WEBHOOK_SECRET": SECRET, "APP_ID": str(app.id), "ACCOUNT_ID": str(app.bot.id), "PRIVATE_KEY": app.private_key,
            "API_URL": emulator.at.api, "WEB_URL": emulator.at.web, "DATA_DIR": str(data), "SWEEP_SECONDS": "0.5", "LEASE_SECONDS": "4",
            "RESEND_SECONDS": "5", "REDELIVERY_SECONDS": "2", "MAX_ATTEMPTS": "40", "REPAIR_WORKERS": "2"}  # fmt: skip
        if mode == "broker":
            database = stack.enter_context(services.postgres()).url
            redis = stack.enter_context(services.redis())
            environment |= {"DATABASE_URL": database, "BROKER_URL": redis.url}
        given = {f"LEDEX_BOT_{name}": value for name, value in environment.items()} | {"PORT": str(port)}
        roles = ("serve", "worker") if mode == "broker" else ("serve",)
        processes = [Process(role, given, folder / f"{role}.log") for role in roles]
        storm = Storm(emulator, processes, database, seed, linger_seconds=deliveries / 10)
        for process in processes:
            stack.callback(process.kill, counted=False)
        for process in processes:
            process.start()
        _wait_for(port)
        storm.rage(deliveries, redis)
        storm.calm(patience)
        return storm


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError("the bot did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=300)
    parser.add_argument("--mode", choices=("embedded", "broker", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = 0
    for mode in ("embedded", "broker") if options.mode == "both" else (options.mode,):
        with tempfile.TemporaryDirectory(prefix="ledex-storm-") as name:
            storm = run(options.deliveries, mode, options.seed, Path(name), patience=900.0)
            found = list(storm.faults())
            calls = len(storm.emulator.log)
            print(
                f"{mode}: {len(storm.emulator.deliveries.kept)} deliveries, {len(storm.pulls)} pull requests, {calls} calls of which "
                f"{sum(storm.emulator.faults.drawn.values())} failed, {sum(p.kills for p in storm.processes)} kills, "
                f"{storm.restarts} restarts of Redis: {len(found)} faults"
            )
            for fault in found:
                print(f"  {fault}")
            wrong += len(found)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
