"""The answer that never comes: the connection is cut."""

from __future__ import annotations

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from bot.demo.emulator.emulator import Emulator


class Cut(Response):
    """Cuts the connection of the request that it answers, where ``server.serve()`` keeps the connections."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self.emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = self.emulator.transports.get(tuple(scope["client"]))
        if transport is not None:
            transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass
