from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.github.client import GitHub, RepositorySession
from bot.github.pacing import Clock
from bot.github.protocol import COMMENTING
from bot.github.tokens import Credentials
from bot.github.transport import Manners
from tests.bot.github.server import APP_ID, INSTALLATION, REPOSITORY, REPOSITORY_ID, Server, serving


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = field(default_factory=time.time)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, steady=lambda: self.now, sleep=self.sleep, jitter=lambda: 0.5)


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def credentials(private_key: str) -> Credentials:
    return Credentials(str(APP_ID), private_key)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as started:
        yield started


@pytest.fixture
def time_() -> Time:
    return Time()


@pytest.fixture
def github(server: Server, credentials: Credentials, time_: Time) -> GitHub:
    return GitHub(credentials, Manners(api_url=server.url, timeout=5, clock=time_.clock()))


@pytest.fixture
def open_session(github: GitHub) -> Iterator[Callable[[], RepositorySession]]:
    opened: list[RepositorySession] = []

    def open_one() -> RepositorySession:
        opened.append(github.for_step(INSTALLATION, REPOSITORY_ID, REPOSITORY, COMMENTING))
        return opened[-1]

    yield open_one
    for session in opened:
        session.requester.close()


@pytest.fixture
def session(open_session: Callable[[], RepositorySession]) -> RepositorySession:
    return open_session()
