"""Several servers of one model: the same dialogue to the same server, dead ones passed over, faults tried again within bounds.

A server keeps the prefixes that it has seen, so that samples and rounds of one failure are cheap where its earlier ones were: dialogues are
divided by rendezvous hashing of their beginning, not in turns. When a server dies only its own dialogues move.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from inference.model import ModelUnavailable
from inference.model.http import EndpointFault, Reply, exchange, open_client

_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF = 4.0
_TRIES_IN_QUARANTINE = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """What an endpoint says about itself: models by name, with the name of what each is an adapter of (None for a base model)."""

    models: Mapping[str, str | None]
    context_tokens: int | None = None
    is_vllm: bool = False


@dataclass(frozen=True)
class Manners:
    """How patiently endpoints are asked; see ``InferenceSettings``."""

    connect_seconds: float = 5.0
    request_seconds: float = 120.0
    attempts: int = 4
    quarantine_seconds: float = 10.0
    concurrency: int = 16


class Endpoint:
    """One server. Safe for several threads."""

    def __init__(self, url: str, headers: Mapping[str, str], manners: Manners) -> None:
        self.url, self.client = url, open_client(url, headers, manners.connect_seconds, manners.concurrency)
        self.loading = threading.Lock()
        """Held while an adapter is put on the server."""
        self._lock = threading.Lock()
        self._quarantine = manners.quarantine_seconds
        self._facts: Facts | None = None
        self._failures, self._rests_until, self._must_rest = 0, 0.0, False
        self._running, self._busy_since, self._busy = 0, 0.0, 0.0

    def facts(self, deadline: float) -> Facts:
        """What it serves; asked once, and again after it failed. Raises EndpointFault."""
        known = self._facts
        if known is None:
            known = self._facts = read_facts(exchange(self.client, "GET", "/v1/models", None, deadline))
        return known

    @property
    def known_facts(self) -> Facts | None:
        return self._facts

    def forget_facts(self) -> None:
        self._facts = None

    @property
    def rest(self) -> float:
        """Seconds for which it should be passed over."""
        return max(0.0, self._rests_until - time.monotonic())

    @property
    def required_rest(self) -> float:
        """Of these, what the server itself asked for: it is not tried before."""
        return self.rest if self._must_rest else 0.0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        with self._lock:
            if not self._running:
                self._busy_since = time.monotonic()
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._busy += time.monotonic() - self._busy_since

    @property
    def busy_seconds(self) -> float:
        """Time in which at least one request was under way: what its GPU is paid for, however many there were at once."""
        with self._lock:
            return self._busy + (time.monotonic() - self._busy_since if self._running else 0.0)

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._rests_until, self._must_rest = 0, 0.0, False

    def failed(self, fault: EndpointFault) -> None:
        with self._lock:
            self._must_rest = fault.retry_after is not None
            if self._must_rest:
                self._rests_until = time.monotonic() + (fault.retry_after or 0.0)
            elif fault.kind == "busy":
                self._rests_until = time.monotonic() + _BACKOFF_SECONDS
            else:
                self._failures += 1
                self._rests_until = time.monotonic() + self._quarantine * min(2.0 ** (self._failures - 1), 6.0)
                self._facts = None


def read_facts(reply: Reply) -> Facts:
    """An endpoint without a list of models (any refusal) is taken for a plain one. Raises EndpointFault for a list that is none."""
    if not reply.accepted:
        return Facts({})
    listed = reply.data.get("data") if isinstance(reply.data, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in listed):
        raise EndpointFault("nonsense", "what it calls its models is no list of models")
    models: dict[str, Any] = {one["id"]: one.get("parent") if isinstance(one.get("parent"), str) else None for one in listed}
    lengths = [one["max_model_len"] for one in listed if type(one.get("max_model_len")) is int and one["max_model_len"] > 0]
    return Facts(models, min(lengths, default=None), any(one.get("owned_by") == "vllm" for one in listed))


class Pool:
    """The endpoints of one model."""

    def __init__(self, urls: Sequence[str], headers: Mapping[str, str], manners: Manners) -> None:
        if not urls:
            raise ValueError("a pool needs an endpoint")
        self.endpoints = tuple(Endpoint(url, headers, manners) for url in urls)
        self.manners = manners
        self._places = threading.BoundedSemaphore(manners.concurrency)
        self._random = random.Random()

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.client.close()

    def ask(self, asking: Callable[[Endpoint, float], T], key: str, deadline: float) -> T:
        """Call ``asking(endpoint, deadline of this try)`` until a call raises no EndpointFault. Nonsense is not asked for twice of the same
        endpoint; everything else is tried again, after a pause with jitter. Raises ModelUnavailable, and what else ``asking`` raises."""
        faults: dict[str, str] = {}
        useless: set[str] = set()
        tries = self.manners.attempts
        if all(endpoint.rest and not endpoint.required_rest for endpoint in self.endpoints):
            tries = min(tries, _TRIES_IN_QUARANTINE)
        for number in range(tries):
            able = [endpoint for endpoint in self.endpoints if endpoint.url not in useless]
            if not able:
                break
            endpoint = min(able, key=lambda one: (one.required_rest, one.rest > 0, one.url in faults, _score(one.url, key)))
            pause = endpoint.required_rest
            if endpoint.url in faults:
                pause = max(pause, min(_BACKOFF_SECONDS * 2**number, _LONGEST_BACKOFF) * self._random.uniform(0.5, 1.0))
            if time.monotonic() + pause >= deadline:
                faults.setdefault(endpoint.url, f"it asks to be left alone for {pause:.0f} s, and no time is left after that")
                break
            time.sleep(pause)
            try:
                result = self._place(endpoint, asking, deadline)
            except EndpointFault as fault:
                faults[endpoint.url] = str(fault)
                if fault.kind == "nonsense":
                    useless.add(endpoint.url)
                if fault.kind != "late" or deadline - time.monotonic() > 0:  # our own deadline is no fault of the endpoint's
                    endpoint.failed(fault)
                continue
            endpoint.succeeded()
            return result
        raise ModelUnavailable(_sentence(faults))

    def _place(self, endpoint: Endpoint, asking: Callable[[Endpoint, float], T], deadline: float) -> T:
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ModelUnavailable(f"the model was busy with {self.manners.concurrency} other requests until the time was up")
        try:
            with endpoint.in_use():
                return asking(endpoint, min(deadline, time.monotonic() + self.manners.request_seconds))
        finally:
            self._places.release()


def _score(url: str, key: str) -> bytes:
    return hashlib.blake2b(f"{url}\0{key}".encode(errors="surrogateescape"), digest_size=8).digest()


def _sentence(faults: Mapping[str, str]) -> str:
    if len(faults) == 1:
        [(url, why)] = faults.items()
        return f"the model at {url} could not be had: {why}"
    return "the model could not be had: " + "; ".join(f"{url}: {why}" for url, why in faults.items())
