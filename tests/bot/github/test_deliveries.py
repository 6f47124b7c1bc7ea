from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.github import Unavailable
from bot.github.client import GitHub
from bot.github.deliveries import redeliver_lost, undelivered
from bot.github.protocol import Delivery
from tests.bot.github.fakes import InMemoryGitHub
from tests.bot.github.server import Answer, Request, Server

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def delivery(number: int, guid: str, code: int, minutes: int = 0) -> Delivery:
    return Delivery(number, guid, "push", "OK" if code < 300 else "failed", code, NOON + timedelta(minutes=minutes))


def test_of_each_guid_that_never_arrived_the_latest_attempt_is_taken_oldest_first() -> None:
    sent = [
        delivery(5, "b", 502, 9),
        delivery(4, "a", 500, 8),
        delivery(3, "a", 502, 3),
        delivery(2, "ok", 502, 2),
        delivery(1, "ok", 202, 4),
    ]
    assert [d.id for d in undelivered(sent)] == [4, 5]


def test_what_we_recorded_is_not_asked_for_even_if_our_answer_was_lost() -> None:
    assert undelivered([delivery(1, "a", 504)], recorded=lambda guid: guid == "a") == []


def test_a_delivery_is_asked_for_after_a_wait_as_long_as_it_was_tried_and_never_given_up() -> None:
    minutes, sent = 0, [delivery(1, "a", 502)]
    while minutes < 3 * 24 * 60:  # GitHub forgets it then
        if undelivered(sent, now=NOON + timedelta(minutes=minutes)):
            sent.append(delivery(len(sent) + 1, "a", 502, minutes))
        minutes += 5
    at = [(d.delivered_at - NOON).total_seconds() / 60 for d in sent]
    assert at[:8] == [0, 0, 5, 10, 20, 40, 80, 160]
    assert at[-1] > 3 * 24 * 60 - 6 * 60
    assert len(sent) < 25


def as_json(number: int, minutes: int) -> dict[str, Any]:
    at = (NOON - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": number, "guid": f"g{number}", "delivered_at": at, "redelivery": False, "duration": 0.1, "status": "failed",
        "status_code": 502, "event": "push", "action": None, "installation_id": 9, "repository_id": 42,
    }  # fmt: skip


def test_the_list_is_followed_by_cursor_back_to_the_moment_asked_for(server: Server, github: GitHub) -> None:
    pages = {"": [as_json(1, 1), as_json(2, 2)], "v1": [as_json(3, 3), as_json(4, 61)], "v2": [as_json(5, 70)]}
    following = {"": "v1", "v1": "v2"}

    def listed(request: Request) -> Answer:
        cursor = request.query.get("cursor", "")
        address = f"{server.url}/app/hook/deliveries?per_page=100&cursor={following.get(cursor)}"
        link = {"Link": f'<{address}>; rel="next"'} if cursor in following else {}
        return Answer(body=pages[cursor], headers=link)

    server.on("GET", "/app/hook/deliveries", listed)
    found = github.deliveries(NOON - timedelta(hours=1))
    assert [d.id for d in found] == [1, 2, 3]
    assert found[0].delivered_at == NOON - timedelta(minutes=1)
    assert [r.query.get("cursor", "") for r in server.seen("GET", "/app/hook/deliveries")] == ["", "v1"]
    assert server.requests[0].headers["authorization"].startswith("Bearer ")


def test_a_redelivery_is_asked_for_once(server: Server, github: GitHub) -> None:
    server.on("POST", r"/app/hook/deliveries/\d+/attempts", lambda r: Answer(202, {}))
    github.redeliver(7)
    assert [r.path for r in server.requests] == ["/app/hook/deliveries/7/attempts"]


def test_a_sweep_asks_for_what_was_lost_and_says_which() -> None:
    github = InMemoryGitHub(sent=[delivery(1, "a", 502), delivery(2, "b", 202), delivery(3, "c", 502, 1)])
    assert redeliver_lost(github, NOON, lambda guid: guid == "c", NOON) == ["a"]
    assert github.redelivered == [1]


def test_a_sweep_that_fails_midway_tells() -> None:
    github = InMemoryGitHub(sent=[delivery(1, "a", 502)])
    github.fail("redeliver", Unavailable("down"))
    with pytest.raises(Unavailable):
        redeliver_lost(github, NOON, lambda guid: False, NOON)
