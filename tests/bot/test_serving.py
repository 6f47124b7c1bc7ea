"""``ledex serve`` and ``ledex worker`` as processes: jobs survive kill -9, a stop is orderly, and mistakes are one line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from tests import services
from tests.bot import payloads
from tests.bot.payloads import headers

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Bot:
    """Processes of one deployment; ``settings`` are LEDEX_BOT_ variables in lower case."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, role: str = "serve", seconds: float = 0.0) -> subprocess.Popen[str]:
        given = {"webhook_secret": payloads.SECRET, "data_dir": str(self.folder), "sweep_seconds": "0.3", "lease_seconds": "2"}
        given |= dict(self.settings)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEDEX_")}
        environment |= {f"LEDEX_BOT_{name.upper()}": value for name, value in given.items()} | {"PORT": str(self.port)}
        process = subprocess.Popen(
            # Celery warns of its own next version when a worker loses its broker; everything else that warns is an error.
            [sys.executable, "-W", "error" if role == "serve" else "ignore", "-m", "tests.bot.bot_process", role, str(seconds)],
            cwd=ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        self.processes.append(process)
        return process

    def post(self, number: int) -> int:
        body = json.dumps(payloads.failed_run(workflow_run__id=number)).encode()
        given = headers("workflow_run", body, f"guid-{number}")
        return httpx.post(f"http://127.0.0.1:{self.port}/webhook", content=body, headers=given, timeout=20).status_code

    def health(self) -> dict[str, object]:
        answer: dict[str, object] = httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=20).json()
        return answer

    def is_up(self) -> bool:
        try:
            return self.health()["status"] == "ok"
        except httpx.TransportError:
            assert self.processes[-1].poll() is None, self.processes[-1].communicate()[0]
            return False

    def ran(self) -> list[str]:
        file = self.folder / "ran"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def ended(self) -> set[str]:
        return {line.removeprefix("end ") for line in self.ran() if line.startswith("end ")}

    def all_done(self, number: int) -> bool:
        return self.health()["jobs"] == {"done": number}


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def started() -> Iterator[Callable[[Bot], Bot]]:
    """Registers bots, whose processes are killed at the end."""
    with ExitStack() as stack:

        def register(bot: Bot) -> Bot:
            def end() -> None:
                for process in bot.processes:
                    process.kill()
                    process.communicate()

            stack.callback(end)
            return bot

        yield register


