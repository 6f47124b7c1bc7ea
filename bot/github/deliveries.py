"""GitHub never delivers a webhook again by itself: what was sent, what never arrived, and asking for it once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from bot.github.protocol import App, Delivery
from bot.github.transport import PoliteRequester

MOST_LISTED = 5_000
MOST_ATTEMPTS = 5
"""A delivery that failed so often fails for a reason that another attempt does not mend."""


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


def undelivered(deliveries: Iterable[Delivery], recorded: Callable[[str], bool] = lambda guid: False) -> list[Delivery]:
    """Of each guid without a successful attempt, and that we have not ``recorded``, the latest attempt; oldest first."""
    attempts: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        attempts.setdefault(delivery.guid, []).append(delivery)
    lost = [
        max(tried, key=lambda d: d.delivered_at)
        for guid, tried in attempts.items()
        if not any(d.ok for d in tried) and len(tried) < MOST_ATTEMPTS and not recorded(guid)
    ]
    return sorted(lost, key=lambda d: d.delivered_at)


def redeliver_lost(app: App, since: datetime, recorded: Callable[[str], bool]) -> list[str]:
    """Asks for everything that never arrived since then; the guids asked for. A request that fails is made at the next sweep."""
    asked = []
    for delivery in undelivered(app.deliveries(since), recorded):
        app.redeliver(delivery.id)
        asked.append(delivery.guid)
    return asked
