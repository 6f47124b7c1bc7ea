"""git over HTTP: the smart protocol by ``git http-backend``, let in by installation tokens as GitHub does."""

from __future__ import annotations

import subprocess
import time

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from bot.demo.emulator import auth, events, repositories
from bot.demo.emulator.answers import Refusal
from bot.demo.emulator.cut import Cut
from bot.demo.emulator.emulator import Emulator, LogEntry
from bot.demo.emulator.state import Repository

_SERVICES = ("info/refs", "git-upload-pack", "git-receive-pack")


def add(application: FastAPI, emulator: Emulator) -> None:
    """Serve /OWNER/NAME.git (the suffix may be left out)."""

    @application.api_route("/{owner}/{name}/{service:path}", methods=["GET", "POST"], response_model=None)
    async def git(request: Request, owner: str, name: str, service: str) -> Response:
        if service not in _SERVICES:
            return PlainTextResponse("Not Found", 404)
        raw = await request.body()
        return await run_in_threadpool(_serve, emulator, request, f"{owner}/{name.removesuffix('.git')}", service, raw)


def _serve(emulator: Emulator, request: Request, full_name: str, service: str, raw: bytes) -> Response:
    """Let in, run, and log what was moved (pushes) or fetched."""
    writes = "git-receive-pack" in (service, request.query_params.get("service"))
    caller, done = auth.Caller("anonymous"), False
    moved: dict[str, str | None] = {}
    answer: Response
    fault = emulator.faults.draw("GIT", request.url.path)
    if fault and fault.kind == "slow":
        time.sleep(fault.seconds)
    if fault and fault.kind == "drop":
        return Cut(emulator)
    try:
        early = fault.answer() if fault else None
        if early is not None:
            raise Refusal(early.status, "Server Error")
        with emulator.state.lock:
            caller = auth.identify(emulator.state, request.headers)
            where = _let_in(emulator, caller, full_name, writes)
        if service == "git-receive-pack":
            with emulator.state.lock:
                answer, moved = _push(emulator, request, where, service, raw)
        else:
            answer = _backend(request, where, service, raw)
        done = answer.status_code < 400
    except Refusal as refusal:
        headers = {"WWW-Authenticate": 'Basic realm="GitHub"'} if refusal.status == 401 else {}
        answer = PlainTextResponse(refusal.message, refusal.status, headers)
    kind = fault.kind if fault else None
    status = None if kind == "drop_after" else answer.status_code
    entry = LogEntry(emulator.state.clock(), request.method, request.url.path, caller.name, status, moved or None, None, kind, done)
    with emulator.state.lock:
        emulator.log.append(entry)
    return Cut(emulator) if kind == "drop_after" else answer


def _let_in(emulator: Emulator, caller: auth.Caller, full_name: str, writes: bool) -> Repository:
    where = emulator.state.repository(full_name)
    if caller.token is not None:
        where = auth.require_repository(caller.token, where, writes)
        auth.require(caller.token, ("contents", "write" if writes else "read"))
        return where
    if where is None or where.private or writes:
        raise Refusal(401, "Authentication required.")
    return where


def _push(emulator: Emulator, request: Request, where: Repository, service: str, raw: bytes) -> tuple[Response, dict[str, str | None]]:
    """The answer, and the branches that moved with their new commits (None: deleted)."""
    before = repositories.branches(where.directory)
    answer = _backend(request, where, service, raw)
    after = repositories.branches(where.directory)
    moved = {name: after.get(name) for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)}
    for branch, commit in moved.items():
        events.branch_moved(emulator, where, branch, before.get(branch), commit, emulator.state.app.bot)
    return answer, moved


def _backend(request: Request, where: Repository, service: str, raw: bytes) -> Response:
    """One run of the CGI program."""
    variables = {
        **repositories.clean_environment(),
        "GIT_PROJECT_ROOT": str(where.directory), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": f"/{service}", "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.url.query, "CONTENT_TYPE": request.headers.get("content-type", ""), "CONTENT_LENGTH": str(len(raw)),
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""), "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "REMOTE_USER": "x-access-token", "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(["git", "http-backend"], input=raw, env=variables, capture_output=True, check=False)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line)
    if not headers:
        return PlainTextResponse(done.stderr.decode(errors="replace"), 500)
    status = int(headers.pop("Status", "200").split()[0])
    return Response(content, status, headers)
