"""The web application: lets a call in (credentials, faults, limits, permissions), checks both ways against the description, logs it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from bot.demo.emulator import auth, git_http, storage, validation
from bot.demo.emulator.answers import Answer, Call, Refusal, Route
from bot.demo.emulator.cut import Cut
from bot.demo.emulator.emulator import Emulator, LogEntry
from bot.demo.emulator.faults import Fault
from bot.demo.emulator.routes import ROUTES
from bot.demo.emulator.state import Repository


def create_emulator(emulator: Emulator) -> FastAPI:
    """The web application over ``emulator``: REST under /api/v3, git under /OWNER/NAME.git, storage under /storage on the other port."""
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    # Longer and more literal paths first: `commits/{ref}` may hold slashes and would swallow `commits/{ref}/check-runs`.
    for route in sorted(ROUTES, key=lambda one: (-one.path.count("/"), one.path.count("{"))):
        application.add_api_route(
            f"/api/v3{_template(route.path)}", _endpoint(emulator, route), methods=[route.method], response_model=None
        )

    @application.api_route("/api/v3/{path:path}", methods=["GET", "POST", "PATCH", "PUT", "DELETE"], response_model=None)
    async def unknown(request: Request) -> Response:
        emulator.violations.append(f"{request.method} {request.url.path}: the emulator does not serve this operation")
        return _response(Refusal(404, "Not Found").answer())

    storage.add(application, emulator)
    git_http.add(application, emulator)
    return application


def _template(path: str) -> str:
    for name in ("path", "ref", "branch", "basehead"):  # these may hold slashes
        path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
    return path


def _endpoint(emulator: Emulator, route: Route) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        return await run_in_threadpool(_handle, emulator, route, request, raw)

    return endpoint


@dataclass
class _Progress:
    """What is known of a call so far, for the log."""

    owner: str = "anonymous"
    body: Any = None
    fault: Fault | None = None
    done: bool = False


def _handle(emulator: Emulator, route: Route, request: Request, raw: bytes) -> Response:
    progress = _Progress()
    path = request.url.path.removeprefix("/api/v3")
    caller = auth.Caller("anonymous")
    try:
        with emulator.state.lock:
            caller = auth.identify(emulator.state, request.headers)
        progress.owner = caller.name
        progress.body = json.loads(raw) if raw else None
        progress.fault = emulator.faults.draw(route.method, path)
        early = progress.fault.answer() if progress.fault else None
        if progress.fault and progress.fault.kind == "slow":
            time.sleep(progress.fault.seconds)
        if early is None and not (progress.fault and progress.fault.kind == "drop"):
            answer = _work(emulator, route, request, progress, caller)
        else:
            answer = early or Answer(503)
    except Refusal as refusal:
        answer = refusal.answer()
    except json.JSONDecodeError:
        answer = Refusal(400, "Problems parsing JSON").answer()
    dropped = progress.fault is not None and progress.fault.kind in ("drop", "drop_after")
    status = None if dropped else answer.status
    fault = progress.fault.kind if progress.fault else None
    entry = LogEntry(emulator.state.clock(), route.method, path, progress.owner, status, progress.body, answer.body, fault, progress.done)
    with emulator.state.lock:
        emulator.log.append(entry)
    return Cut(emulator) if dropped else _response(answer, _rate_headers(emulator, caller))


def _work(emulator: Emulator, route: Route, request: Request, progress: _Progress, caller: auth.Caller) -> Answer:
    """Everything between the faults and the answer: limits, permissions, both checks, and the handler under the lock."""
    state, where = emulator.state, f"{route.method} {route.path}"
    values: dict[str, str] = dict(request.path_params)
    query, wrong = validation.read_query(route.path, route.method, dict(request.query_params))
    wrong += validation.check_request(route.path, route.method, values, progress.body)
    url = f"{emulator.at.api}{request.url.path.removeprefix('/api/v3')}"
    with state.lock:
        _count(emulator, caller)
        found = state.repository(f"{values['owner']}/{values['repo']}") if "repo" in values else None
        _admit(route, caller, found)
        if wrong:
            return _violation(emulator, f"{where}: request: {'; '.join(wrong)}")
        try:
            answer = route.handler(Call(emulator, url, values, query, progress.body, caller.token, found))
        except Refusal as refusal:
            answer = refusal.answer()
        progress.done = answer.status < 400
    wrong = validation.check_response(route.path, route.method, answer.status, answer.body)
    return _violation(emulator, f"{where}: answer {answer.status}: {'; '.join(wrong)}") if wrong else answer


def _admit(route: Route, caller: auth.Caller, found: Repository | None) -> None:
    if route.access == "anyone":
        return
    if route.access == "app":
        if not caller.is_app:
            raise Refusal(401, "A JSON web token could not be decoded")
        return
    if caller.name == "anonymous":
        raise Refusal(401, "Requires authentication")
    if caller.token is None:
        raise Refusal(403, "This endpoint must be called with an installation token")
    if route.access != "token":
        need = route.access
        assert isinstance(need, tuple)
        auth.require_repository(caller.token, found, need[1] != "read")
        auth.require(caller.token, need, route.also)


def _violation(emulator: Emulator, text: str) -> Answer:
    emulator.violations.append(text)
    return Answer(500, {"message": text, "documentation_url": "", "status": "500"})


def _count(emulator: Emulator, caller: auth.Caller) -> None:
    """Count one call of this hour; raises Refusal 403 beyond the limit, as GitHub does."""
    now = emulator.state.clock()
    start, used = emulator.used.get(caller.name, (now, 0))
    if now >= start + 3600:
        start, used = now, 0
    emulator.used[caller.name] = (start, used + 1)
    if used >= emulator.rate_limit:
        raise Refusal(403, f"API rate limit exceeded for {caller.name}.")


def _rate_headers(emulator: Emulator, caller: auth.Caller) -> dict[str, str]:
    headers = {f"X-RateLimit-{key.title()}": str(value) for key, value in emulator.rates(caller.name).items()}
    return {**headers, "X-RateLimit-Resource": "core"}


def _response(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    content = b"" if answer.body is None else json.dumps(answer.body).encode()
    return Response(content, answer.status, {**(headers or {}), **answer.headers}, "application/json; charset=utf-8")
