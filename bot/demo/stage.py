"""The whole App against the emulated GitHub, in one process: for the demonstration and the end-to-end tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn

from bot.context import Context
from bot.demo.emulator import server
from bot.demo.emulator.emulator import Emulator
from bot.serving import running
from bot.setting_up import open_bot, timers
from bot.settings import load_settings
from bot.store import count_jobs

SECRET = "emulated-webhook-secret"


@dataclass(frozen=True)
class Stage:
    """A GitHub that runs here, and the bot that serves it."""

    emulator: Emulator
    context: Context
    url: str

    def settle(self, timeout: float = 180.0) -> None:
        """Wait until every webhook was answered and every job has ended. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        quiet = 0
        while quiet < 3:
            self.emulator.settle()
            with self.context.database.reading() as session:
                counts = count_jobs(session)
            busy = counts.get("queued", 0) + counts.get("running", 0)
            quiet = 0 if busy else quiet + 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"{busy} jobs have not ended after {timeout:.0f} s")
            time.sleep(0.05)


@contextmanager
def stage(folder: Path, extra: Mapping[str, Any] | None = None, **settings: Any) -> Iterator[Stage]:
    """Start both in ``folder``. ``settings`` are fields of BotSettings; ``extra`` goes to the handlers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with ExitStack() as stack:
        stack.callback(listener.close)
        emulator = stack.enter_context(server.serve(folder / "github", webhook_url=f"{url}/webhook", webhook_secret=SECRET))
        app = emulator.state.app
        chosen = load_settings(
            webhook_secret=SECRET, app_id=app.id, account_id=app.bot.id, app_slug=app.slug, private_key=app.private_key,
            api_url=emulator.at.api, web_url=emulator.at.web, data_dir=folder / "bot", public_url=url, sweep_seconds=0.5,
            **settings)  # fmt: skip
        chosen.data_dir.mkdir(parents=True, exist_ok=True)
        bot = open_bot(chosen)
        context = replace(bot, extra={**bot.extra, **(extra or {})})
        stack.callback(context.database.engine.dispose)
        application = stack.enter_context(running(context, timers(context)))
        web = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False, lifespan="on"))
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, name="bot", daemon=True)
        thread.start()
        stack.callback(_stop, web, thread)
        while not web.started:
            time.sleep(0.01)
        yield Stage(emulator, context, url)


def _stop(web: uvicorn.Server, thread: threading.Thread) -> None:
    web.should_exit = True
    thread.join(10)
