"""What is wrong between this server and GitHub: one finding a line, each with the way out. Gathered over the App's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from bot.app_manifest import EVENTS, PERMISSIONS
from bot.github import GitHubError
from bot.github.deliveries import undelivered
from bot.github.protocol import App, AppIdentity, Delivery
from bot.settings import PREFIX, BotSettings
from sandbox.doctor import Finding

MOST_SKEW_SECONDS = 45.0
"""A token that the App signs is dated a minute back; a clock further ahead than that is refused by GitHub."""
LOOK_BACK = timedelta(days=3)
_RANK = {"": 0, "read": 1, "write": 2, "admin": 3}


@dataclass(frozen=True)
class Answer:
    """Of one HTTP request: ``status`` None when nobody answered, ``detail`` then says why. ``date`` is the server's own clock."""

    status: int | None
    detail: str = ""
    date: datetime | None = None
    at: datetime | None = None


def get(url: str) -> Answer:
    try:
        answer = httpx.get(url, timeout=10, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(None, str(error) or type(error).__name__)
    try:
        date = parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        date = None
    return Answer(answer.status_code, "", date, datetime.now(UTC))


def examine(settings: BotSettings, app: App | None) -> list[Finding]:
    """Everything, in the order in which it should be mended. Reads only; a question that GitHub does not answer is a finding."""
    if app is None:
        return [Finding("App", False, "no App is set up", "ledex app create --public-url https://WHERE-GITHUB-REACHES-THIS-SERVER")]
    found = [secret(settings), clock(settings, get(f"{settings.api_url}/rate_limit"))]
    try:
        identity = app.identity()
    except GitHubError as error:
        return [*found, Finding("App", False, f"{error}")]
    found.append(Finding("App", True, f"{identity.slug}, number {identity.id}"))
    page = f"{settings.web_url}/settings/apps/{identity.slug}"
    found += [registered(identity, page), subscribed(identity, page)]
    try:
        granted = {number: app.installation_permissions(number) for number in app.installations()}
        found += installed(granted, settings.web_url, identity.slug)
        found.append(webhook(settings.public_url, app.webhook_url(), page))
        found.append(reachable(settings.public_url, get(f"{settings.public_url}/healthz") if settings.public_url else Answer(None)))
        found.append(delivered(app.deliveries(datetime.now(UTC) - LOOK_BACK), page))
    except GitHubError as error:
        found.append(Finding("GitHub", False, f"{error}"))
    return found


def secret(settings: BotSettings) -> Finding:
    if settings.webhook_secrets:
        return Finding("webhook secret", True, "set")
    return Finding("webhook secret", False, f"{PREFIX}WEBHOOK_SECRET is not set: every delivery is refused",
                   f"set {PREFIX}WEBHOOK_SECRET to the secret of the App's settings page")  # fmt: skip


def clock(settings: BotSettings, answer: Answer) -> Finding:
    if answer.status is None:
        return Finding("clock", False, f"{settings.api_url} does not answer ({answer.detail})", f"look at {PREFIX}API_URL and the network")
    if answer.date is None or answer.at is None:
        return Finding("clock", True, "the API tells no time; the clock was not compared")
    skew = (answer.at - answer.date).total_seconds()
    if abs(skew) <= MOST_SKEW_SECONDS:
        return Finding("clock", True, f"within {max(abs(skew), 1.0):.0f} s of GitHub's")
    where = "ahead of" if skew > 0 else "behind"
    return Finding("clock", False, f"{abs(skew):.0f} s {where} GitHub's: its tokens are refused", "sudo timedatectl set-ntp true")


def lacking(granted: Mapping[str, str]) -> dict[str, str]:
    """Of what is needed, that which is missing or granted at a lower level."""
    return {name: level for name, level in PERMISSIONS.items() if _RANK.get(granted.get(name, ""), 0) < _RANK[level]}


def registered(identity: AppIdentity, page: str) -> Finding:
    missing = lacking(identity.permissions)
    if missing:
        return Finding("permissions", False, f"the App lacks {_named(missing)}", f"grant them at {page}/permissions")
    writes = identity.permissions.get("contents") == "write"
    return Finding("permissions", True, "all granted" + ("" if writes else "; without contents: write there is no /ledex apply nor pr"))


def subscribed(identity: AppIdentity, page: str) -> Finding:
    missing = sorted(set(EVENTS) - set(identity.events))
    if missing:
        return Finding("events", False, f"the App does not hear of {', '.join(missing)}", f"tick them at {page}/permissions")
    return Finding("events", True, "all subscribed")


def installed(granted: Mapping[int, Mapping[str, str]], web_url: str, slug: str) -> list[Finding]:
    """An installation keeps its old permissions until its owner accepts the App's new ones."""
    if not granted:
        return [Finding("installations", False, "the App is installed nowhere", f"install it at {web_url}/apps/{slug}/installations/new")]
    found = []
    for number, permissions in granted.items():
        if missing := lacking(permissions):
            way = f"its owner accepts the new permissions at {web_url}/settings/installations/{number}"
            found.append(Finding("installations", False, f"installation {number} has not granted {_named(missing)}", way))
    return found or [Finding("installations", True, f"{len(granted)}, with everything that is needed")]


def webhook(public_url: str | None, told: str | None, page: str) -> Finding:
    if public_url is None:
        return Finding("webhook", False, f"{PREFIX}PUBLIC_URL is not set, so the address of webhooks cannot be compared",
                       f"set {PREFIX}PUBLIC_URL to the address at which GitHub reaches this server")  # fmt: skip
    wanted = f"{public_url}/webhook"
    if told == wanted:
        return Finding("webhook", True, f"GitHub sends to {wanted}")
    return Finding("webhook", False, f"GitHub sends to {told or 'nowhere'}, not to {wanted}", f"set the webhook URL at {page}")


def reachable(public_url: str | None, answer: Answer) -> Finding:
    if public_url is None:
        return Finding("server", False, f"not looked for: {PREFIX}PUBLIC_URL is not set")
    if answer.status == 200:
        return Finding("server", True, f"{public_url} answers")
    said = f"answers {answer.status}" if answer.status is not None else f"does not answer ({answer.detail})"
    way = "start `ledex serve`, and let the proxy before it pass /healthz and /webhook"
    return Finding("server", False, f"{public_url}/healthz {said}", way)


def delivered(deliveries: list[Delivery], page: str) -> Finding:
    """``deliveries``: newest first."""
    lost = undelivered(deliveries)
    if not lost:
        return Finding("deliveries", True, f"none of {len(deliveries)} since {LOOK_BACK.days} days ago is lost")
    last = lost[-1]
    said = f"the last is {last.event} at {last.delivered_at:%Y-%m-%d %H:%M} UTC, {last.status} ({last.status_code})"
    way = f"look at {page}/advanced; `ledex serve` asks for them again by itself"
    return Finding("deliveries", False, f"{len(lost)} did not arrive; {said}", way)


def _named(permissions: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {level}" for name, level in sorted(permissions.items()))
