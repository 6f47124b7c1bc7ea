"""The other host: logs and artifacts behind links that last a minute, and that refuse any request which brings credentials along."""

from __future__ import annotations

import asyncio
import secrets

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from bot.demo.emulator.cut import Cut
from bot.demo.emulator.emulator import Emulator

LINK_SECONDS = 60


def link(emulator: Emulator, content: bytes, kind: str) -> str:
    """A fresh address for ``content`` of the media type ``kind``."""
    key = secrets.token_urlsafe(24)
    now = emulator.state.clock()
    for old in [name for name, (until, _, _) in emulator.links.items() if until < now]:
        del emulator.links[old]
    emulator.links[key] = (now + LINK_SECONDS, content, kind)
    return f"{emulator.storage}/storage/{key}?sig={secrets.token_hex(8)}"


def add(application: FastAPI, emulator: Emulator) -> None:
    """Serve the links on the storage port alone."""

    @application.get("/storage/{key}", response_model=None)
    async def download(request: Request, key: str) -> Response:
        if request.scope["server"][1] != int(emulator.storage.rsplit(":", 1)[1]):
            return PlainTextResponse("not here", 404)
        if "authorization" in request.headers:
            # Azure's storage answers so: the signature in the link and a second set of credentials exclude each other.
            return PlainTextResponse("InvalidAuthenticationInfo: only one authentication method is allowed", 400)
        fault = emulator.faults.draw("STORAGE", request.url.path)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        elif fault and fault.kind in ("drop", "drop_after"):
            return Cut(emulator)
        elif fault:
            return PlainTextResponse("ServerBusy", 503)
        with emulator.state.lock:
            until, content, kind = emulator.links.get(key, (0.0, b"", ""))
            if until < emulator.state.clock():
                return PlainTextResponse("AuthenticationFailed: the link has expired", 403)
        return Response(content, media_type=kind)
