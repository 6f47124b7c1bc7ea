"""Webhooks: signed, sent once, kept with what came back, and sent again only when somebody asks."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from bot.demo.emulator.state import Repository, State, stamp

TIMEOUT_SECONDS = 10.0  # GitHub gives up then

# (url, body, headers) -> (status, headers, text); raises OSError or httpx.HTTPError where nothing answers.
Sender = Callable[[str, bytes, Mapping[str, str]], tuple[int, dict[str, str], str]]


@dataclass
class Delivery:
    """One attempt. ``guid`` is the same for a redelivery, ``id`` is not. ``code`` is 0 until an answer came, and when none came."""

    id: int
    guid: str
    event: str
    action: str | None
    body: bytes = field(repr=False)
    headers: dict[str, str]
    installation_id: int | None
    repository_id: int | None
    redelivery: bool
    at: float
    status: str = "pending"
    code: int = 0
    seconds: float = 0.0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: str = ""

    @property
    def payload(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.body)
        return loaded


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
    """Send by HTTP, without proxies: the App is on this machine."""
    # Loading the certificates takes longer than the delivery; plain HTTP needs none.
    with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, verify=url.startswith("https:")) as client:
        answer = client.post(url, content=body, headers=dict(headers))
    return answer.status_code, dict(answer.headers), answer.text[:10_000]


def sign(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Deliveries:
    """Sends from ``workers`` threads: like GitHub's, deliveries may overtake each other. Without ``url`` every attempt fails at once."""

    def __init__(self, state: State, url: str | None = None, sender: Sender = post, workers: int = 4) -> None:
        self.state, self.url, self.sender = state, url, sender
        self.kept: list[Delivery] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="emulator-webhook")
        self._waiting: set[Future[None]] = set()

    def send(
        self, event: str, payload: Mapping[str, Any], repository: Repository | None = None, installation_id: int | None = None
    ) -> Delivery:
        """Sign and queue one delivery; the record fills in when an answer comes."""
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        return self._queue(
            str(uuid.uuid4()), event, payload.get("action"), body, installation_id, repository.id if repository else None, False
        )

    def redeliver(self, delivery_id: int) -> Delivery | None:
        """Another attempt with the same guid, signed anew; None when the delivery is not known."""
        old = self.find(delivery_id)
        if old is None:
            return None
        return self._queue(old.guid, old.event, old.action, old.body, old.installation_id, old.repository_id, True)

    def find(self, delivery_id: int) -> Delivery | None:
        with self._lock:
            return next((one for one in self.kept if one.id == delivery_id), None)

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until nothing is under way any more. Raises TimeoutError."""
        while True:
            with self._lock:
                pending = list(self._waiting)
            if not pending:
                return
            for one in pending:
                one.result(timeout)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _queue(
        self, guid: str, event: str, action: str | None, body: bytes, installation_id: int | None, repository_id: int | None, again: bool
    ) -> Delivery:
        app = self.state.app
        headers = {
            "Accept": "*/*", "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/emulated", "X-GitHub-Delivery": guid,
            "X-GitHub-Event": event, "X-GitHub-Hook-ID": str(app.id), "X-GitHub-Hook-Installation-Target-ID": str(app.id),
            "X-GitHub-Hook-Installation-Target-Type": "integration", "X-Hub-Signature-256": sign(app.webhook_secret, body),
        }  # fmt: skip
        delivery = Delivery(
            self.state.new_id(), guid, event, action, body, headers, installation_id, repository_id, again, self.state.clock()
        )
        with self._lock:
            self.kept.append(delivery)
            future = self._pool.submit(self._attempt, delivery)
            self._waiting.add(future)
        future.add_done_callback(self._done)
        return delivery

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._waiting.discard(future)

    def _attempt(self, delivery: Delivery) -> None:
        begun = self.state.clock()
        try:
            if self.url is None:
                raise OSError("no webhook address is set")
            delivery.code, delivery.answer_headers, delivery.answer = self.sender(self.url, delivery.body, delivery.headers)
            delivery.status = "OK" if 200 <= delivery.code < 300 else f"Invalid HTTP Response: {delivery.code}"
        except httpx.TimeoutException:
            delivery.status = "timed out"
        except (OSError, httpx.HTTPError) as error:
            delivery.status = "failed to connect to host"
            delivery.answer = str(error)
        delivery.seconds = max(0.0, self.state.clock() - begun)


def item_shape(one: Delivery) -> dict[str, Any]:
    return {
        "id": one.id, "guid": one.guid, "delivered_at": stamp(one.at), "redelivery": one.redelivery, "duration": round(one.seconds, 3),
        "status": one.status, "status_code": one.code, "event": one.event, "action": one.action, "installation_id": one.installation_id,
        "repository_id": one.repository_id, "throttled_at": None,
    }  # fmt: skip


def full_shape(one: Delivery, url: str | None) -> dict[str, Any]:
    request = {"headers": dict(one.headers), "payload": one.payload}
    return {**item_shape(one), "url": url or "", "request": request, "response": {"headers": one.answer_headers, "payload": one.answer}}
