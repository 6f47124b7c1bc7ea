"""What deploy/ holds, as far as it can be checked without Docker: against its own schema, the settings, and what it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from bot.sandbox_service import SECRETS
from bot.settings import PREFIX, BotSettings
from inference.settings import PREFIX as MODEL_PREFIX
from inference.settings import InferenceSettings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name.upper() for name in BotSettings.model_fields}
OF_THE_MODEL = {name.upper() for name in InferenceSettings.model_fields}


def example() -> dict[str, tuple[str, bool]]:
    """Variable -> its value in env.example, and whether the line is commented out."""
    text = (DEPLOY / "env.example").read_text(encoding="utf-8")
    return {m.group(2): (m.group(3), bool(m.group(1))) for m in re.finditer(r"^(# )?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE)}


def mistakes(compose: dict[str, Any]) -> list[str]:
    schema = json.loads((ROOT / "tests" / "fixtures" / "compose" / "compose_spec.json").read_text(encoding="utf-8"))
    return [error.message for error in jsonschema.Draft201909Validator(schema).iter_errors(compose)]


def test_compose_fits_the_schema_of_the_compose_specification() -> None:
    assert mistakes(COMPOSE) == []


def test_the_schema_notices_a_key_that_compose_does_not_know() -> None:
    assert mistakes({**COMPOSE, "services": {**SERVICES, "web": {**SERVICES["web"], "restrat": "always"}}})


def test_every_bot_variable_of_the_example_is_a_setting_and_every_setting_is_in_it() -> None:
    assert {v.removeprefix(PREFIX) for v in example() if v.startswith(PREFIX)} == OURS


def test_every_variable_of_the_model_in_the_example_is_a_setting_and_every_setting_is_in_it() -> None:
    """Each with the sentence that the settings have for it."""
    assert {v.removeprefix(MODEL_PREFIX) for v in example() if v.startswith(MODEL_PREFIX)} == OF_THE_MODEL
    text = (DEPLOY / "env.example").read_text(encoding="utf-8")
    assert [n for n, f in InferenceSettings.model_fields.items() if f"# {f.description}\n# {MODEL_PREFIX}{n.upper()}=" not in text] == []


@pytest.mark.parametrize(("prefix", "default"), [(PREFIX, BotSettings()), (MODEL_PREFIX, InferenceSettings())])
def test_what_is_commented_out_in_the_example_shows_the_default(prefix: str, default: BotSettings | InferenceSettings) -> None:
    for variable, (value, is_comment) in example().items():
        name = variable.removeprefix(prefix).lower()
        if variable.startswith(prefix) and is_comment:
            kept = getattr(default, name)
            kept = kept.get_secret_value() if hasattr(kept, "get_secret_value") else kept
            assert value == ("" if kept in (None, frozenset(), (), {}) else str(kept)), variable


def test_the_example_can_be_read_as_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, (value, _) in example().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("LEDEX_BOT_APP_ID", "1")  # left empty in the example, where a person fills it in
    assert BotSettings().public_url == "https://ledex.example.com"


def test_every_bot_variable_in_compose_is_a_setting() -> None:
    named = {key for one in SERVICES.values() for key in one.get("environment", {}) if key.startswith(PREFIX)}
    assert named
    assert {key.removeprefix(PREFIX) for key in named} <= OURS


def test_every_variable_that_compose_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert asked <= example().keys()


def test_the_sandbox_is_given_no_secret_and_no_docker_socket() -> None:
    sandbox = SERVICES["sandbox"]
    assert not {"env_file", "secrets", "ports", "privileged", "cap_add", "pid", "ipc", "network_mode"} & sandbox.keys()
    assert sandbox["cap_drop"] == ["ALL"]
    mounted = [volume.split(":")[0] for volume in sandbox["volumes"]]
    assert mounted == ["repositories", "socket", "environments", "adapters"]
    assert not [one for one in SERVICES.values() if "docker.sock" in str(one)]


def test_the_sandbox_is_told_all_of_the_model_but_its_key_and_what_is_not_for_containers() -> None:
    elsewhere = {"API_KEY", "CHECKPOINT"} | {name for name in OF_THE_MODEL if name.startswith("VLLM")}
    told = SERVICES["sandbox"]["environment"]
    assert {name.removeprefix(MODEL_PREFIX) for name in told} == OF_THE_MODEL - elsewhere
    assert [name for name, value in told.items() if value != f"${{{name}:-}}"] == []


def test_the_sandbox_shares_no_network_with_any_other_service_but_the_model() -> None:
    of_sandbox = set(SERVICES["sandbox"]["networks"])
    assert [name for name, one in SERVICES.items() if name != "sandbox" and of_sandbox & set(one["networks"])] == ["vllm"]
    assert COMPOSE["networks"]["model"]["internal"] is True


def test_the_models_server_sees_the_adapters_where_the_repairs_do_and_cannot_change_them() -> None:
    for service in ("worker", "sandbox", "vllm"):
        assert "adapters:/adapters:ro" in SERVICES[service]["volumes"]


def test_the_database_and_the_broker_cannot_reach_out() -> None:
    assert COMPOSE["networks"]["backend"]["internal"] is True
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["backend"]


def test_the_worker_and_the_sandbox_see_the_repositories_and_the_socket_at_the_same_paths() -> None:
    def mounts(service: str) -> dict[str, str]:
        return {name: path for name, path, *_ in (volume.split(":") for volume in SERVICES[service]["volumes"])}

    worker, sandbox = mounts("worker"), mounts("sandbox")
    assert all(worker[name] == sandbox[name] for name in ("repositories", "socket"))
    assert SERVICES["worker"]["environment"]["LEDEX_BOT_SANDBOX_SOCKET"].startswith(sandbox["socket"] + "/")
    assert f"{SERVICES['worker']['environment']['LEDEX_BOT_DATA_DIR']}/repositories" == sandbox["repositories"]


def test_every_volume_and_network_that_is_used_is_declared() -> None:
    for one in SERVICES.values():
        assert {volume.split(":")[0] for volume in one["volumes"]} <= COMPOSE["volumes"].keys()
        assert set(one["networks"]) <= COMPOSE["networks"].keys()


def test_the_gpu_is_asked_for_only_in_its_profile() -> None:
    assert [name for name, one in SERVICES.items() if "devices" in str(one.get("deploy", ""))] == ["vllm"]
    assert [name for name, one in SERVICES.items() if one.get("profiles") == ["gpu"]] == ["vllm"]


@pytest.mark.parametrize("file", ["Dockerfile", "Dockerfile.worker"])
def test_an_image_copies_what_exists_and_does_not_run_as_root(file: str) -> None:
    lines = (DEPLOY / file).read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]]
    assert not [name for name in copied if not (ROOT / name).exists()]
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER ledex"
    assert not [line for line in lines if line.startswith(("ENV", "ARG")) and any(f"{PREFIX}{s}" in line for s in SECRETS)]


def test_both_images_number_their_user_alike() -> None:
    numbers = {re.findall(r"--uid (\d+)", (DEPLOY / file).read_text()).pop() for file in ("Dockerfile", "Dockerfile.worker")}
    assert numbers == {SERVICES["sandbox"]["user"].split(":")[0]}


def test_a_command_in_compose_is_one_that_ledex_has() -> None:
    from typer.main import get_command

    from bot.cli import app

    known = set(getattr(get_command(app), "commands", {}))
    used = {one["command"][1] for one in SERVICES.values() if one.get("command", [""])[0] == "ledex"}
    assert used == {"migrate", "worker"}
    assert used | {"serve", "sandbox"} <= known
