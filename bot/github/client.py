"""``GitHub``: one App. ``RepositorySession``: what one step of it may do in one repository."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bot.github import Forbidden, NotConfigured, Rejected
from bot.github.commits import Commits
from bot.github.deliveries import list_deliveries
from bot.github.pacing import Budget
from bot.github.protocol import AppIdentity, Delivery, GitAccess
from bot.github.reads import Reads
from bot.github.tokens import AppAuth, Credentials, Grant, InstallationAuth, Token, TokenCache, token_of
from bot.github.transport import Manners, PoliteRequester
from bot.github.writes import Writes


class RepositorySession(Reads, Writes, Commits):
    """See ``protocol.Session``. Holds one connection: use it in one thread and as a context manager."""

    def __init__(self, app: GitHub, grant: Grant, repository_id: int, repository: str) -> None:
        self._web_url = app.web_url
        self._auth = InstallationAuth(app.tokens, grant)
        requester = PoliteRequester(app.manners, self._auth, app.budget(grant.installation_id))
        super().__init__(requester, grant.installation_id, repository_id, repository, app.identity, app.locks.hold)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.requester.close()

    def git_access(self) -> GitAccess:
        return git_access(self._web_url, self.repository, self._auth.token)


class GitHub:
    """See ``protocol.App``. Safe for threads. Works without credentials until something is asked, then raises NotConfigured.

    ``web_url``: where git and people go, where it cannot be told from ``manners.api_url``.
    """

    def __init__(self, credentials: Credentials | None, manners: Manners | None = None, web_url: str | None = None) -> None:
        self.manners = manners or Manners()
        self.web_url = (web_url or web_url_of(self.manners.api_url)).rstrip("/")
        self.tokens = TokenCache(self._mint, self.manners.clock)
        self.locks = Locks()
        self._credentials = credentials
        self._app_budget = Budget(self.manners.clock)
        self._budgets: dict[int, Budget] = {}
        self._known: AppIdentity | None = None
        self._lock = threading.Lock()

    @property
    def configured(self) -> bool:
        return self._credentials is not None

    def for_step(self, installation_id: int, repository_id: int, repository: str, permissions: Mapping[str, str]) -> RepositorySession:
        """No request yet: the token is minted at the first use."""
        return RepositorySession(self, Grant.of(installation_id, repository_id, permissions), repository_id, repository)

    def identity(self) -> AppIdentity:
        if self._known is None:
            data = self._as_app(lambda r: r.requestJsonAndCheck("GET", "/app")[1])
            self._known = AppIdentity(data["id"], data["slug"], dict(data.get("permissions") or {}), tuple(data.get("events") or ()))
        return self._known

    def installation_permissions(self, installation_id: int) -> dict[str, str]:
        return dict(self._as_app(lambda r: r.requestJsonAndCheck("GET", f"/app/installations/{installation_id}")[1])["permissions"])

    def installations(self) -> list[int]:
        found: list[int] = self._as_app(lambda r: [one["id"] for one in r.pages("/app/installations")])
        return found

    def repositories(self, installation_id: int) -> dict[int, str]:
        auth = InstallationAuth(self.tokens, Grant.of(installation_id, None, {"metadata": "read"}))
        requester = PoliteRequester(self.manners, auth, self.budget(installation_id))
        try:
            return {one["id"]: one["full_name"] for one in requester.pages("/installation/repositories", "repositories")}
        finally:
            requester.close()

    def webhook_url(self) -> str | None:
        return self._as_app(lambda r: r.requestJsonAndCheck("GET", "/app/hook/config")[1]).get("url") or None

    def deliveries(self, since: datetime) -> list[Delivery]:
        found: list[Delivery] = self._as_app(lambda r: list_deliveries(r, since))
        return found

    def redeliver(self, delivery_id: int) -> None:
        self._as_app(lambda r: r.requestJsonAndCheck("POST", f"/app/hook/deliveries/{delivery_id}/attempts"))

    def budget(self, installation_id: int) -> Budget:
        with self._lock:
            return self._budgets.setdefault(installation_id, Budget(self.manners.clock))

    def _mint(self, grant: Grant) -> Token:
        path = f"/app/installations/{grant.installation_id}/access_tokens"
        try:
            return token_of(self._as_app(lambda r: r.requestJsonAndCheck("POST", path, input=grant.body())[1]))
        except Rejected as error:
            wanted = tuple(f"{name}={level}" for name, level in sorted(grant.permissions))
            asked = ", ".join(wanted)
            raise Forbidden(
                f"The installation has not granted {asked} on this repository: accept the App's permissions. {error}", wanted
            ) from None

    def _as_app(self, ask: Callable[[PoliteRequester], Any]) -> Any:
        if self._credentials is None:
            raise NotConfigured("No GitHub App is set up: run `ledex app create`, or set LEDEX_BOT_APP_ID and LEDEX_BOT_PRIVATE_KEY.")
        requester = PoliteRequester(self.manners, AppAuth(self._credentials, self.manners.clock), self._app_budget)
        try:
            return ask(requester)
        finally:
            requester.close()


class Locks:
    """Named locks, one for each thing that two threads must not write at once; gone when nobody holds or waits for them.

    Between processes the lock per pull-request head in the database does the same.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._named: dict[str, tuple[threading.Lock, int]] = {}

    def hold(self, name: str) -> AbstractContextManager[None]:
        return _Held(self, name)

    def take(self, name: str) -> None:
        with self._guard:
            lock, users = self._named.get(name, (threading.Lock(), 0))
            self._named[name] = (lock, users + 1)
        lock.acquire()

    def leave(self, name: str) -> None:
        with self._guard:
            lock, users = self._named.pop(name)
            if users > 1:
                self._named[name] = (lock, users - 1)
        lock.release()


class _Held(AbstractContextManager[None]):
    def __init__(self, locks: Locks, name: str) -> None:
        self._locks, self._name = locks, name

    def __enter__(self) -> None:
        self._locks.take(self._name)

    def __exit__(self, *_: object) -> None:
        self._locks.leave(self._name)


def web_url_of(api_url: str) -> str:
    """https://github.com for api.github.com; GHES and others by their host."""
    parts = urlsplit(api_url)
    return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"


def git_access(web_url: str, repository: str, token: str) -> GitAccess:
    """The token goes through the environment: not in the arguments, which every process may read, nor in a configuration file."""
    secret = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    settings = {
        f"http.{web_url}/.extraHeader": f"Authorization: Basic {secret}",
        "http.followRedirects": "false",  # git would carry the header along
        "credential.helper": "",
    }
    environment = {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_TERMINAL_PROMPT": "0"}
    for index, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return GitAccess(f"{web_url}/{repository}.git", environment)
