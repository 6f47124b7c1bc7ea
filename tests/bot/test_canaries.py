"""No token, key or secret anywhere but in the process that uses it: what the bot wrote, logged, posted and kept is searched for each."""

from __future__ import annotations

import io
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.demo.emulator import script, server
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.faults import Fault
from bot.demo.emulator.state import Pull
from bot.demo.stage import SECRET, stage
from bot.export import export
from bot.setting_up import open_bot
from bot.settings import load_settings
from bot.store import count_jobs
from tests import services
from tests.bot import plain_text
from tests.bot.shop import BROKEN, FILES, LOG, SHOP
from tests.bot.staged import StandIn
from tests.faults.storm import wait_for

CANARIES = {
    "LEDEX_BOT_WEBHOOK_SECRET": "canary-webhook-6c1f0a", "LEDEX_BOT_WEBHOOK_SECRET_PREVIOUS": "canary-previous-93ab51",
    "LEDEX_BOT_SERVER_SECRET": "canary-server-secret-5d02c7e4b1a89036f", "LEDEX_INFERENCE_API_KEY": "sk-canary-2f77d1e0c4b94a56",
}  # fmt: skip
DATABASE_PASSWORD, BROKER_PASSWORD = "canary-database-7e21", "canary-broker-b8d4"
NOSY = """
import os
import unittest

from shop import cheapest


def seen():
    found = [repr(dict(os.environ))]
    for name in os.listdir("/proc"):
        for part in ("environ", "cmdline"):
            try:
                with open(f"/proc/{name}/{part}", "rb") as file:
                    found.append(repr(file.read()))
            except OSError:
                pass
    for folder, _, names in os.walk("/run"):
        found += [os.path.join(folder, name) for name in names]
    return " ".join(found)


class TestShop(unittest.TestCase):
    def test_cheapest(self):
        print("SEEN-INSIDE", seen(), "SEEN-ALL")
        self.assertEqual(cheapest([3, 1, 2]), 1)
"""
POLICY = '[environment]\ntest = "python -m unittest"\n[learning]\nuse_feedback = true\nshare_code = true\n'
NOSY_LOG = LOG.replace("test_shop.py::test_cheapest", "test_shop.py::TestShop::test_cheapest")