def test_a_job_killed_between_the_acknowledgement_and_its_end_runs_after_the_restart(tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    bot = started(Bot(tmp_path))
    process = bot.start(seconds=60)
    until(bot.is_up)
    assert [bot.post(n) for n in range(1, 6)] == [202] * 5  # one begins, four wait in a queue that is in memory only
    until(lambda: len(bot.ran()) == 1)
    process.kill()
    process.wait()
    bot.start()
    until(bot.is_up)
    until(lambda: len(bot.ended()) == 5 and bot.all_done(5))
    assert bot.post(3) == 202, "and a delivery that comes again is still known"
    time.sleep(0.5)
    assert len([line for line in bot.ran() if line.startswith("end")]) == 5


def test_a_job_runs_within_a_second_of_its_delivery(tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    bot = started(Bot(tmp_path, {"sweep_seconds": "600"}))
    bot.start()
    until(bot.is_up)
    begun = time.monotonic()
    bot.post(1)
    until(lambda: len(bot.ended()) == 1)
    assert time.monotonic() - begun < 1.0


def test_a_command_does_not_wait_for_a_slow_repair(tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    bot = started(Bot(tmp_path))
    bot.start(seconds=1.0)
    until(bot.is_up)
    for number in range(1, 5):  # four repairs of a second each, one at a time
        bot.post(number)
    body = json.dumps(payloads.comment("/ledex help")).encode()
    httpx.post(f"http://127.0.0.1:{bot.port}/webhook", content=body, headers=headers("issue_comment", body, "c"), timeout=20)
    until(lambda: any("command:" in key for key in bot.ended()))
    assert len([key for key in bot.ended() if key.startswith("failed_run")]) <= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_lets_the_running_job_end(number: signal.Signals, tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    bot = started(Bot(tmp_path))
    process = bot.start(seconds=1.0)
    until(bot.is_up)
    bot.post(1)
    until(lambda: len(bot.ran()) == 1)
    process.send_signal(number)
    assert process.wait(20) == 0
    assert len(bot.ended()) == 1


def test_a_stopped_server_does_not_wait_for_ever(tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    bot = started(Bot(tmp_path, {"drain_seconds": "0.5"}))
    process = bot.start(seconds=60)
    until(bot.is_up)
    bot.post(1)
    until(lambda: len(bot.ran()) == 1)
    process.terminate()
    assert process.wait(10) == 0
    bot.start()
    until(bot.is_up)
    until(lambda: bot.all_done(1))


def test_a_second_server_on_the_same_file_is_refused_in_one_line(tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    bot = started(Bot(tmp_path))
    bot.start()
    until(bot.is_up)
    second = started(Bot(tmp_path)).start()
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert output.startswith("ledex: another `ledex serve` uses the database")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("role", "settings", "words"),
    [
        ("serve", {"app_id": "x"}, "LEDEX_BOT_APP_ID"),
        ("serve", {"database_url": "postgresql://nobody@127.0.0.1:1/none"}, "cannot be used"),
        ("worker", {}, "LEDEX_BOT_BROKER_URL"),
    ],
)
def test_a_wrong_setting_ends_in_one_line(
    role: str, settings: dict[str, str], words: str, tmp_path: Path, started: Callable[[Bot], Bot]
) -> None:
    process = started(Bot(tmp_path, settings)).start(role)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output.count("\n")) == (1, 1)
    assert words in output


def test_a_port_that_is_taken_is_one_line(tmp_path: Path, started: Callable[[Bot], Bot]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = started(Bot(tmp_path, port=taken.getsockname()[1])).start()
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cannot be listened on" in output
    assert output.count("\n") == 1


# PostgreSQL and Redis


@pytest.fixture
def deployed(tmp_path: Path, postgres_url: str, redis_server: services.Service, started: Callable[[Bot], Bot]) -> Bot:
    settings = {"database_url": postgres_url, "broker_url": redis_server.url, "resend_seconds": "3"}
    return started(Bot(tmp_path, settings))


def test_a_killed_worker_loses_no_job(deployed: Bot) -> None:
    deployed.start()
    until(deployed.is_up)
    worker = deployed.start("worker", seconds=60)
    assert [deployed.post(n) for n in range(1, 4)] == [202] * 3
    until(lambda: len(deployed.ran()) == 1)
    worker.kill()
    worker.wait()
    deployed.start("worker")
    until(lambda: len(deployed.ended()) == 3 and deployed.all_done(3))


def test_a_killed_web_process_and_a_restarted_redis_lose_no_job(deployed: Bot, redis_server: services.Service) -> None:
    web = deployed.start()
    until(deployed.is_up)
    assert [deployed.post(n) for n in range(1, 4)] == [202] * 3
    web.kill()
    web.wait()
    redis_server.restart()
    deployed.start()
    until(deployed.is_up)
    deployed.start("worker")
    until(lambda: len(deployed.ended()) == 3 and deployed.all_done(3))


def test_a_worker_goes_on_after_redis_was_restarted(deployed: Bot, redis_server: services.Service) -> None:
    """A worker whose consumer does not come back ends itself, and is started again by whatever supervises it: here, the test."""
    deployed = replace(deployed, settings={**deployed.settings, "resend_seconds": "2"})
    deployed.start()
    until(deployed.is_up)
    workers = [deployed.start("worker")]
    deployed.post(1)
    until(lambda: deployed.all_done(1))
    redis_server.kill()
    assert deployed.post(2) == 202, "without Redis a delivery is still recorded"
    redis_server.start()

    def supervised() -> bool:
        if workers[-1].poll() is not None:
            workers.append(deployed.start("worker"))
        return deployed.all_done(2)

    until(supervised, 90.0)


def test_a_stopped_worker_ends_with_0(deployed: Bot) -> None:
    deployed.start()
    until(deployed.is_up)
    worker = deployed.start("worker")
    deployed.post(1)
    until(lambda: deployed.all_done(1))
    worker.terminate()
    assert worker.wait(20) == 0
