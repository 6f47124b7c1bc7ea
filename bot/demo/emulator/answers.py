"""What passes between the server and the handlers of single operations: a call, an answer, a refusal, a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from bot.demo.emulator.state import Repository, State, Token, User

if TYPE_CHECKING:
    from bot.demo.emulator.emulator import Emulator

T = TypeVar("T")
Json = Any  # as json.dumps takes it
DOCUMENTATION = "https://docs.github.com/rest"


class Refusal(Exception):
    """An answer of 4xx in GitHub's form."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, errors: Sequence[Json] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.errors = status, message, dict(headers or {}), list(errors)

    def answer(self) -> Answer:
        body: dict[str, Any] = {"message": self.message, "documentation_url": DOCUMENTATION, "status": str(self.status)}
        return Answer(self.status, {**body, "errors": self.errors} if self.errors else body, self.headers)


@dataclass(frozen=True)
class Answer:
    """``body`` is JSON, or None for none."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request that was let in. ``query`` values have the type that the description gives them."""

    emulator: Emulator
    url: str
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    token: Token | None
    found: Repository | None

    @property
    def state(self) -> State:
        return self.emulator.state

    @property
    def repository(self) -> Repository:
        if self.found is None:
            raise missing()
        return self.found

    @property
    def actor(self) -> User:
        return self.state.app.bot

    def number(self, name: str) -> int:
        return int(self.path[name])

    def of_repository(self, known: Mapping[int, T], name: str, home: Callable[[T], Repository]) -> T:
        """The thing that the path names by its number, if this repository is its ``home``. Raises Refusal 404."""
        one = found(known.get(self.number(name)))
        if home(one) is not self.repository:
            raise missing()
        return one

    def paginate(self, items: Sequence[Any], key: str | None = None) -> Answer:
        """One page of ``items`` with the Link header; wrapped with its total under ``key`` where GitHub does so."""
        size, page = int(self.query.get("per_page", 30)), int(self.query.get("page", 1))
        size = max(1, min(size, 100))
        headers = {}
        last = max(1, -(-len(items) // size))
        if last > 1:
            wanted = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
            keep = [name for name in wanted if not (name in ("prev", "first") and page <= 1 or name in ("next", "last") and page >= last)]
            headers["Link"] = ", ".join(f'<{self._page(wanted[name])}>; rel="{name}"' for name in keep)
        chosen = list(items[(page - 1) * size : page * size])
        return Answer(200, {"total_count": len(items), key: chosen} if key else chosen, headers)

    def _page(self, number: int) -> str:
        query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in self.query.items()}
        return f"{self.url}?{urlencode({**query, 'page': number})}"


Needs = tuple[str, str]  # (permission, read or write)


@dataclass(frozen=True)
class Route:
    """``access`` is "anyone", "app" (the App's JWT), "token" (any installation token), or the permission that the token needs.

    ``path`` is a path of the OpenAPI description. ``also`` is a second permission that lets the request in as well.
    """

    method: str
    path: str
    handler: Callable[[Call], Answer]
    access: str | Needs
    also: Needs | None = None


def missing() -> Refusal:
    return Refusal(404, "Not Found")


def invalid(message: str, resource: str = "", code: str = "custom", field_name: str = "") -> Refusal:
    """A 422 as GitHub words it."""
    entry = {key: value for key, value in (("resource", resource), ("code", code), ("field", field_name), ("message", message)) if value}
    return Refusal(422, "Validation Failed", errors=[entry])


def found(value: T | None) -> T:
    if value is None:
        raise missing()
    return value


def invalid_simply(message: str) -> Refusal:
    """A 422 of the operations whose errors are bare sentences (reviews are such)."""
    return Refusal(422, "Unprocessable Entity", errors=[message])
