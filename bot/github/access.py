"""What reading, writing and committing in one repository stand on: the requests of one step, who asks, and what is done one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from bot.github.protocol import AppIdentity
from bot.github.transport import PoliteRequester

PAUSES = (0.5, 0.5, 1.0, 2.0)
"""Seconds before something that was refused, and may be missing, is asked for again: of all that a session reads."""


class RepositoryAccess:
    """``identity`` is asked for at the first need, since it may be a request; ``hold`` keeps two threads from writing the same thing."""

    def __init__(
        self,
        requester: PoliteRequester,
        installation_id: int,
        repository_id: int,
        repository: str,
        identity: Callable[[], AppIdentity],
        hold: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.requester = requester
        self.installation_id = installation_id
        self.repository_id = repository_id
        self.repository = repository
        self._identity = identity
        self._one_at_a_time = hold
        self._pauses = list(PAUSES)

    def _path(self, rest: str) -> str:
        return f"/repos/{self.repository}/{rest}"

    def _read(self, rest: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.requester.requestJsonAndCheck("GET", self._path(rest), parameters)[1]
        return answer

    def _list(self, rest: str, item: str = "", **parameters: Any) -> Iterator[dict[str, Any]]:
        """Plain values: PyGithub's list items ask GitHub again, each for itself, when a field is missing."""
        return self.requester.pages(self._path(rest), item, parameters)

    def _send(self, verb: str, rest: str, body: Any) -> Any:
        return self.requester.requestJsonAndCheck(verb, self._path(rest), input=body)[1]

    def _answered(self, verb: str, rest: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(verb, rest, body)
        return answer
