"""The engine's settings, from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from inference import ConfigurationError
from inference.settings import PREFIX, InferenceSettings, load_settings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENDPOINTS": " http://a:8000/v1/ , https://b/openai/v1,http://a:8000", "API_KEY": "key", "CONCURRENCY": "4", "CANARY_SHARE": "0.25",
        "EXTRA_BODY": '{"top_k": 20}', "ADAPTERS": "/adapters", "GPU_HOUR_PRICE": "2.5",
    }.items():  # fmt: skip
        monkeypatch.setenv(PREFIX + name, value)
    settings = load_settings()
    assert settings.endpoints == ("http://a:8000", "https://b/openai")
    assert settings.headers == {"Authorization": "Bearer key"}
    assert (settings.concurrency, settings.canary_share, settings.gpu_hour_price) == (4, 0.25, 2.5)
    assert settings.extra_body == {"top_k": 20}
    assert settings.adapters == Path("/adapters")
    assert settings.is_configured


def test_without_any_variable_there_is_no_model() -> None:
    assert not load_settings().is_configured


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINTS", "vllm:8000"),
        ("ENDPOINTS", "ftp://vllm"),
        ("ENDPOINTS", "http://user:secret-value@vllm"),
        ("ENDPOINTS", "http://vllm?key=secret-value"),
        ("ENDPOINTS", "http://"),
        ("API_KEY", "secret-value\n"),
        ("EXTRA_BODY", "{secret-value"),
        ("EXTRA_BODY", "[1]"),
        ("VLLM_ARGUMENTS", "'secret-value"),
        ("VLLM_PORT", "70000"),
        ("CANARY_SHARE", "1.5"),
        ("CONCURRENCY", "0"),
        ("REQUEST_SECONDS", "secret-value"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_and_not_the_value(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert str(error.value).startswith(f"{PREFIX}{name}: ")
    assert "\n" not in str(error.value)
    assert "secret-value" not in str(error.value)


def test_endpoints_a_vllm_and_a_checkpoint_exclude_each_other() -> None:
    for pair in ({"endpoints": "http://a", "checkpoint": "/model"}, {"endpoints": "http://a", "vllm": "qwen"},
                 {"vllm": "qwen", "checkpoint": "/model"}):  # fmt: skip
        with pytest.raises(ConfigurationError, match="not both"):
            load_settings(**pair)


def test_a_vllm_of_this_machine_is_asked_at_its_port() -> None:
    settings = load_settings(vllm="qwen", vllm_port=8123)
    assert settings.is_configured
    assert settings.addresses == ("http://127.0.0.1:8123",)


def test_the_key_is_not_in_the_text_of_the_settings() -> None:
    assert "secret-value" not in repr(load_settings(api_key="secret-value", endpoints="http://a"))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings().concurrency = 3


def test_every_setting_has_a_sentence() -> None:
    assert [name for name, one in InferenceSettings.model_fields.items() if not (one.description or "").endswith(".")] == []
