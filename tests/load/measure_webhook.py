"""How fast deliveries are acknowledged: ``python -m tests.load.measure_webhook`` starts each server in its own process and prints a table.

Two measurements. *Steady*: so many deliveries a second for so long, sent when they are due whether or not answers came (a slow answer
cannot hide the next one); afterwards every delivery must be in the database. *Throughput*: as fast as they are answered, over 16
connections, in turns with two bare routes: one checks the signature and commits one row with the same durability, one only checks it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import func, select, text

from bot.database import open_database
from bot.models import DeliveryRow
from bot.serving import open_context, serve
from bot.settings import load_settings
from bot.webhook import is_signed
from tests import services
from tests.bot.payloads import SECRET, changed, headers, octokit

SIZE = 20_000
MIX = ("workflow_run", "check_run", "pull_request", "check_suite", "push", "issue_comment")
ROLES = ("bot", "bare with commit", "bare without commit")


def requests() -> Iterator[bytes]:
    """Whole HTTP requests, each a delivery of its own: real payloads, filled up to ``SIZE`` bytes."""
    examples = [(name, payload) for name in MIX for payload in octokit(name)]
    bodies = []
    for name, payload in examples:
        body = json.dumps(payload).encode()
        if name == "workflow_run":
            body = json.dumps(changed(payload, action="completed", workflow_run__conclusion="failure")).encode()
        filled = body if len(body) >= SIZE else body[:-1] + b', "filling": "' + os.urandom(SIZE).hex()[: SIZE - len(body)].encode() + b'"}'
        bodies.append((name, filled))
    run = f"{time.time_ns():x}"
    for number in count():
        name, body = bodies[number % len(bodies)]
        given = headers(name, body, f"{run}-{number}") | {"Host": "localhost", "Content-Length": str(len(body))}
        yield b"POST /webhook HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in given.items()).encode() + b"\r\n" + body


class Connection:
    """One kept-alive connection; the client is made to cost little, since it shares the machine."""

    async def open(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def send(self, request: bytes) -> int:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self.reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        self.writer.close()


async def throughput(port: int, seconds: float, connections: int = 16) -> float:
    """Acknowledged deliveries a second."""
    source, answers = requests(), 0
    end = time.perf_counter() + seconds

    async def go_on() -> None:
        nonlocal answers
        connection = Connection()
        await connection.open(port)
        while time.perf_counter() < end:
            assert await connection.send(next(source)) == 202
            answers += 1
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(go_on() for _ in range(connections)))
    return answers / (time.perf_counter() - started)


async def steady(port: int, rate: float, seconds: float) -> list[float]:
    """Milliseconds from when each delivery was due to its acknowledgement."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(64):
        connection = Connection()
        await connection.open(port)
        idle.put_nowait(connection)
    milliseconds: list[float] = []

    async def deliver(request: bytes, due: float) -> None:
        connection = await idle.get()
        assert await connection.send(request) == 202
        milliseconds.append((time.perf_counter() - due) * 1000)
        idle.put_nowait(connection)

    source, start = requests(), time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(deliver(next(source), due))
    while not idle.empty():
        idle.get_nowait().close()
    return milliseconds


def bare_app(url: str | None) -> FastAPI:
    """The least that a webhook must do; ``url``: the database in which it commits one row for each delivery."""
    app = FastAPI()
    database = open_database(url) if url else None
    turn = threading.Lock()
    if database is not None:
        with database.writing() as session:
            session.execute(text("CREATE TABLE bare (guid VARCHAR(100) PRIMARY KEY, body TEXT)"))

    def commit(guid: str, body: bytes) -> None:
        assert database is not None
        # SQLite has one writer at a time; waiting here is quicker than its own polling.
        with turn if database.is_sqlite else threading.Lock(), database.writing() as session:
            session.execute(text("INSERT INTO bare VALUES (:guid, :body)"), {"guid": guid, "body": body.decode()})

    @app.post("/webhook")
    async def webhook(request: Request) -> Response:
        body = await request.body()
        if not is_signed(body, request.headers["x-hub-signature-256"], [SECRET.encode()]):
            return Response(status_code=401)
        if database is not None:
            await run_in_threadpool(commit, request.headers["x-github-delivery"], body)
        return Response(status_code=202)

    return app


def run_server(role: str, port: int, url: str, folder: Path) -> None:
    if role == "bot":
        context = open_context(load_settings(webhook_secret=SECRET, data_dir=folder, database_url=url))
        serve(context, "127.0.0.1", port)
    else:
        uvicorn.run(bare_app(url if role == "bare with commit" else None), port=port, log_level="error", access_log=False)


@contextmanager
def server(role: str, url: str, folder: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tests.load.measure_webhook", "--role", role, str(port), url, str(folder)])
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, f"the server {role!r} did not start"
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def wait_until_idle(port: int) -> None:
    """The jobs that the deliveries asked for must not run while another server is measured."""
    while {"queued", "running"} & set(json.load(urlopen(f"http://127.0.0.1:{port}/healthz"))["jobs"]):
        time.sleep(0.2)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(urls: dict[str, str], folder: Path, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """``urls``: the databases of the bot and of the bare route."""
    with server("bot", urls["bot"], folder) as port:
        asyncio.run(throughput(port, 1.0))  # warm
        milliseconds = asyncio.run(steady(port, rate, seconds))
    database = open_database(urls["bot"])
    with database.reading() as session:
        recorded = session.scalar(select(func.count(DeliveryRow.id))) or 0
    database.engine.dispose()
    speeds: dict[str, list[float]] = {role: [] for role in ROLES}
    with server("bot", urls["bot"], folder) as bot, server(ROLES[1], urls["bare"], folder) as bare, server(ROLES[2], "", folder) as nothing:
        ports = dict(zip(ROLES, (bot, bare, nothing), strict=True))
        for number in range(rounds + 1):
            for role in ROLES:
                speed = asyncio.run(throughput(ports[role], 3.0))
                wait_until_idle(bot)
                if number:  # the first round warms
                    speeds[role].append(speed)
    middle = {role: median(values) for role, values in speeds.items()}
    return {
        "deliveries": len(milliseconds), "lost": max(0, len(milliseconds) - recorded), "p50_ms": percentile(milliseconds, 0.5),
        "p99_ms": percentile(milliseconds, 0.99), "worst_ms": max(milliseconds), "per_second": middle,
        "ratio_to_bare_with_commit": middle["bot"] / middle[ROLES[1]],
        "ratio_to_bare_without_commit": middle["bot"] / middle[ROLES[2]]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--role", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        role, port, url, folder = options.role
        run_server(role, int(port), url, Path(folder))
        return
    with tempfile.TemporaryDirectory(prefix="ledex-load-", dir="/var/tmp") as name:  # /tmp may be memory, where flushing costs nothing
        folder = Path(name)
        if options.database == "sqlite":
            urls = {"bot": f"sqlite:///{folder}/bot.sqlite", "bare": f"sqlite:///{folder}/bare.sqlite"}
            result = measure(urls, folder, options.rate, options.seconds, options.rounds)
        else:
            with services.postgres(durable=True) as service:
                result = measure({"bot": service.url, "bare": service.url}, folder, options.rate, options.seconds, options.rounds)
    print(json.dumps({"database": options.database, "rate": options.rate, **result}, indent=1))


if __name__ == "__main__":
    main()
