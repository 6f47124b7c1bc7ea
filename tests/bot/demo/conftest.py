"""One emulated GitHub for the tests of it; every test has a repository of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import github
import httpx
import jwt
import pytest

from bot.demo.emulator import script, server
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.state import Pull, Repository

FILES: dict[str, str | bytes | None] = {
    "shop.py": "def total(prices):\n    return sum(prices)\n\n\ndef count(prices):\n    return len(prices)\n",
    ".github/ledex.toml": 'version = 1\nmode = "suggest"\n',
}


class Clock:
    """The time, moved by tests instead of waiting."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Inbox:
    """The App's end of the webhooks: keeps what comes and answers ``status``."""

    status: int = 202
    got: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
        self.got.append((body, dict(headers)))
        return self.status, {"content-type": "text/plain"}, "taken"


@dataclass
class Hub:
    """The emulator with what a test needs around it."""

    emulator: Emulator
    clock: Clock
    inbox: Inbox
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def repository(self, **options: Any) -> Repository:
        return script.add_repository(self.emulator, f"octo{next(self.numbers)}/shop", FILES, **options)

    def app_jwt(self, issued: float = -60, expires: float = 540, **claims: Any) -> str:
        now, app = int(self.clock()), self.emulator.state.app
        return jwt.encode({"iat": now + issued, "exp": now + expires, "iss": str(app.id), **claims}, app.private_key, algorithm="RS256")

    def http(self, token: str | None = None) -> httpx.Client:
        """A client of the REST interface, without a token as nobody."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.emulator.at.api, headers=headers, trust_env=False, verify=False)

    def token(self, repository: Repository, permissions: dict[str, str] | None = None) -> str:
        installation = self.emulator.state.installation_of(repository)
        assert installation is not None
        body = {"repository_ids": [repository.id]} | ({"permissions": permissions} if permissions else {})
        with self.http(self.app_jwt()) as client:
            answer = client.post(f"/app/installations/{installation.id}/access_tokens", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def github(self, token: str) -> github.Github:
        return github.Github(
            base_url=self.emulator.at.api, auth=github.Auth.Token(token), seconds_between_requests=0, seconds_between_writes=0, retry=None
        )

    def pull(self, repository: Repository, **options: Any) -> Pull:
        broken: dict[str, str | bytes | None] = {"shop.py": str(FILES["shop.py"]).replace("sum(prices)", "sum(prices) + 1")}
        return script.open_pull_request(self.emulator, repository, options.pop("branch", "fix"), broken, **options)


@pytest.fixture(scope="session")
def whole_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    clock, inbox = Clock(), Inbox()
    with server.serve(tmp_path_factory.mktemp("github"), webhook_url="http://app.invalid/webhook", clock=clock, sender=inbox) as emulator:
        yield Hub(emulator, clock, inbox)


@pytest.fixture
def hub(whole_hub: Hub) -> Iterator[Hub]:
    """The emulator; the test fails if anything that passed broke GitHub's description."""
    whole_hub.clock.ahead, whole_hub.inbox.status = 0.0, 202
    whole_hub.inbox.got.clear()
    whole_hub.emulator.log.clear()
    whole_hub.emulator.violations.clear()
    whole_hub.emulator.used.clear()
    yield whole_hub
    whole_hub.emulator.settle()
    assert whole_hub.emulator.violations == []
