"""Findings between the server and GitHub, each seen from facts, and the whole of it once against the emulated GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.app_manifest import EVENTS, PERMISSIONS
from bot.demo.emulator import script
from bot.demo.stage import Stage, stage
from bot.doctor import Answer, clock, delivered, examine, get, installed, lacking, reachable, registered, secret, subscribed, webhook
from bot.github.protocol import AppIdentity, Delivery
from bot.settings import BotSettings

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
PAGE = "https://github.com/settings/apps/ledex"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as started:
        script.add_repository(started.emulator, "octo/shop", {"a.py": "x = 1\n"})
        yield started


def test_an_app_that_is_set_up_well_has_no_finding(running: Stage) -> None:
    found = examine(running.context.settings, running.context.github)
    assert [f"{f.name}: {f.detail}" for f in found if not f.ok] == []
    assert {"clock", "permissions", "events", "installations", "webhook", "server", "deliveries"} <= {f.name for f in found}


def test_a_permission_that_an_installation_has_not_accepted_is_found_with_its_page(running: Stage) -> None:
    [one] = running.emulator.state.installations.values()
    one.permissions["pull_requests"] = "read"
    found = {f.name: f for f in examine(running.context.settings, running.context.github)}
    assert found["installations"].detail == f"installation {one.id} has not granted pull_requests: write"
    assert found["installations"].remedy.endswith(f"/settings/installations/{one.id}")


def test_a_webhook_that_goes_elsewhere_is_found(running: Stage) -> None:
    running.emulator.deliveries.url = "https://old.example.com/webhook"
    found = {f.name: f for f in examine(running.context.settings, running.context.github)}
    assert found["webhook"].detail == f"GitHub sends to https://old.example.com/webhook, not to {running.url}/webhook"


def test_without_an_app_the_way_to_one_is_said() -> None:
    [finding] = examine(BotSettings(), None)
    assert (finding.ok, finding.remedy.startswith("ledex app create")) == (False, True)


@pytest.mark.parametrize(("seconds", "ok"), [(0, True), (40, True), (-40, True), (90, False), (-90, False)])
def test_a_clock_that_github_would_not_trust_is_found(seconds: int, ok: bool) -> None:
    finding = clock(BotSettings(), Answer(200, "", NOW, NOW + timedelta(seconds=seconds)))
    assert finding.ok is ok
    assert ok or f"90 s {'ahead of' if seconds > 0 else 'behind'} GitHub's" in finding.detail


def test_nobody_at_the_api_is_a_finding_and_no_crash() -> None:
    assert not clock(BotSettings(), get("http://127.0.0.1:9/rate_limit")).ok


@pytest.mark.parametrize(("granted", "missing"), [
    (PERMISSIONS, {}),
    ({**PERMISSIONS, "contents": "write"}, {}),
    ({**PERMISSIONS, "checks": "read"}, {"checks": "write"}),
    ({k: v for k, v in PERMISSIONS.items() if k != "issues"}, {"issues": "read"}),
])  # fmt: skip
def test_what_is_lacking_is_missing_or_granted_at_a_lower_level(granted: dict[str, str], missing: dict[str, str]) -> None:
    assert lacking(granted) == missing


def test_an_event_that_the_app_does_not_hear_of_is_named() -> None:
    finding = subscribed(AppIdentity(1, "ledex", PERMISSIONS, tuple(e for e in EVENTS if e != "workflow_run")), PAGE)
    assert (finding.ok, "workflow_run" in finding.detail, PAGE in finding.remedy) == (False, True, True)


def test_an_app_without_a_permission_is_told_where_to_grant_it() -> None:
    finding = registered(AppIdentity(1, "ledex", {**PERMISSIONS, "checks": "read"}, EVENTS), PAGE)
    assert (finding.detail, finding.remedy) == ("the App lacks checks: write", f"grant them at {PAGE}/permissions")


def test_an_app_that_is_installed_nowhere_is_found() -> None:
    [finding] = installed({}, "https://github.com", "ledex")
    assert finding.remedy == "install it at https://github.com/apps/ledex/installations/new"


def test_an_address_that_is_not_set_cannot_be_compared() -> None:
    assert not webhook(None, "https://a.example.com/webhook", PAGE).ok
    assert not reachable(None, Answer(None)).ok


@pytest.mark.parametrize(("answer", "words"), [(Answer(502), "answers 502"), (Answer(None, "refused"), "does not answer (refused)")])
def test_a_server_that_does_not_answer_well_is_found(answer: Answer, words: str) -> None:
    finding = reachable("https://ledex.example.com", answer)
    assert (finding.ok, words in finding.detail) == (False, True)


def test_deliveries_that_never_arrived_are_counted_and_the_last_one_named() -> None:
    lost = [Delivery(n, f"g{n}", "push", "timed out", 504, NOW - timedelta(hours=n)) for n in (1, 2)]
    arrived = Delivery(9, "g9", "ping", "OK", 202, NOW)
    finding = delivered([arrived, *lost], PAGE)
    assert finding.detail == "2 did not arrive; the last is push at 2026-11-24 09:00 UTC, timed out (504)"
    assert delivered([arrived], PAGE).ok


def test_a_server_without_a_webhook_secret_is_told_which_setting_to_make() -> None:
    assert "LEDEX_BOT_WEBHOOK_SECRET" in secret(BotSettings()).remedy
