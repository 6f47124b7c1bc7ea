"""The settings: what they refuse, and that they never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import BotConfigurationError
from bot.settings import BotSettings, load_settings


def test_the_webhook_secret_alone_is_enough_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_BOT_WEBHOOK_SECRET", "canary")
    settings = load_settings()
    assert settings.webhook_secrets == (b"canary",)
    assert settings.is_embedded
    assert not settings.is_configured


def test_no_secret_shows_in_the_text_of_the_settings() -> None:
    given = {name: f"canary-{name}" for name in ("webhook_secret", "webhook_secret_previous", "private_key")}
    settings = load_settings(app_id=1, database_url="postgresql://u:canary-db@h/n", broker_url="redis://:canary-redis@h/0", **given)
    assert "canary" not in repr(settings) + str(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_without_a_secret_the_previous_one_does_not_count() -> None:
    assert load_settings(webhook_secret_previous="old").webhook_secrets == ()


def test_an_empty_secret_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_BOT_WEBHOOK_SECRET", "")
    assert load_settings().webhook_secrets == ()
    assert load_settings(webhook_secret="").webhook_secrets == ()


def test_numbers_of_bots_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_BOT_ALLOWED_BOTS", "49699333, 29139614")
    assert load_settings().allowed_bots == {49699333, 29139614}


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"app_id": "x"}, "LEDEX_BOT_APP_ID"),
        ({"broker_url": "sqla+sqlite:///x"}, "LEDEX_BOT_BROKER_URL"),
        ({"api_url": "api.github.com"}, "LEDEX_BOT_API_URL"),
        ({"private_key": "k"}, "LEDEX_BOT_APP_ID"),
        ({"app_id": 1, "private_key": "k", "private_key_file": "f"}, "LEDEX_BOT_PRIVATE_KEY"),
        ({"allowed_bots": "dependabot[bot]"}, "LEDEX_BOT_ALLOWED_BOTS"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_variable(given: dict[str, str], variable: str) -> None:
    with pytest.raises(BotConfigurationError, match=variable) as caught:
        load_settings(**given)
    assert "\n" not in str(caught.value)


def test_a_wrong_secret_is_not_quoted() -> None:
    with pytest.raises(BotConfigurationError) as caught:
        load_settings(broker_url="mysql://user:canary@host")
    assert "canary" not in str(caught.value)


def test_the_private_key_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("a key\n", encoding="ascii")
    settings = load_settings(app_id=1, private_key_file=tmp_path / "key.pem")
    assert settings.is_configured
    assert settings.read_private_key().get_secret_value() == "a key\n"


def test_a_private_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BotConfigurationError, match=r"nothing\.pem cannot be read"):
        load_settings(app_id=1, private_key_file=tmp_path / "nothing.pem").read_private_key()


def test_a_private_key_on_one_line_gets_its_line_breaks_back() -> None:
    key = load_settings(app_id=1, private_key="-----BEGIN-----\\nabc\\n").read_private_key()
    assert key.get_secret_value() == "-----BEGIN-----\nabc\n"


def test_every_setting_has_a_sentence() -> None:
    assert [name for name, field in BotSettings.model_fields.items() if not (field.description or "").endswith(".")] == []
