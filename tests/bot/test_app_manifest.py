"""The manifest flow against the emulated GitHub, a browser played by the test."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from bot import BotConfigurationError
from bot.app_manifest import EVENTS, PERMISSIONS, Plan, Registration, check, convert, create, form_page, manifest, store
from bot.cli import app
from bot.demo.emulator import server
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.server import EVENTS as EMULATED_EVENTS
from bot.demo.emulator.state import ALL_PERMISSIONS

PLAN = Plan("ledex", "https://ledex.example.com")
SHIPPED = Path(__file__).parents[2] / "deploy" / "github-app-manifest.json"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIcanary\n-----END RSA PRIVATE KEY-----\n"
MADE = Registration(7, "ledex", "https://github.com/apps/ledex", PEM, "canary secret")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with server.serve(tmp_path / "github") as started:
        yield started


def browser(emulator: Emulator, here: str, code: str = "one-code", state: str | None = None) -> dict[str, object]:
    """What a person's browser does: load the page, press the button, and come back from GitHub. The manifest that was posted."""
    page = httpx.get(here).text
    action = unescape(page.split("action='")[1].split("'")[0])
    described = json.loads(unescape(page.split("name='manifest' value='")[1].split("'")[0]))
    emulator.state.manifest_codes.add(code)
    given = state if state is not None else action.split("?state=")[1]
    answer = httpx.get(described["redirect_url"], params={"code": code, "state": given})
    assert answer.status_code == (200 if state is None else 400)
    return {**described, "action": action}


def test_the_flow_ends_with_the_credentials_of_the_app(emulator: Emulator) -> None:
    seen: list[dict[str, object]] = []
    plan = replace(PLAN, web_url=emulator.at.web, api_url=emulator.at.api)
    made = create(plan, lambda here: seen.append(browser(emulator, here)), timeout=20)
    assert (made.id, made.slug) == (emulator.state.app.id, "ledex")
    assert made.private_key == emulator.state.app.private_key
    assert str(seen[0]["action"]).startswith(f"{emulator.at.web}/settings/apps/new?state=")
    assert emulator.violations == []


def test_a_code_that_comes_with_another_state_is_not_taken(emulator: Emulator) -> None:
    plan = replace(PLAN, web_url=emulator.at.web, api_url=emulator.at.api)

    def attacked(here: str) -> None:
        browser(emulator, here, "stolen-code", state="forged")

    with pytest.raises(BotConfigurationError, match="sent nobody back"):
        create(plan, attacked, timeout=0.2)
    assert emulator.state.manifest_codes == {"stolen-code"}


def test_a_code_works_once(emulator: Emulator) -> None:
    emulator.state.manifest_codes.add("once")
    convert(emulator.at.api, "once")
    with pytest.raises(BotConfigurationError, match="works once and for an hour"):
        convert(emulator.at.api, "once")


def test_a_github_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(BotConfigurationError, match=r"no answer from http://127\.0\.0\.1:9"):
        convert("http://127.0.0.1:9", "code")


@pytest.mark.parametrize(("plan", "url"), [
    (PLAN, "https://github.com/settings/apps/new"),
    (replace(PLAN, organization="acme"), "https://github.com/organizations/acme/settings/apps/new"),
    (replace(PLAN, web_url="https://ghe.example.com"), "https://ghe.example.com/settings/apps/new"),
])  # fmt: skip
def test_the_form_goes_to_the_account_that_is_to_own_the_app(plan: Plan, url: str) -> None:
    assert plan.form_url == url


@pytest.mark.parametrize("url", ["http://localhost:8000", "https://127.0.0.1", "https://app.localhost", "https://"])
def test_an_address_that_github_cannot_reach_is_refused_at_once(url: str) -> None:
    with pytest.raises(BotConfigurationError, match="GitHub cannot send webhooks"):
        check(replace(PLAN, public_url=url))


def test_the_page_cannot_be_broken_by_a_name() -> None:
    page = form_page("https://github.com/x?state=s", manifest(replace(PLAN, name="a'><script>x</script>")))
    assert "<script>" not in page
    assert page.count("'") == 10  # those of five attributes


def test_only_the_committing_app_may_write_contents() -> None:
    assert manifest(PLAN)["default_permissions"] == PERMISSIONS
    assert manifest(replace(PLAN, commits=True))["default_permissions"] == {**PERMISSIONS, "contents": "write"}


def test_the_committing_app_is_what_the_emulated_github_grants_and_sends() -> None:
    assert manifest(replace(PLAN, commits=True))["default_permissions"] == ALL_PERMISSIONS
    assert set(EVENTS) == set(EMULATED_EVENTS)


def test_of_the_handled_events_only_those_that_come_unasked_are_not_asked_for() -> None:
    handled = {file.stem for file in (Path(__file__).parents[1] / "fixtures" / "octokit").glob("*.json")}
    assert handled - set(EVENTS) == {"installation", "installation_repositories", "ping"}
    assert set(EVENTS) <= handled


def test_the_shipped_manifest_is_the_one_that_is_sent() -> None:
    if os.environ.get("LEDEX_WRITE_GOLDEN"):
        SHIPPED.write_text(json.dumps(manifest(PLAN), indent=2) + "\n", encoding="utf-8")
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == manifest(PLAN)


def test_credentials_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store(PLAN, MADE, tmp_path / "data")
    finally:
        os.umask(before)
    files = sorted((tmp_path / "data").iterdir())
    assert [f.name for f in files] == ["app.env", "private-key.pem"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_what_is_shown_holds_no_secret_and_the_file_holds_all(tmp_path: Path) -> None:
    lines = store(PLAN, MADE, tmp_path)
    assert "canary" not in " ".join(lines)
    assert "MIIcanary" not in (tmp_path / "app.env").read_text()
    assert "LEDEX_BOT_WEBHOOK_SECRET='canary secret'" in (tmp_path / "app.env").read_text().splitlines()
    assert "LEDEX_BOT_APP_ID=7" in lines


def test_the_credentials_of_another_app_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_BOT_DATA_DIR", str(tmp_path))
    (tmp_path / "app.env").write_text("LEDEX_BOT_APP_ID=1\n")
    done = CliRunner().invoke(app, ["app", "create", "--public-url", "https://ledex.example.com"])
    assert (done.exit_code, "holds an App already: use --replace" in done.output.replace("\n", " ")) == (2, True)
