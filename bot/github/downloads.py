"""Fetches what GitHub redirects to (logs, artifacts) without any credential of ours, and never more than was asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import requests

from bot.github import NotFound, Unavailable
from bot.github.transport import USER_AGENT, Manners, PoliteRequester

MOST_READ_BYTES = 256 * 1024 * 1024
"""Of one log: beyond it reading stops, and what was read last is its end."""
MOST_SECONDS = 180.0
_CHUNK = 65536


@dataclass(frozen=True)
class Download:
    """``left_out``: bytes between ``head`` and ``tail``. ``complete`` is False where reading stopped before the end."""

    head: bytes
    tail: bytes = b""
    left_out: int = 0
    complete: bool = True

    @property
    def whole(self) -> bool:
        return self.complete and not self.left_out

    def text(self) -> str:
        head, tail = self.head.decode("utf-8", "replace"), self.tail.decode("utf-8", "replace")
        middle = f"\n... {self.left_out} bytes left out ...\n" if self.left_out else ""
        return (head + middle + tail).removeprefix("\ufeff")


class _Ends:
    """Keeps the first and the last bytes of a stream in bounded memory."""

    def __init__(self, head: int, tail: int) -> None:
        self._head_size, self._tail_size = head, tail
        self._head, self._tail = bytearray(), deque[bytes]()
        self._held = 0
        self.seen = 0

    def add(self, chunk: bytes) -> None:
        self.seen += len(chunk)
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        if rest := chunk[room:]:
            self._tail.append(rest)
            self._held += len(rest)
            while self._tail and self._held - len(self._tail[0]) >= self._tail_size:
                self._held -= len(self._tail.popleft())

    def result(self, complete: bool) -> Download:
        tail = b"".join(self._tail)
        tail = tail[max(0, len(tail) - self._tail_size) :]
        return Download(bytes(self._head), tail, self.seen - len(self._head) - len(tail), complete)


def download_ends(requester: PoliteRequester, path: str, *, cap: int) -> Download | None:
    """A text of up to ``cap`` bytes, its beginning (a quarter) and its end where it is longer. None when GitHub has it no more."""
    return _download(requester, path, cap // 4, cap - cap // 4, MOST_READ_BYTES)


def download_whole(requester: PoliteRequester, path: str, *, cap: int) -> bytes | None:
    """All of it, or None when it is gone or larger than ``cap`` bytes."""
    got = _download(requester, path, cap, 0, cap)
    return got.head if got is not None and got.whole else None


def _download(requester: PoliteRequester, path: str, head: int, tail: int, most: int) -> Download | None:
    manners = requester.manners
    for failures in range(manners.read_attempts):
        try:
            # Asked again at each try: the address is good for one minute.
            location = requester.redirect(path)
            return None if location is None else _read(location, manners, _Ends(head, tail), most)
        except NotFound:
            return None
        except requests.RequestException as lost:
            if failures + 1 == manners.read_attempts:
                raise Unavailable(f"The store behind {path} did not finish answering ({type(lost).__name__}): try later.") from None
            manners.clock.backoff(failures)
    return None


def _read(location: str, manners: Manners, ends: _Ends, most: int) -> Download:
    if not location.startswith("https://") and not manners.api_url.startswith("http://"):
        raise NotFound("GitHub redirected a download to an address without TLS; it is not followed.")
    started, complete = manners.clock.steady(), True
    with requests.Session() as session:
        session.auth = _without_credentials  # else requests looks into ~/.netrc
        session.max_redirects = 3
        with session.get(location, headers={"User-Agent": USER_AGENT}, timeout=manners.timeout, stream=True) as answer:
            if answer.status_code in (404, 410):
                raise NotFound("The store has it no more.")
            answer.raise_for_status()
            for chunk in answer.iter_content(_CHUNK):
                ends.add(chunk)
                if ends.seen > most or manners.clock.steady() - started > MOST_SECONDS:
                    complete = False
                    break
    return ends.result(complete)


def _without_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
