"""POST /webhook: verify, record, acknowledge. Nothing is written before the signature was found right, and nothing is worked on here."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect

from bot import planning
from bot.events import HEAD_ACTIONS, Installation, PullRequestChange
from bot.payloads import PayloadError, parse
from bot.planning import Filters
from bot.recorder import Recorder
from bot.store import Delivery

log = logging.getLogger(__name__)
BIGGEST_BODY = 25 * 1024 * 1024
"""GitHub sends nothing larger."""
LARGE_BODY = 256 * 1024
"""Bodies above this are read in a thread, so that one of them does not hold up all the others."""
DELIVERY_ID = re.compile(r"[\w.-]{1,100}", re.ASCII)
EVENT_NAME = re.compile(r"\w{1,100}", re.ASCII)


class Refusal(Exception):
    """An answer other than 202."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def webhook_router(secrets: Sequence[bytes], filters: Callable[[], Filters], recorder: Recorder) -> APIRouter:
    """The route. ``secrets``: a signature made with any of them is right; with none, every delivery is refused."""
    router = APIRouter()

    @router.post("/webhook")
    async def webhook(request: Request) -> JSONResponse:
        try:
            return await receive(request, secrets, filters(), recorder)
        except Refusal as refusal:
            # The rest of a body that was not read cannot be told from a next request.
            headers = {"connection": "close"} if refusal.status in (401, 413, 503) else None
            return JSONResponse({"detail": refusal.detail}, refusal.status, headers)

    return router


async def receive(request: Request, secrets: Sequence[bytes], filters: Filters, recorder: Recorder) -> JSONResponse:
    """Raises Refusal for everything that is not acknowledged."""
    if not secrets:
        raise Refusal(503, "no webhook secret is set on this server, so no delivery can be trusted: set LEDEX_BOT_WEBHOOK_SECRET")
    signature = request.headers.get("x-hub-signature-256", "")
    if not signature:
        raise Refusal(401, "the signature is missing: set the same secret at GitHub and on this server")
    body = await read_body(request)
    if not is_signed(body, signature, secrets):
        raise Refusal(401, "the signature is wrong: set the same secret at GitHub and on this server")
    guid, name = request.headers.get("x-github-delivery", ""), request.headers.get("x-github-event", "")
    if not DELIVERY_ID.fullmatch(guid) or not EVENT_NAME.fullmatch(name):
        raise Refusal(400, "X-GitHub-Delivery or X-GitHub-Event is missing or malformed")
    if len(body) > LARGE_BODY:
        delivery = await asyncio.to_thread(understand, guid, name, body, filters)
    else:
        delivery = understand(guid, name, body, filters)
    try:
        is_new = await recorder.record(delivery)
    except SQLAlchemyError as error:
        log.error("delivery %s could not be recorded: %s", guid, type(error).__name__)
        raise Refusal(503, "the database cannot be written at the moment; GitHub keeps the delivery, and it is asked for again") from None
    return JSONResponse({"status": delivery.state if is_new else "duplicate", "reason": delivery.reason if is_new else None}, 202)


async def read_body(request: Request) -> bytes:
    """Raises Refusal as soon as it is too large, without reading the rest."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > BIGGEST_BODY:
        raise Refusal(413, "the body is larger than 25 MB")
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > BIGGEST_BODY:
                raise Refusal(413, "the body is larger than 25 MB")
            parts.append(part)
    except ClientDisconnect:
        raise Refusal(400, "the body ended early") from None  # nobody reads this, but the request has to end somehow
    return b"".join(parts)


def is_signed(body: bytes, signature: str, secrets: Sequence[bytes]) -> bool:
    """Whether ``signature`` (``sha256=`` and hexadecimal digits) was made over these bytes with one of the secrets; in constant time."""
    given = signature.encode("utf-8", "replace")
    matches = [hmac.compare_digest(sign(body, secret), given) for secret in secrets]
    return any(matches)


def sign(body: bytes, secret: bytes) -> bytes:
    return b"sha256=" + hmac.digest(secret, body, hashlib.sha256).hex().encode()


def understand(guid: str, name: str, body: bytes, filters: Filters) -> Delivery:
    """The delivery with its jobs. What GitHub signed but nobody here can read is kept too. Raises Refusal if it is no JSON object."""
    payload = read_json(body)
    try:
        event = parse(name, payload)
    except PayloadError as error:
        log.warning("delivery %s (%s) is not understood: %s", guid, name, error)
        return Delivery(guid, name, None, None, "unreadable", str(error), zlib.compress(body, 1))
    if event is None:
        return Delivery(guid, name, None, None, "dropped", "not handled")
    plan = planning.plan(event, guid, filters)
    pull = event if isinstance(event, PullRequestChange) and event.action in HEAD_ACTIONS else None
    installation = event if isinstance(event, Installation) else None
    is_used = bool(plan.jobs or pull or installation)
    return Delivery(
        guid, name, event.action and event.action[:100], event.installation_id, "accepted" if is_used else "dropped", plan.reason,
        zlib.compress(body, 1) if is_used else None, plan.jobs, pull, installation)  # fmt: skip


def read_json(body: bytes) -> dict[str, Any]:
    """Raises Refusal."""
    try:
        payload = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON: set the webhook's content type to application/json") from None
    if not isinstance(payload, dict):
        raise Refusal(400, "the body is no JSON object")
    return payload


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
