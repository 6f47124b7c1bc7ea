"""GitHub never delivers a webhook again by itself: what was sent, what never arrived, and asking for it once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from bot.github.protocol import App, Delivery
from bot.github.transport import PoliteRequester

MOST_LISTED = 5_000
LONGEST_WAIT = timedelta(hours=6)
"""Between two attempts at the same delivery, however long it has failed: it is given up only when GitHub has forgotten it."""


def list_deliveries(requester: PoliteRequester, since: datetime) -> list[Delivery]:
    """Newest first, back to ``since``. ``requester`` speaks as the App. GitHub keeps them for 3 days (GHES 7)."""
    found: list[Delivery] = []
    for data in requester.pages("/app/hook/deliveries"):
        delivery = delivery_of(data)
        if delivery.delivered_at < since or len(found) >= MOST_LISTED:
            break
        found.append(delivery)
    return found


def delivery_of(data: dict[str, Any]) -> Delivery:
    return Delivery(
        id=data["id"],
        guid=data["guid"],
        event=data["event"],
        status=data["status"],
        status_code=data["status_code"],
        delivered_at=datetime.fromisoformat(data["delivered_at"]),
        redelivery=bool(data["redelivery"]),
        installation_id=data.get("installation_id"),
        repository_id=data.get("repository_id"),
    )


def undelivered(
    deliveries: Iterable[Delivery], recorded: Callable[[str], bool] = lambda guid: False, now: datetime | None = None
) -> list[Delivery]:
    """Of each guid without a successful attempt, and that we have not ``recorded``, the latest attempt; oldest first. With ``now`` only
    those whose turn it is: after a wait as long as was tried already."""
    attempts: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        attempts.setdefault(delivery.guid, []).append(delivery)
    lost = [
        max(tried, key=lambda d: d.delivered_at)
        for guid, tried in attempts.items()
        if not any(d.ok for d in tried) and (now is None or _is_due([d.delivered_at for d in tried], now)) and not recorded(guid)
    ]
    return sorted(lost, key=lambda d: d.delivered_at)


def _is_due(tried: list[datetime], now: datetime) -> bool:
    return now - max(tried) >= min(max(tried) - min(tried), LONGEST_WAIT)


def redeliver_lost(app: App, since: datetime, recorded: Callable[[str], bool], now: datetime) -> list[str]:
    """Asks for what never arrived since then and whose turn it is; the guids asked for. A request that fails is made at the next sweep."""
    asked = []
    for delivery in undelivered(app.deliveries(since), recorded, now):
        app.redeliver(delivery.id)
        asked.append(delivery.guid)
    return asked
