"""Starts an emulated GitHub on free ports of this machine.

emulator = serve(Path("/tmp/github"))
Github(base_url=emulator.at.api, auth=...)
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bot.demo.emulator import auth
from bot.demo.emulator.deliveries import Deliveries, Sender, post
from bot.demo.emulator.dispatch import create_emulator
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.shapes import Addresses
from bot.demo.emulator.state import App, State, User

EVENTS = ("check_run", "check_suite", "issue_comment", "pull_request", "pull_request_review_comment", "push", "workflow_run")


def serve(
    directory: Path,
    *,
    webhook_url: str | None = None,
    webhook_secret: str = "emulated-webhook-secret",
    app: App | None = None,
    clock: Callable[[], float] = time.time,
    sender: Sender = post,
    port: int = 0,
) -> Emulator:
    """Start on 127.0.0.1 (``port`` 0: a free one) in a thread of this process; repositories lie under ``directory``.

    A second port serves logs and artifacts, as GitHub's storage is another host. Call ``close()``, or use it in a ``with``.
    """
    sockets = [_listen(port), _listen(0)]
    root, storage = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    emulator = new_emulator(directory, root, storage, webhook_url, webhook_secret, app, clock, sender)
    application = create_emulator(emulator)

    class Droppable(H11Protocol):
        """Remembers the connections, so that a fault can cut one."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            emulator.transports[transport.get_extra_info("peername")[:2]] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            emulator.transports.pop(self.transport.get_extra_info("peername")[:2], None)
            super().connection_lost(exc)

    config = uvicorn.Config(application, http=Droppable, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets}, name="emulator", daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(10)
        for one in sockets:
            one.close()

    emulator.stop = stop
    deadline = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the emulated GitHub did not start; see the error above")
        time.sleep(0.01)
    return emulator


def new_emulator(
    directory: Path,
    root: str,
    storage: str,
    webhook_url: str | None,
    webhook_secret: str,
    app: App | None,
    clock: Callable[[], float],
    sender: Sender,
) -> Emulator:
    """The state and its surroundings, without a server."""
    if app is None:
        private, public = auth.new_key_pair()
        owner, bot = User(1, "ledex-maker", "User"), User(2, "ledex[bot]", "Bot")
        app = App(4242, "ledex", "ledex", owner, bot, private, public, webhook_secret, EVENTS, clock())
    state = State(app, clock)
    state.users |= {one.login.lower(): one for one in (app.owner, app.bot)}
    return Emulator(state, Addresses(f"{root}/api/v3", root), storage, directory, Deliveries(state, webhook_url, sender))


def _listen(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    return one
