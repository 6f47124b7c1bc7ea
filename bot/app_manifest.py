"""Registering the GitHub App by GitHub's manifest flow: a local page posts the manifest, GitHub sends a code back, the code becomes keys.

What the App may do and hears of stands here once; ``ledex app create``, ``ledex doctor`` and deploy/github-app-manifest.json read it.
"""

from __future__ import annotations

import hmac
import json
import secrets
import shlex
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx

from bot import BotConfigurationError
from bot.private_file import write_private

PERMISSIONS: Mapping[str, str] = {
    "actions": "read",  # workflow_run; logs and artifacts of jobs
    "checks": "write",  # our check run and its buttons; other checks' annotations
    "contents": "read",  # the code, and the `push` event
    "issues": "read",  # GitHub ties the event issue_comment to it, on pull requests too
    "metadata": "read",  # every App has it
    "pull_requests": "write",  # the comment, suggestions, reactions, labels
}
COMMITTING: Mapping[str, str] = {"contents": "write"}
"""What `/ledex apply` and `/ledex pr` need on top: a choice of its own, since GitHub knows no optional permissions."""
EVENTS = ("check_run", "check_suite", "issue_comment", "pull_request", "pull_request_review_comment", "push", "workflow_run")
"""Installations and pings come to every App unasked, and a manifest that lists them is refused."""
CODE_SECONDS = 3600.0
"""GitHub takes a code for so long."""


@dataclass(frozen=True)
class Registration:
    """What GitHub answers once, and never again."""

    id: int
    slug: str
    html_url: str
    private_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """Where an App is to be registered: for the account that is logged in, or for ``organization``."""

    name: str
    public_url: str
    web_url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    organization: str | None = None
    commits: bool = False

    @property
    def form_url(self) -> str:
        owner = f"/organizations/{quote(self.organization, safe='')}" if self.organization else ""
        return f"{self.web_url}{owner}/settings/apps/new"


def manifest(plan: Plan, redirect_url: str | None = None) -> dict[str, Any]:
    """The App as GitHub's manifest describes one."""
    described = {
        "name": plan.name,
        "url": plan.public_url,
        "description": "Explains failed CI on pull requests and offers patches that were seen to pass in a sandbox.",
        "hook_attributes": {"url": f"{plan.public_url}/webhook", "active": True},
        "public": False,
        "default_permissions": dict(sorted({**PERMISSIONS, **(COMMITTING if plan.commits else {})}.items())),
        "default_events": list(EVENTS),
    }
    return {**described, "redirect_url": redirect_url} if redirect_url else described


def check(plan: Plan) -> None:
    """Raises BotConfigurationError for what GitHub would refuse after the user has clicked."""
    host = urlsplit(plan.public_url).hostname or ""
    if host in ("", "localhost", "::1", "0.0.0.0") or host.startswith("127.") or host.endswith(".localhost"):
        raise BotConfigurationError(
            f"GitHub cannot send webhooks to {plan.public_url!r}: give --public-url the address at which it reaches this server"
        )
    if not 1 <= len(plan.name) <= 34:
        raise BotConfigurationError("an App's name has 1 to 34 characters: give --name another")


def create(plan: Plan, tell: Callable[[str], None], port: int = 0, timeout: float = CODE_SECONDS) -> Registration:
    """Serve the local page until GitHub has sent the browser back, then fetch the credentials. ``tell`` gets the page's address.

    Raises BotConfigurationError when nobody finishes in ``timeout`` seconds, or GitHub refuses the code.
    """
    check(plan)
    state = secrets.token_urlsafe(24)
    received: list[str] = []
    done = threading.Event()
    page = ""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            given, code = query.get("state", [""])[0], query.get("code", [""])[0]
            if parts.path == "/":
                self._answer(200, page)
            elif parts.path != "/created":
                self._answer(404, "There is nothing here.")
            elif not code or not hmac.compare_digest(given.encode(), state.encode()):
                self._answer(400, "This answer does not belong to the App that is being made: start again at /.")
            else:
                received.append(code)
                self._answer(200, "GitHub has made the App. Go back to the terminal; this window may be closed.")
                done.set()

        def _answer(self, status: int, text: str) -> None:
            body = f"<!doctype html><meta charset='utf-8'><title>ledex</title><body>{text}</body>".encode()
            self.send_response(status)
            for name, value in (("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body))),
                                ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """The request line holds the code."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise BotConfigurationError(f"port {port} cannot be listened on ({error.strerror}): give --port another") from None
    here = f"http://127.0.0.1:{server.server_address[1]}"
    page = form_page(f"{plan.form_url}?state={state}", manifest(plan, f"{here}/created"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="app-create", daemon=True)
    thread.start()
    try:
        tell(here)
        if not done.wait(timeout):
            raise BotConfigurationError("GitHub sent nobody back: run `ledex app create` again and finish in the browser within an hour")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    return convert(plan.api_url, received[0])


def form_page(action: str, described: Mapping[str, Any]) -> str:
    """The page whose one button hands the manifest to GitHub."""
    value = escape(json.dumps(described), quote=True)
    return (
        f"<form action='{escape(action, quote=True)}' method='post'><input type='hidden' name='manifest' value='{value}'>"
        f"<p>GitHub will show the name <b>{escape(str(described['name']))}</b> and ask you to confirm.</p>"
        "<button>Create the App on GitHub</button></form>"
    )


def convert(api_url: str, code: str) -> Registration:
    """The credentials for a code, which works once. Raises BotConfigurationError."""
    again = "run `ledex app create` again"
    try:
        answer = httpx.post(
            f"{api_url}/app-manifests/{quote(code, safe='')}/conversions", headers={"Accept": "application/json"}, timeout=30
        )
    except httpx.HTTPError as error:
        raise BotConfigurationError(f"no answer from {api_url} ({type(error).__name__}): look at the network, then {again}") from None
    if answer.status_code != 201:
        raise BotConfigurationError(f"GitHub refused the code ({answer.status_code}): it works once and for an hour, so {again}")
    data = answer.json()
    return Registration(int(data["id"]), str(data["slug"]), str(data["html_url"]), str(data["pem"]), str(data["webhook_secret"]))


def environment_file(data_dir: Path) -> Path:
    return data_dir / "app.env"


def store(plan: Plan, registration: Registration, data_dir: Path) -> list[str]:
    """Write the private key and the settings, readable by this user alone. Returns the lines of the settings without any secret."""
    data_dir.mkdir(parents=True, exist_ok=True)
    key = (data_dir / "private-key.pem").resolve()
    write_private(key, registration.private_key.encode())
    known = {"APP_ID": str(registration.id), "APP_SLUG": registration.slug, "PRIVATE_KEY_FILE": str(key), "PUBLIC_URL": plan.public_url}
    if plan.web_url != "https://github.com":
        known |= {"WEB_URL": plan.web_url, "API_URL": plan.api_url}
    lines = [f"LEDEX_BOT_{name}={shlex.quote(value)}" for name, value in known.items()]
    everything = [*lines, f"LEDEX_BOT_WEBHOOK_SECRET={shlex.quote(registration.webhook_secret)}"]
    write_private(environment_file(data_dir), ("\n".join(everything) + "\n").encode())
    return lines
