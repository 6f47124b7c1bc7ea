"""The commands that say which adapter answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app
from inference.adapters import Registry, States
from tests.inference.model.test_adapters import publish


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("LEDEX_INFERENCE_ADAPTERS", str(tmp_path / "registry"))
    return Registry(tmp_path / "registry")


def adapters(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["adapters", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_a_version_goes_on_trial_answers_for_all_and_is_rolled_back(registry: Registry) -> None:
    first, second = publish(registry, "a"), publish(registry, "b")
    assert adapters("canary", first[:12]) == (0, f"active: the base model\ncanary: {first[:19]}\n")
    assert adapters("promote") == (0, f"active: {first[:19]}\n")
    adapters("canary", second)
    adapters("promote")
    assert registry.states() == States(active=second, previous=first)
    assert adapters("rollback") == (0, f"active: {first[:19]}\n")
    adapters("canary", second)
    assert adapters("stop") == (0, f"active: {first[:19]}\n")


def test_the_list_shows_states(registry: Registry) -> None:
    assert adapters("list") == (0, "no adapter is published yet\n")
    registry.start_canary(publish(registry, "a"))
    code, output = adapters("list")
    assert code == 0
    assert "canary" in output.splitlines()[1]


@pytest.mark.parametrize(("arguments", "told"), [
    (("promote",), "none can be promoted"), (("rollback",), "nothing to roll back"), (("canary", "repair@0"), "names no versions"),
    (("canary", "repair@"), "names 2 versions"), (("canary", "repair"), "names no versions")])  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(registry: Registry, arguments: tuple[str, ...], told: str) -> None:
    publish(registry, "a")
    publish(registry, "b")
    code, output = adapters(*arguments)
    assert code == 2
    assert told in output
    assert output.count("\n") == 1


def test_without_a_registry_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEDEX_INFERENCE_ADAPTERS", raising=False)
    assert adapters("list") == (2, "ledex: no registry of adapters is set: set LEDEX_INFERENCE_ADAPTERS to its folder\n")
