"""PyGithub's Requester with our manners: paced per installation, reads tried again, writes never, limits obeyed, errors of our own tree."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import github
import requests
from github.Requester import Requester

from bot.github import Conflict, Rejected, Unavailable
from bot.github.answers import error_of, limit_wait, limited, message_of
from bot.github.pacing import READ_POINTS, WRITE_POINTS, Budget, Clock
from bot.github.scrubbing import scrub
from bot.github.tokens import AppAuth, InstallationAuth

USER_AGENT = "ledexbot"
API_VERSION = "2022-11-28"
_READS = ("GET", "HEAD")
_NO_CONTENT_CREATED = ("/access_tokens", "/git/blobs", "/git/trees", "/attempts")
_MOST_REFUSALS = 3
T = TypeVar("T")

# At level DEBUG PyGithub logs whole answers, and that of a mint is a token.
_quiet = logging.getLogger("bot.github.requests")
_quiet.setLevel(logging.WARNING)


@dataclass(frozen=True)
class Manners:
    """``timeout``: seconds between two bytes. ``patience``: the longest sleep for a limit, in seconds; beyond it RateLimited is raised."""

    api_url: str = "https://api.github.com"
    timeout: int = 20
    read_attempts: int = 4
    patience: float = 15.0
    clock: Clock = field(default_factory=Clock)


class PoliteRequester(Requester):
    """What every PyGithub object of ours asks through. Not for two threads at once: PyGithub keeps the request in its connection."""

    def __init__(self, manners: Manners, auth: AppAuth | InstallationAuth, budget: Budget) -> None:
        super().__init__(
            auth=auth,
            base_url=manners.api_url.rstrip("/"),
            timeout=manners.timeout,
            user_agent=USER_AGENT,
            per_page=100,
            verify=True,
            retry=0,
            pool_size=None,
            seconds_between_requests=0,
            seconds_between_writes=0,
            lazy=True,
            api_version=API_VERSION,
        )
        self.manners = manners
        self._ours = auth
        self._budget = budget

    def requestJsonAndCheck(
        self,
        verb: str,
        url: str,
        parameters: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        input: Any | None = None,
        follow_302_redirect: bool = False,
    ) -> tuple[dict[str, Any], Any]:
        send = super().requestJsonAndCheck
        return self._politely(verb, url, lambda: send(verb, url, parameters, headers, input, follow_302_redirect))

    def pages(self, path: str, item: str = "", parameters: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """All elements of a list, page by page as they are taken; ``item`` names the field that holds them where GitHub wraps them."""
        headers, data = self.requestJsonAndCheck("GET", path, {"per_page": 100, **(parameters or {})})
        while True:
            yield from data[item] if item else data
            following = next_page(headers.get("link"))
            if following is None:
                return
            if not following.startswith(self.base_url + "/"):
                raise Rejected(
                    f"The next page of {path} lies outside {self.base_url}: set the API's address to the one it calls itself by."
                )
            headers, data = self.requestJsonAndCheck("GET", following)

    def redirect(self, url: str) -> str | None:
        """Where GitHub sends a download to, or None. The address itself carries the right to read: never log it."""
        send = super().requestBlobAndCheck
        location = self._politely("GET", url, lambda: send("GET", url))[0].get("location")
        return str(location) if location else None

    def _politely(self, verb: str, url: str, send: Callable[[], tuple[dict[str, Any], Any]]) -> tuple[dict[str, Any], Any]:
        # A token minted twice does no harm; everything else that writes does.
        repeatable = verb in _READS or url.endswith("/access_tokens")
        path = url.removeprefix(self.base_url)
        clock = self.manners.clock
        failures = refusals = 0
        renewed = False
        while True:
            self._spend(verb, url)
            try:
                return send()
            except github.GithubException as answer:
                headers = {str(k).lower(): v for k, v in (answer.headers or {}).items()}
                wait = limit_wait(answer.status, headers, message_of(answer.data), refusals=refusals, now=clock.now())
                if wait is not None:
                    refusals += 1
                    self._budget.pause(wait)
                    if wait > self.manners.patience or refusals >= _MOST_REFUSALS:
                        raise limited(wait, clock.now()) from None
                    continue
                if answer.status == 401 and not renewed and self._ours.renew():
                    renewed = True
                    continue
                error = error_of(answer.status, headers, answer.data, verb=verb, path=path)
            except (requests.RequestException, json.JSONDecodeError) as lost:
                what = f"{verb} {path.split('?')[0]} ({type(lost).__name__})"
                error = Unavailable(scrub(f"GitHub did not finish answering {what}: look at the network between."))
            failures += 1
            if not (repeatable and isinstance(error, Unavailable) and failures < self.manners.read_attempts):
                raise error from None
            clock.backoff(failures - 1)

    def _spend(self, verb: str, url: str) -> None:
        creates = verb == "POST" and not url.endswith(_NO_CONTENT_CREATED)
        wait = self._budget.take(READ_POINTS if verb in _READS else WRITE_POINTS, creates=creates, patience=self.manners.patience)
        if wait > self.manners.patience:
            raise limited(wait, self.manners.clock.now())
        if wait > 0:
            self.manners.clock.sleep(wait)


def next_page(link: str | None) -> str | None:
    """The address with ``rel="next"`` in a Link header."""
    found = re.search(r'<([^>]*)>\s*;[^,]*\brel="next"', link or "")
    return found.group(1) if found else None


PoliteRequester.injectLogger(_quiet)


def land(look: Callable[[], T | None], write: Callable[[], T], clock: Clock, attempts: int = 3) -> tuple[T, bool]:
    """Writes once. ``look`` answers what an earlier try left, or None; it is asked before each try, so after each lost answer too.

    Returns what is there now, and whether this call tried to write it. Raises what ``write`` raised: at once when GitHub said no,
    after ``attempts`` when it said nothing.
    """
    for failures in range(attempts):
        found = look()
        if found is not None:
            return found, failures > 0
        try:
            return write(), True
        except Conflict:
            # It may be our own lost try that landed late.
            found = look()
            if found is None:
                raise
            return found, True
        except Unavailable:
            clock.backoff(failures)
            if failures + 1 == attempts:
                found = look()
                if found is None:
                    raise
                return found, True
    raise ValueError("attempts must be at least 1")
