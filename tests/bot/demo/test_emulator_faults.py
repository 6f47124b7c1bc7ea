"""Faults on order, and what the request log says of them."""

from __future__ import annotations

import time

import httpx
import pytest

from bot.demo.emulator import script
from bot.demo.emulator.faults import Fault, FaultPlan, Faults

from .conftest import Hub


def test_a_write_can_land_although_its_connection_was_lost(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    path = f"/repos/{repository.full_name}/issues/{pull.number}/comments"
    token = hub.token(repository)
    hub.emulator.log.clear()
    hub.emulator.faults.once("POST", r"/comments$", Fault("drop_after"))
    with hub.http(token) as client:
        with pytest.raises(httpx.TransportError):
            client.post(path, json={"body": "hello"})
        assert [one["body"] for one in client.get(path).json()] == ["hello"]
    assert [(one.method, one.status, one.done, one.fault) for one in hub.emulator.log] == [
        ("POST", None, True, "drop_after"),
        ("GET", 200, True, None),
    ]


def test_a_dropped_write_does_not_land(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    token = hub.token(repository)
    hub.emulator.faults.once("POST", r"/comments$", Fault("drop"))
    with hub.http(token) as client, pytest.raises(httpx.TransportError):
        client.post(f"/repos/{repository.full_name}/issues/{pull.number}/comments", json={"body": "hello"})
    assert script.comments_of(hub.emulator, pull) == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [("401", 401), ("403", 403), ("404", 404), ("409", 409), ("422", 422), ("429", 429), ("secondary", 403), ("503", 503)],
)
def test_a_fault_answers_its_status_and_does_nothing(hub: Hub, kind: str, status: int) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    token = hub.token(repository)
    hub.emulator.faults.once("POST", r"/comments$", Fault(kind, 7))
    with hub.http(token) as client:
        answer = client.post(f"/repos/{repository.full_name}/issues/{pull.number}/comments", json={"body": "hello"})
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("7" if kind in ("429", "secondary") else None)
    assert script.comments_of(hub.emulator, pull) == []


def test_a_slow_answer_takes_its_time_and_holds_nobody_up(hub: Hub) -> None:
    repository = hub.repository()
    token = hub.token(repository)
    hub.emulator.faults.once("GET", r"/pulls$", Fault("slow", 0.3))
    with hub.http(token) as client:
        begun = time.monotonic()
        assert client.get(f"/repos/{repository.full_name}/pulls").status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_a_plan_fails_the_same_calls_for_the_same_seed() -> None:
    plan = FaultPlan(seed=7, share=0.1)
    first, second = (
        [fault.kind if fault else None for fault in (faults.draw("GET", "/x") for _ in range(1000))]
        for faults in (Faults(plan), Faults(plan))
    )
    assert first == second
    assert 60 < sum(kind is not None for kind in first) < 140


def test_a_fault_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault is named 'fire'"):
        Fault("fire")


def test_a_call_that_the_description_forbids_is_a_violation(hub: Hub) -> None:
    repository = hub.repository()
    with hub.http(hub.token(repository)) as client:
        answers = [
            client.post(f"/repos/{repository.full_name}/check-runs", json={"name": "ledex"}),
            client.get(f"/repos/{repository.full_name}/pulls?stat=open"),
            client.get(f"/repos/{repository.full_name}/teams"),
        ]
    assert [one.status_code for one in answers] == [500, 500, 404]
    texts = hub.emulator.violations.copy()
    hub.emulator.violations.clear()
    assert len(texts) == 3
    assert "'head_sha' is a required property" in texts[0] or "is not valid" in texts[0]
    assert "'stat' is not described" in texts[1]
    assert "does not serve" in texts[2]