@dataclass
class Deployment:
    """The bot as it is deployed: a web process and a worker with their secrets in the environment, PostgreSQL and Redis with passwords."""

    emulator: Emulator
    environment: dict[str, str]
    folder: Path

    def settle(self, seconds: float = 240.0) -> None:
        """Wait until every job has ended. Raises TimeoutError."""
        context = open_bot(load_settings(**self.settings()))
        end, quiet = time.monotonic() + seconds, 0
        while quiet < 4:
            self.emulator.settle()
            with context.database.reading() as session:
                counts = count_jobs(session)
            quiet = 0 if counts.get("queued", 0) + counts.get("running", 0) else quiet + 1
            if time.monotonic() > end:
                raise TimeoutError(f"jobs {counts}")
            time.sleep(0.25)
        context.database.engine.dispose()

    def settings(self) -> dict[str, str]:
        return {k.removeprefix("LEDEX_BOT_").lower(): v for k, v in self.environment.items() if k.startswith("LEDEX_BOT_")}


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Raises services.NotInstalled."""
    with ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        address, secret = f"http://127.0.0.1:{port}/webhook", CANARIES["LEDEX_BOT_WEBHOOK_SECRET"]
        emulator = stack.enter_context(server.serve(folder / "github", webhook_url=address, webhook_secret=secret))
        database = stack.enter_context(services.postgres()).url.replace("ledex@", f"ledex:{DATABASE_PASSWORD}@")
        broker = stack.enter_context(services.redis(BROKER_PASSWORD)).url
        app = emulator.state.app
        given = {
            "DATABASE_URL": database, "BROKER_URL": broker, "PRIVATE_KEY": app.private_key, "APP_ID": str(app.id),
            "ACCOUNT_ID": str(app.bot.id), "API_URL": emulator.at.api, "WEB_URL": emulator.at.web, "DATA_DIR": str(folder / "data"),
            "SWEEP_SECONDS": "0.5", "RESEND_SECONDS": "5", "REDELIVERY_SECONDS": "2", "BACKOFF_SECONDS": "0.2"}  # fmt: skip
        environment = {
            **{f"LEDEX_BOT_{name}": value for name, value in given.items()}, **CANARIES, "PORT": str(port), "LOG_EVERYTHING": "1",
            "LEDEX_SANDBOX_CACHE_FOLDER": str(folder / "cache")}  # fmt: skip
        for role in ("serve", "worker"):
            with (folder / f"{role}.log").open("wb") as log:
                argv = [sys.executable, "-m", "tests.faults.bot_process", role]
                process = subprocess.Popen(argv, env={**os.environ, **environment}, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        wait_for(port)
        yield Deployment(emulator, environment, folder)


def said_at_github(emulator: Emulator) -> Iterator[str]:
    yield from (repr(entry.body) for entry in emulator.log)
    yield from (comment.body for comment in emulator.state.comments.values())
    yield from (repr((run.title, run.summary, run.text, run.annotations)) for run in emulator.state.check_runs.values())


def private_lines(key: str) -> list[str]:
    return [line for line in key.splitlines() if line and not line.startswith("-----")]


def test_a_deployment_under_real_work_tells_nobody_a_secret(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    try:
        with deployment(tmp_path) as running:
            emulator = running.emulator
            files = {"shop.py": SHOP, "test_shop.py": NOSY, ".github/ledex.toml": POLICY}
            repository = script.add_repository(emulator, "octo/nosy", files, writers=("maintainer",))

            def fail(branch: str) -> Pull:
                pull = script.open_pull_request(emulator, repository, branch, {"shop.py": BROKEN, f"{branch}.txt": "1\n"})
                script.fail_run(emulator, pull, [script.CiJob("test", NOSY_LOG)])
                running.settle()
                return pull

            first = fail("short")
            short = set(emulator.state.tokens)
            emulator.long_tokens = True
            emulator.state.tokens.clear()  # whatever the bot holds is refused now: it mints anew, in the other form
            for kind in ("500", "403", "drop"):
                emulator.faults.once("POST", "/comments$|/check-runs$", Fault(kind))
            second = fail("long")
            for pull in (first, second):
                script.comment(emulator, pull, "/ledex proof", by="maintainer")
            script.comment(emulator, second, "/ledex apply", by="maintainer")
            running.settle()
            long = set(emulator.state.tokens)
            context = open_bot(load_settings(**running.settings()))
            (tmp_path / "exported").mkdir()
            export(context, tmp_path / "exported" / "out.jsonl", io.StringIO())
            parts = {
                "logs": "\n".join(t for file in tmp_path.glob("*.log") for t in plain_text.of_bytes(file.read_bytes())),
                "files": "\n".join(plain_text.of_folder(tmp_path / "data")),
                "database": "\n".join(plain_text.of_database(context.database)),
                "github": "\n".join(said_at_github(emulator)),
                "exported": "\n".join(plain_text.of_folder(tmp_path / "exported")),
                "shown": f"{context.settings!r} {context!r} {context.database.engine.url!r}",
            }
            context.database.engine.dispose()
            key = emulator.state.app.private_key
    except services.NotInstalled as reason:
        pytest.skip(str(reason))
    assert short
    assert long
    assert all(token.count(".") == 0 and len(token) == 40 for token in short)
    assert all(token.count(".") == 2 for token in long)
    # What is searched is there: the dump of the sandbox in the proof, both fixes, two trajectories with their sources, debugging logs.
    assert "SEEN-INSIDE" in parts["files"]
    assert "SEEN-ALL" in parts["files"]
    assert parts["github"].count("**Fix ready**") >= 2
    assert "**Applied**" in parts["github"]
    assert parts["exported"].count('"messages"') >= 2
    assert "class TestShop" in parts["exported"]
    assert " DEBUG " in parts["logs"]
    secrets = [*short, *long, *CANARIES.values(), DATABASE_PASSWORD, BROKER_PASSWORD, *private_lines(key)]
    assert [(where, secret) for where, text in parts.items() for secret in secrets if secret in text] == []


@pytest.mark.parametrize("long_tokens", [False, True], ids=["ghs_ and 36 characters", "ghs_, App id and JWT"])
def test_one_process_tells_nobody_a_secret(long_tokens: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with stage(tmp_path, extra={"repair": StandIn()}) as running:
        running.emulator.long_tokens = long_tokens
        repository = script.add_repository(running.emulator, "octo/shop", FILES, writers=("maintainer",))
        pull = script.open_pull_request(running.emulator, repository, "cheap", {"shop.py": BROKEN})
        script.fail_run(running.emulator, pull, [script.CiJob("test", LOG)])
        running.settle(60)
        script.comment(running.emulator, pull, "/ledex apply", by="maintainer")
        running.settle(60)
        assert len(script.comments_of(running.emulator, pull)) == 2
        tokens = list(running.emulator.state.tokens)
        parts = [
            *(record.getMessage() for record in caplog.records), *plain_text.of_database(running.context.database),
            *plain_text.of_folder(tmp_path / "bot"), *said_at_github(running.emulator), f"{running.context.settings!r} {running.context!r}",
        ]  # fmt: skip
        key = running.emulator.state.app.private_key
    found = "\n".join(parts)
    assert len(tokens) > 3
    assert all(token.startswith("ghs_") and (token.count(".") == 2) == long_tokens for token in tokens)
    assert [secret for secret in (*tokens, SECRET, *private_lines(key)) if secret in found] == []
