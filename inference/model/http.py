"""One exchange with an endpoint: JSON there, JSON back, capped while it is read, never past the deadline, every surprise given a name.

The endpoint is not trusted: it may be silent, endless, compressed a thousandfold, or no model server at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from inference import InferenceError

USER_AGENT = "ledexbot"
MEGABYTE = 1 << 20
_QUOTED = 300
_SHORTEST_KEY = 8
"""A shorter one would be found in ordinary text."""

Kind = Literal["unreachable", "late", "busy", "broken", "nonsense"]


class EndpointFault(InferenceError):
    """An exchange came to nothing. ``kind``: ``unreachable`` (no connection, or it was lost), ``late`` (no answer in time), ``busy`` (429),
    ``broken`` (5xx) or ``nonsense`` (it answered what no model server answers). ``retry_after``: the seconds of rest it asked for."""

    reason = "endpoint"

    def __init__(self, kind: Kind, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.retry_after = kind, retry_after


@dataclass(frozen=True)
class Reply:
    """A whole answer: ``status`` is below 500 and not 429; ``data`` is its JSON, None where a refusal (4xx) was not in JSON.
    ``seconds``: from sending to the last byte."""

    status: int
    data: Any
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.status == 200

    @property
    def refusal(self) -> str:
        """Why it was refused, in the server's words: one line, not long, without control characters."""
        told = self.data.get("error", self.data) if isinstance(self.data, dict) else None
        told = told.get("message", told.get("detail")) if isinstance(told, dict) else told
        return one_line(told) if isinstance(told, str) and told.strip() else f"status {self.status}"


def one_line(text: str) -> str:
    """Somebody else's words, fit for a sentence of ours."""
    flat = " ".join("".join(character if character.isprintable() else " " for character in text[: 4 * _QUOTED]).split())
    return flat if len(flat) <= _QUOTED else flat[: _QUOTED - 1] + "…"


def open_client(url: str, headers: Mapping[str, str], connect_seconds: float, connections: int) -> httpx.Client:
    """A client for one endpoint; safe for several threads. A proxy from the environment is used, except for this machine itself."""
    host = httpx.URL(url).host
    return httpx.Client(
        base_url=url, headers={"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity", **headers},
        follow_redirects=False,  # a redirect would carry the key elsewhere
        trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        timeout=httpx.Timeout(connect_seconds), limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )  # fmt: skip


def exchange(
    client: httpx.Client, method: Literal["GET", "POST"], path: str, body: Any | None, deadline: float, most_bytes: int = MEGABYTE,
    *, json_expected: bool = True,
) -> Reply:  # fmt: skip
    """Ask, and read a whole answer of at most ``most_bytes``; one with status 200 that is no JSON is a fault where JSON is expected.

    ``deadline`` is in ``time.monotonic()``: a server that is silent, or sends on and on, is left then; one that sends a part and falls
    silent can hold a caller twice as long. Raises EndpointFault.
    """
    started = time.monotonic()
    left = deadline - started
    if left <= 0:
        raise EndpointFault("late", "no time was left to ask")
    connect = client.timeout.connect or left
    try:
        request = client.build_request(
            method, path, json=body, timeout=httpx.Timeout(left, connect=min(connect, left), pool=left))  # fmt: skip
        response = client.send(request, stream=True)
        try:
            content = _read(response, deadline, most_bytes)
        finally:
            response.close()
    except httpx.ConnectTimeout:
        raise EndpointFault("unreachable", "no connection in time") from None
    except httpx.TimeoutException:
        raise EndpointFault("late", f"no answer in {time.monotonic() - started:.0f} s") from None
    except httpx.DecodingError:
        raise EndpointFault("nonsense", "its answer cannot be decoded") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise EndpointFault("unreachable", one_line(str(error)) or type(error).__name__) from None
    return _reply(response, _without_key(client, content), time.monotonic() - started, json_expected)


def _without_key(client: httpx.Client, content: bytes) -> bytes:
    """A server may say in its refusal which key it was given, and what it says is told to people and kept."""
    key = client.headers.get("authorization", "").removeprefix("Bearer ").encode("ascii", "ignore")
    return content.replace(key, b"(the key)") if len(key) >= _SHORTEST_KEY else content


def _read(response: httpx.Response, deadline: float, most_bytes: int) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise EndpointFault("nonsense", "it answered compressed, which was not asked for")
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > most_bytes:
            raise EndpointFault("nonsense", f"its answer is larger than the {most_bytes // 1024} KiB that one can have")
        if time.monotonic() > deadline:
            raise EndpointFault("late", "its answer did not end in time")
    return bytes(content)


def _reply(response: httpx.Response, content: bytes, seconds: float, json_expected: bool) -> Reply:
    status = response.status_code
    try:
        data, whole = json.loads(content), True
    except (ValueError, RecursionError):
        data, whole = None, False
    reply = Reply(status, data, seconds)
    if status == 429:
        raise EndpointFault("busy", f"it has too many requests ({reply.refusal})", _retry_after(response))
    if status >= 500:
        raise EndpointFault("broken", f"it failed with {reply.refusal}", _retry_after(response))
    if 300 <= status < 400:
        raise EndpointFault("nonsense", "it redirects elsewhere: set the address that it really has")
    if status < 400 and status != 200:
        raise EndpointFault("nonsense", f"it answered with status {status}")
    if status == 200 and json_expected and not whole:
        raise EndpointFault("nonsense", f"its answer is no JSON but {_looks_like(content)}")
    return reply


def _looks_like(content: bytes) -> str:
    if not content.strip():
        return "empty"
    if content.lstrip()[:1] == b"<":
        return "a web page"
    return "broken JSON" if content.lstrip()[:1] in (b"{", b"[") else "something else"


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from either form of the header."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return min(float(text[:9]), 86_400.0)
    try:
        return max(0.0, min(parsedate_to_datetime(text).timestamp() - time.time(), 86_400.0))
    except (ValueError, TypeError, OverflowError):
        return None
