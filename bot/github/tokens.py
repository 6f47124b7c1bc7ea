"""The App's JWT and the installation tokens: one per step, narrowed to a repository and to permissions, kept until shortly before they end.

PyGithub cannot narrow a token to a repository, so the request that mints is ours (``Grant.body``). Tokens are opaque and of any length.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jwt
from github.Auth import Auth

from bot.github import NotConfigured
from bot.github.pacing import Clock

REFRESH_EARLY_SECONDS = 300.0
_JWT_BACKDATED_SECONDS, _JWT_LIFE_SECONDS = 60, 540


@dataclass(frozen=True)
class Credentials:
    """``app_id``: the App's id or client id. ``private_key``: PEM."""

    app_id: str
    private_key: str = field(repr=False)


def app_jwt(credentials: Credentials, now: float) -> str:
    """RS256; dated a minute back because clocks differ, and ended within the 10 minutes that GitHub allows. Raises NotConfigured."""
    issued = int(now) - _JWT_BACKDATED_SECONDS
    claims = {"iat": issued, "exp": issued + _JWT_LIFE_SECONDS, "iss": credentials.app_id}
    try:
        return jwt.encode(claims, credentials.private_key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        # The cause may quote the key.
        raise NotConfigured("The App's private key is no PEM RSA key: set LEDEX_BOT_PRIVATE_KEY to the whole .pem from GitHub.") from None


@dataclass(frozen=True)
class Grant:
    """What a token may do, and the key under which it is kept. ``repository``: an id, a name without owner, or None for all."""

    installation_id: int
    repository: int | str | None
    permissions: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, installation_id: int, repository: int | str | None, permissions: Mapping[str, str]) -> Grant:
        return cls(installation_id, repository, frozenset(permissions.items()))

    def body(self) -> dict[str, Any]:
        """The request that mints it."""
        body: dict[str, Any] = {"permissions": dict(sorted(self.permissions))}
        if isinstance(self.repository, int):
            body["repository_ids"] = [self.repository]
        elif self.repository is not None:
            body["repositories"] = [self.repository]
        return body


@dataclass(frozen=True)
class Token:
    """``expires_at`` in Unix seconds."""

    value: str = field(repr=False)
    expires_at: float


def token_of(answer: Mapping[str, Any]) -> Token:
    return Token(str(answer["token"]), datetime.fromisoformat(str(answer["expires_at"])).timestamp())


class TokenCache:
    """Safe for threads; two that ask for one grant at once mint one token, and other grants do not wait for them."""

    def __init__(self, mint: Callable[[Grant], Token], clock: Clock) -> None:
        self._mint, self._clock = mint, clock
        self._tokens: dict[Grant, Token] = {}
        self._minting: dict[Grant, threading.Lock] = {}
        self._lock = threading.Lock()

    def token(self, grant: Grant) -> str:
        with self._lock:
            self._drop_ended()
            minting = self._minting.setdefault(grant, threading.Lock())
        with minting:
            with self._lock:
                known = self._tokens.get(grant)
            if known is None or known.expires_at - REFRESH_EARLY_SECONDS <= self._clock.now():
                known = self._mint(grant)
                with self._lock:
                    self._tokens[grant] = known
            return known.value

    def forget(self, grant: Grant, value: str) -> None:
        """Called on 401. ``value`` is the token that was refused: one minted since by somebody else stays."""
        with self._lock:
            known = self._tokens.get(grant)
            if known is not None and known.value == value:
                del self._tokens[grant]

    def _drop_ended(self) -> None:
        now = self._clock.now()
        for grant in [g for g, t in self._tokens.items() if t.expires_at <= now]:
            del self._tokens[grant]


class AppAuth(Auth):
    """Signs as the App, anew for each request."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials, self._clock = credentials, clock

    @property
    def token_type(self) -> str:
        return "Bearer"

    @property
    def token(self) -> str:
        return app_jwt(self._credentials, self._clock.now())

    @property
    def _masked_token(self) -> str:
        return "Bearer (removed)"

    def renew(self) -> bool:
        return False


class InstallationAuth(Auth):
    """The token of one grant; ``renew`` after a 401 makes the next use mint another."""

    def __init__(self, cache: TokenCache, grant: Grant) -> None:
        self._cache, self._grant = cache, grant
        self._used: str | None = None

    @property
    def token_type(self) -> str:
        return "token"

    @property
    def token(self) -> str:
        self._used = self._cache.token(self._grant)
        return self._used

    @property
    def _masked_token(self) -> str:
        return "token (removed)"

    def renew(self) -> bool:
        if self._used is None:
            return False
        self._cache.forget(self._grant, self._used)
        return True
