"""The sandbox as a process of its own: repairs asked for over a Unix socket by a worker that has the secrets, done by one that has none.

Both see the folder of fetched repositories at the same path. What comes back is data: it is parsed as an Outcome, never unpickled.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, ValidationError

from bot import BotConfigurationError, BotError
from bot.contained import repair_anywhere
from bot.scratch import scratch
from bot.settings import PREFIX
from inference import InferenceError
from inference.outcome import Outcome
from inference.repair import RepairRequest
from sandbox import SandboxError
from sandbox.frameworks.records import Coverage

log = logging.getLogger(__name__)
MAX_ANSWER = 64 * 1024 * 1024
SECRETS = (
    "WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS", "PRIVATE_KEY", "PRIVATE_KEY_FILE", "PROOF_KEY_FILE", "SERVER_SECRET", "DATABASE_URL",
    "BROKER_URL")  # fmt: skip
MODEL_KEY = "LEDEX_INFERENCE_API_KEY"
"""A model that wants a key is asked through a proxy that adds it (see the runbook)."""
_MARGIN_SECONDS = 900.0
"""Beside set-up and budget a repair reproduces the failure and may wait for its turn; a worker that hangs longer gives the job back."""


class _Wire(BaseModel):
    # Patches are bytes of any encoding, and the scores of hopeless candidates are infinite.
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants", arbitrary_types_allowed=False)


class Asked(_Wire):
    request: RepairRequest


class Answered(_Wire):
    outcome: Outcome


class SandboxUnreachable(BotError):
    """The sandbox's process did not answer: an attempt that failed, to be made again."""


def create_service(repositories: Path, repairs: int = 1) -> FastAPI:
    """The application. Only repositories below ``repositories`` are looked at, ``repairs`` of them at once."""
    app = FastAPI(openapi_url=None)
    turn = threading.Semaphore(repairs)
    root = repositories.resolve()

    def repair(asked: Asked) -> Response:
        if not asked.request.path.resolve().is_relative_to(root):
            return Response("the path lies outside the folder of repositories", 400)
        with turn:
            try:
                # Whoever asks cannot switch the isolation off, nor name an interpreter of this container.
                outcome = repair_anywhere(replace(asked.request, unsafe=False, python=None))
            except (SandboxError, InferenceError) as error:
                outcome = Outcome("broken", str(error))
        return Response(Answered(outcome=told(outcome)).model_dump_json(), media_type="application/json")

    @app.post("/repair")
    async def asked_for(request: Request) -> Response:
        try:
            asked = Asked.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(f"no repair request: {error.error_count()} mistakes", 400)
        return await run_in_threadpool(repair, asked)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def told(outcome: Outcome) -> Outcome:
    """Without what only the search needed; it may be large."""
    if outcome.reproduction is not None:
        outcome = replace(outcome, reproduction=replace(outcome.reproduction, coverage=Coverage()))
    return replace(outcome, suspects=(), search=replace(outcome.search, ranked=[]))


class RemoteRepair:
    """``repair_checkout`` done by the service at ``socket``. Raises SandboxUnreachable."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def __call__(self, request: RepairRequest) -> Outcome:
        if not self.socket.is_socket():
            raise SandboxUnreachable(f"there is no socket at {self.socket}: is `ledex sandbox` running?")
        body = Asked(request=replace(request, path=request.path.resolve())).model_dump_json()
        timeout = httpx.Timeout(request.setup_timeout + request.budget + _MARGIN_SECONDS, connect=10)
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=timeout, trust_env=False) as client:
                return _outcome(client, body)
        except httpx.HTTPError as error:
            raise SandboxUnreachable(f"no answer at {self.socket} ({type(error).__name__}): is `ledex sandbox` running?") from None
        except ValidationError:
            raise SandboxUnreachable(f"what answers at {self.socket} is no `ledex sandbox` of this version") from None


def _outcome(client: httpx.Client, body: str) -> Outcome:
    with client.stream("POST", "http://sandbox/repair", content=body) as answer:
        text = bytearray()
        for part in answer.iter_bytes():
            text += part
            if len(text) > MAX_ANSWER:
                raise SandboxUnreachable("the sandbox's answer is longer than any outcome: look at its log")
        if answer.status_code != 200:
            raise SandboxUnreachable(f"the sandbox refused the request ({answer.status_code}): {text[:200].decode(errors='replace')}")
    return Answered.model_validate_json(bytes(text)).outcome


def check_bare(environment: Mapping[str, str]) -> None:
    """Raises BotConfigurationError when this process was given a secret that it must not have."""
    names = [*(f"{PREFIX}{name}" for name in SECRETS), MODEL_KEY]
    if found := [name for name in names if environment.get(name)]:
        raise BotConfigurationError(f"`ledex sandbox` runs strangers' code and must have no secret: unset {', '.join(found)}")


def serve_sandbox(socket: Path, repositories: Path, repairs: int = 1, environment: Mapping[str, str] | None = None) -> None:
    """Answer at ``socket`` until a signal comes. Raises BotConfigurationError."""
    import uvicorn

    check_bare(os.environ if environment is None else environment)
    if not socket.parent.is_dir():
        raise BotConfigurationError(f"{socket.parent} is no folder: make it, or give --socket another path")
    socket.unlink(missing_ok=True)  # one that was left behind refuses connections
    options: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "off"}
    with scratch():
        uvicorn.Server(uvicorn.Config(create_service(repositories, repairs), uds=str(socket), **options)).run()
