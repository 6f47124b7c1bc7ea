"""Failed runs, pushes, duplicates and commands against a bot that is killed at random, and a GitHub that fails one call in ten.

``python -m tests.faults.storm --deliveries 300 [--mode embedded|broker|both]``. Repairs are real. Webhooks come twice and out of order, the
database is held by another writer for seconds, Redis is killed and started again. Calls fail until every job has ended; then it is quiet,
and ``promises.py`` reads from the emulated GitHub's own log whether each thing was done once. Where one was not, everything about its pull
request is printed (``evidence.py``), and the folder is kept; ``--keep`` keeps it in any case.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from bot.database import open_database
from bot.demo.emulator import script, server
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.faults import FaultPlan
from bot.models import DeliveryRow, RunRow
from bot.store import count_jobs
from tests import services
from tests.bot.shop import BROKEN
from tests.faults import evidence
from tests.faults.disturbances import DatabaseLock, HoldingBack, Process
from tests.faults.promises import Watched, broken, is_fixed
from tests.faults.shop import FILES, LOG

SECRET = "emulated-webhook-secret"
KINDS = ("403", "422", "429", "secondary", "500", "502", "503", "slow", "drop", "drop_after")
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "GIT", "STORAGE")
OWNERS = 8
"""Each is an installation with limits of its own, as the many accounts are that so many failures come from."""
MOST_PUSHES = 2
EVIDENCE = "evidence"
"""The folder with what is read when something is not as it must be."""


@dataclass
class Storm:
    """What happened, and what must hold afterwards."""

    emulator: Emulator
    processes: Sequence[Process]
    lock: DatabaseLock
    late: HoldingBack
    seed: int
    watched: list[Watched] = field(default_factory=list)
    pushes: dict[str, int] = field(default_factory=dict)
    start_seconds: float = 1.0
    """What a process of the bot takes to start here: a kill before that would only ever hit the start."""
    luck: random.Random = field(init=False)
    victims: Iterator[Process] = field(init=False)
    restarts: int = 0
    fixed: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.luck, self.victims = random.Random(self.seed), itertools.cycle(self.processes)

    @property
    def pace(self) -> float:
        """On a slow machine everything takes its time."""
        return max(1.0, self.start_seconds / 3)

    def rage(self, deliveries: int, redis: services.Service | None = None) -> None:
        """Make things happen until so many webhooks were sent. Processes are killed in turn; at set shares of the way the database is
        locked and Redis restarted, so that no run is without."""
        random_ = self.luck
        self.emulator.faults.follow(FaultPlan(self.seed, 0.1, KINDS, METHODS, seconds=0.5))
        large = deliveries >= 100
        longest = 12.0 if large else 3.0
        blows: list[tuple[float, Callable[[], None]]] = [
            (share, lambda: self.lock.hold(random_.uniform(2.0, longest))) for share in ((0.15, 0.35, 0.55, 0.8) if large else (0.4,))
        ]
        if redis is not None:
            blows += [(share, lambda: self._restart(redis)) for share in ((0.25, 0.5, 0.75) if large else (0.6,))]
        blows.sort(key=lambda blow: blow[0])
        next_kill = time.monotonic() + random_.uniform(1.0, 4.0)
        while (sent := len(self.emulator.deliveries.kept)) < deliveries or blows:
            if sent < deliveries:
                self._event(random_)
            time.sleep(self.pace * random_.uniform(0.3, 1.2))
            while blows and blows[0][0] * deliveries <= sent:
                blows.pop(0)[1]()
            if time.monotonic() > next_kill:
                next(self.victims).kill()
                next_kill = time.monotonic() + self.start_seconds + self.pace * random_.uniform(1.0, 6.0)
            self._revive()

    def harass(self, kills: int) -> None:
        """Nothing new fails; what is worked on is cut off now and then, while fixes that were posted are applied and stacked."""
        for _ in range(kills):
            time.sleep(self.start_seconds + self.pace * self.luck.uniform(1.0, 6.0))
            self.ask(1)
            time.sleep(self.pace * self.luck.uniform(0.0, 2.0))
            next(self.victims).kill()
            self._revive()

    def calm(self, timeout: float, quiet_seconds: float = 3.0) -> None:
        """No more kills: wait until every delivery arrived and every job has ended, calls failing all the while, and through a quiet
        period. Raises TimeoutError."""
        self.lock.release()
        database = open_database(self.lock.address)
        deadline = time.monotonic() + timeout
        quiet_since: float | None = None
        while quiet_since is None or time.monotonic() < quiet_since + quiet_seconds:
            self._revive()
            self.emulator.settle()
            with database.reading() as session:
                counts = count_jobs(session)
                lost = self._lost(set(session.scalars(select(DeliveryRow.guid))))
                self.fixed = session.scalar(select(func.count(RunRow.id)).where(RunRow.outcome == "fixed")) or 0
            quiet_since = None if counts.get("queued", 0) + counts.get("running", 0) + lost else quiet_since or time.monotonic()
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout:.0f} s: jobs {counts}, {lost} deliveries lost")
            time.sleep(0.5)
        database.engine.dispose()

    def ask(self, most: int) -> None:
        """A maintainer wants fixes that were posted: applied and stacked in turn, each said twice."""
        ready = [one for one in self.watched if one.asked is None and not one.pull.is_fork and is_fixed(self.emulator, one)]
        for one in ready[:most]:
            one.asked = ("apply", "pr")[sum(other.asked is not None for other in self.watched) % 2]
            for _ in range(2):
                script.comment(self.emulator, one.pull, f"/ledex {one.asked}", by="maintainer")

    def faults(self) -> list[str]:
        """Everything that is not as it must be."""
        return list(broken(self.emulator, self.watched))

    def summary(self) -> str:
        kept, drawn = self.emulator.deliveries.kept, sum(self.emulator.faults.drawn.values())
        asked = self.emulator.faults.asked
        repeated = sum(d.redelivery for d in kept)
        commands = sum(one.asked is not None for one in self.watched)
        return (
            f"{len(kept)} deliveries ({repeated} repeated, {self.late.count} held back), {len(self.watched)} pull requests, "
            f"{self.fixed} failures repaired in the sandbox, {commands} applied or stacked, {asked} calls of which {drawn} "
            f"({100 * drawn / max(asked, 1):.1f} %) failed, {sum(p.kills for p in self.processes)} kills, database locked "
            f"{self.lock.held} times for {self.lock.seconds:.0f} s, {self.restarts} restarts of Redis, {self.seconds:.0f} s"
        )

    def _restart(self, redis: services.Service) -> None:
        redis.restart()
        self.restarts += 1

    def _revive(self) -> None:
        for process in self.processes:
            process.revive()

    def _lost(self, recorded: set[str]) -> int:
        """Deliveries that were neither answered with 2xx nor recorded: one that was killed between the two is not lost."""
        arrived = {d.guid for d in self.emulator.deliveries.kept if 200 <= d.code < 300}
        return len({d.guid for d in self.emulator.deliveries.kept} - arrived - recorded)

    def _event(self, random_: random.Random) -> None:
        choice = random_.random()
        free = [one for one in self.watched if one.asked is None]
        if choice < 0.25 or not free:
            self._open(random_)
        elif choice < 0.37:
            one = random_.choice(free)
            if not one.pull.is_fork and self.pushes.get(one.where, 0) < MOST_PUSHES:
                self.pushes[one.where] = self.pushes.get(one.where, 0) + 1
                script.push(self.emulator, one.pull.repository, "cheap", {"notes.txt": f"{random_.random()}\n"})
                self._fail(one, "test")
        elif choice < 0.47:
            self._fail(random_.choice(free), "again", workflow="Nightly")
        elif choice < 0.7:
            ready = [one for one in free if not one.pull.is_fork and is_fixed(self.emulator, one)]
            if ready:
                one = random_.choice(ready)
                one.asked = random_.choice(("apply", "pr"))
                script.comment(self.emulator, one.pull, f"/ledex {one.asked}", by="maintainer")
        else:  # somebody presses "Redeliver"
            self.emulator.deliveries.redeliver(random_.choice(self.emulator.deliveries.kept).id)

    def _open(self, random_: random.Random) -> None:
        number = len(self.watched) + 1
        name = f"octo-{number % OWNERS}/shop-{number}"
        repository = script.add_repository(self.emulator, name, FILES, writers=("maintainer",))
        fork = "stranger" if random_.random() < 0.2 else None
        one = Watched(script.open_pull_request(self.emulator, repository, "cheap", {"shop.py": BROKEN}, from_fork=fork))
        self._fail(one, *(f"test ({n})" for n in range(random_.randint(1, 3))))
        self.watched.append(one)

    def _fail(self, one: Watched, *jobs: str, workflow: str = "CI") -> None:
        script.fail_run(self.emulator, one.pull, [script.CiJob(name, LOG) for name in jobs], workflow=workflow)
        one.failed = one.pull.head_sha


def run(deliveries: int, mode: str, seed: int, folder: Path, patience: float = 240.0) -> Storm:
    """One storm; the caller looks at ``faults()``."""
    started, port = time.monotonic(), _free_port()
    with ExitStack() as stack:
        address, late = f"http://127.0.0.1:{port}/webhook", HoldingBack(seed)
        emulator = stack.enter_context(server.serve(folder / "github", webhook_url=address, webhook_secret=SECRET, sender=late))
        app = emulator.state.app
        data, scratch = folder / "bot", folder / "scratch"
        for made in (data, scratch):
            made.mkdir()
        database, redis = f"sqlite:///{data}/ledex.sqlite", None
        environment = {
            "WEBHOOK_SECRET": SECRET, "APP_ID": str(app.id), "ACCOUNT_ID": str(app.bot.id), "PRIVATE_KEY": app.private_key,
            "API_URL": emulator.at.api, "WEB_URL": emulator.at.web, "DATA_DIR": str(data), "SWEEP_SECONDS": "0.5", "LEASE_SECONDS": "6",
            "RESEND_SECONDS": "10", "REDELIVERY_SECONDS": "2", "MAX_ATTEMPTS": "40", "BACKOFF_SECONDS": "0.5", "REPAIR_WORKERS": "2",
            "REPAIR_SECONDS": "60"}  # fmt: skip
        if mode == "broker":
            database = stack.enter_context(services.postgres()).url
            redis = stack.enter_context(services.redis())
            environment |= {"DATABASE_URL": database, "BROKER_URL": redis.url}
        given = {f"LEDEX_BOT_{name}": value for name, value in environment.items()} | {"PORT": str(port)}
        # What a killed repair leaves in the temporary folder goes with the storm.
        given |= {"TMPDIR": str(scratch), "LEDEX_SANDBOX_CACHE_FOLDER": str(folder / "cache")}
        roles = ("worker", "serve") if mode == "broker" else ("serve",)
        processes = [Process(role, given, folder / f"{role}.log") for role in roles]
        storm = Storm(emulator, processes, DatabaseLock(database), late, seed)
        for process in processes:
            stack.callback(process.kill, counted=False)
        for process in reversed(processes):
            process.start()
        stack.callback(lambda: evidence.keep(emulator, database, folder / EVIDENCE))
        storm.start_seconds = wait_for(port)
        storm.rage(deliveries, redis)
        large = deliveries >= 100
        storm.harass(8 if large else 0)
        storm.calm(patience, quiet_seconds=1.0)
        storm.ask(6 if large else 2)
        storm.harass(1)
        storm.calm(patience)
        storm.seconds = time.monotonic() - started
        return storm


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def wait_for(port: int) -> float:
    """Seconds until something listens there. Raises TimeoutError."""
    started = time.monotonic()
    while time.monotonic() < started + 120:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return time.monotonic() - started
        time.sleep(0.1)
    raise TimeoutError("the bot did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=300)
    parser.add_argument("--mode", choices=("embedded", "broker", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the folder of a storm without faults too")
    options = parser.parse_args()
    wrong = 0
    for mode in ("embedded", "broker") if options.mode == "both" else (options.mode,):
        wrong += reported(options.deliveries, mode, options.seed, options.keep)
    raise SystemExit(1 if wrong else 0)


def reported(deliveries: int, mode: str, seed: int, always_keep: bool) -> int:
    """Run one storm and print what happened. Its folder is kept when there was a fault, or no end. Returns the number of faults."""
    folder = Path(tempfile.mkdtemp(prefix=f"ledex-storm-{mode}-{seed}-"))
    folder.chmod(0o755)
    found: list[str] | None = None
    try:
        storm = run(deliveries, mode, seed, folder, patience=1200.0)
        found = storm.faults()
        print(f"{mode}, seed {seed}: {storm.summary()}: {len(found)} faults", flush=True)
        for line in evidence.explained(storm.watched, found, folder / EVIDENCE):
            print(f"  {line}")
    finally:
        if always_keep or found != []:
            print(f"  kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return len(found)


if __name__ == "__main__":
    main()
