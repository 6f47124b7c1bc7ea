"""A small real HTTP server in the place of GitHub: it keeps what is written, logs every request, and fails where it is told to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

APP_ID, SLUG = 77, "ledex-test"
REPOSITORY, REPOSITORY_ID, INSTALLATION = "octo/calc", 42, 9
APP_USER = {"login": f"{SLUG}[bot]", "id": 7000, "type": "Bot"}
PERSON = {"login": "mona", "id": 1, "type": "User"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    """Close the connection instead of answering, after the handler did its work."""


Handler = Callable[[Request], Answer]


class Server:
    """``on`` adds a route, the latest first; ``fail`` makes the next matching requests fail, before or after the route did its work."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self.comments: list[dict[str, Any]] = []
        self.minted = 0
        self.comment_pause = 0.0
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._failures: list[tuple[str, re.Pattern[str], Answer, bool]] = []
        self._lock = threading.Lock()
        self.on("GET", "/app", lambda r: Answer(body={"id": APP_ID, "slug": SLUG, "permissions": {"checks": "write"}, "events": ["push"]}))
        self.on("POST", r"/app/installations/\d+/access_tokens", self._mint)
        self.on("GET", rf"/repos/{REPOSITORY}/issues/\d+/comments", self._list_comments)
        self.on("POST", rf"/repos/{REPOSITORY}/issues/\d+/comments", self._create_comment)
        self.on("PATCH", rf"/repos/{REPOSITORY}/issues/comments/\d+", self._edit_comment)

    def on(self, method: str, path: str, handler: Handler) -> None:
        self._routes.insert(0, (method, re.compile(path), handler))

    def fail(self, method: str, path: str, answer: Answer, *, times: int = 1, after: bool = False) -> None:
        self._failures.extend([(method, re.compile(path), answer, after)] * times)

    def seen(self, method: str, path: str) -> list[Request]:
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.path)]

    def say(self, body: str, *, user: dict[str, Any] = PERSON, app: int | None = None) -> int:
        number = 1000 + len(self.comments)
        url = f"https://github.com/{REPOSITORY}/pull/5#issuecomment-{number}"
        comment = {"id": number, "body": body, "user": user, "html_url": url, "performed_via_github_app": {"id": app} if app else None}
        self.comments.append(comment)
        return number

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            failure = next((f for f in self._failures if f[0] == request.method and f[1].fullmatch(request.path)), None)
            if failure is not None:
                self._failures.remove(failure)
                if not failure[3]:
                    return failure[2]
        for method, path, handler in self._routes:
            if method == request.method and path.fullmatch(request.path):
                made = handler(request)
                return failure[2] if failure is not None else made
        return Answer(404, {"message": "Not Found"})

    def _mint(self, request: Request) -> Answer:
        self.minted += 1
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        return Answer(201, {"token": f"ghs_{self.minted:036d}", "expires_at": ends, "permissions": request.body["permissions"]})

    def _list_comments(self, request: Request) -> Answer:
        page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", 30))
        more = page * size < len(self.comments)
        link = (
            {"Link": f'<{self.url}{request.path}?per_page={size}&page={page + 1}>; rel="next", <{self.url}/x>; rel="last"'} if more else {}
        )
        return Answer(body=self.comments[(page - 1) * size : page * size], headers=link)

    def _create_comment(self, request: Request) -> Answer:
        time.sleep(self.comment_pause)
        number = self.say(request.body["body"], user=APP_USER, app=APP_ID)
        return Answer(201, next(c for c in self.comments if c["id"] == number))

    def _edit_comment(self, request: Request) -> Answer:
        comment = next(c for c in self.comments if c["id"] == int(request.path.rsplit("/", 1)[1]))
        comment["body"] = request.body["body"]
        return Answer(body=comment)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

        def _handle(self) -> None:
            address = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k.lower(): v for k, v in self.headers.items()}
            answer = server.answer(
                Request(self.command, address.path, dict(parse_qsl(address.query)), headers, json.loads(raw) if raw else None)
            )
            if answer.drop:
                self.close_connection = True
                return
            content = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handling)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
