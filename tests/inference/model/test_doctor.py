"""What the doctor finds of a model: each fault on a server that has it, and none on one that is well."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from inference.adapters import Registry
from inference.model.doctor import examine
from inference.settings import load_settings
from sandbox.doctor import Finding
from tests.inference.model.scripted import Chat, Raw, ScriptedServer
from tests.inference.model.test_adapters import publish, weights
from tests.vllm.tiny_model import make_tiny_model


def well(chat: Chat) -> str:
    return "yes" if "structured_outputs" in chat.body else "Water is wet."


def found(server: ScriptedServer | str, **settings: Any) -> dict[str, Finding]:
    url = server if isinstance(server, str) else server.url
    return {one.name: one for one in examine(load_settings(endpoints=url, **settings))}


def troubles(findings: dict[str, Finding]) -> dict[str, str]:
    return {one.name: f"{one.detail} | {one.remedy}" for one in findings.values() if not one.ok}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.start_canary(publish(registry, "a"))
    registry.promote()
    return registry


def test_a_server_that_is_well_has_no_finding(registry: Registry) -> None:
    with ScriptedServer(well) as server:
        findings = found(server, adapters=registry.folder)
        assert troubles(findings) == {}
        assert list(findings) == ["adapters", "model", "context", "completions", "structured output", "adapters on the server"]
        assert findings["model"].detail == f"tiny at {server.url}, vLLM"
        assert list(server.adapters) == list(registry.states().in_use)


def test_without_a_model_that_is_said_and_is_no_fault() -> None:
    [finding] = examine(load_settings())
    assert finding.ok
    assert "templates repair alone" in finding.detail


def test_a_plain_server_is_enough_without_adapters(registry: Registry) -> None:
    with ScriptedServer(well, vllm=False) as server:
        assert troubles(found(server)) == {}
        assert "no vLLM, so no adapter can answer" in troubles(found(server, adapters=registry.folder))["adapters on the server"]


def test_a_server_that_does_not_answer_is_told() -> None:
    assert "http://127.0.0.1:9 does not answer as a model server" in troubles(found("http://127.0.0.1:9"))["model"]


def test_a_web_page_is_no_model_server() -> None:
    with ScriptedServer([]) as server:
        server.answer = lambda *_: Raw(b"<html>", "text/html")  # type: ignore[method-assign]
        assert "its answer is no JSON but a web page" in troubles(found(server))["model"]


def test_another_model_than_the_settings_name_is_told() -> None:
    with ScriptedServer(well) as server:
        assert troubles(found(server, model="llama")) == {
            "model": f"{server.url} serves tiny, not llama | set LEDEX_INFERENCE_MODEL to one of these"}  # fmt: skip


def test_a_context_that_leaves_no_room_for_a_prompt_is_told() -> None:
    with ScriptedServer(well, context_tokens=1500) as server:
        assert "of 1500 tokens a completion takes 1024: 476 are left" in troubles(found(server))["context"]
    with ScriptedServer(well, context_tokens=5000) as server:
        assert "is 9000, and the model has 5000" in troubles(found(server, context_tokens=9000))["context"]


def test_completions_without_token_ids_are_told() -> None:
    answer = {"model": "tiny", "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    with ScriptedServer(lambda chat: Raw(json.dumps(answer).encode())) as server:
        assert "without token ids or log-probabilities" in troubles(found(server))["completions"]


def test_structured_output_that_binds_nothing_is_told() -> None:
    with ScriptedServer("Water is wet.") as server:
        assert "did not bind what is written" in troubles(found(server))["structured output"]


def test_a_refused_key_is_told_without_the_key() -> None:
    with ScriptedServer(well, api_key="right-key") as server:
        told = troubles(found(server, api_key="wrong-key", model="tiny"))
    assert "set LEDEX_INFERENCE_API_KEY" in told["completions"]
    assert "wrong-key" not in str(told)


def test_a_vllm_that_does_not_let_adapters_be_loaded_is_told(registry: Registry) -> None:
    with ScriptedServer(well) as server:
        answer = server.answer

        def fixed(method: str, path: str, body: Any, headers: Any) -> Any:
            return Raw(b'{"detail":"Not Found"}', code=404) if "lora" in path else answer(method, path, body, headers)

        server.answer = fixed  # type: ignore[method-assign]
        told = troubles(found(server, adapters=registry.folder))["adapters on the server"]
    assert "does not let adapters be loaded while it runs | start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in told


def test_a_folder_that_the_server_does_not_see_is_told(registry: Registry) -> None:
    with ScriptedServer(well) as server:
        told = troubles(found(server, adapters=registry.folder, served_adapters="/elsewhere"))["adapters on the server"]
    assert "No adapter found" in told
    assert "LEDEX_INFERENCE_SERVED_ADAPTERS" in told


def test_weights_that_were_changed_are_told(registry: Registry) -> None:
    weights(registry.folder / "repair" / "1", "changed")
    with ScriptedServer(well) as server:
        told = troubles(found(server, adapters=registry.folder))
        assert server.adapters == {}
    assert "not those of its card" in told["adapters"]
    assert "the registry cannot be read" in told["adapters on the server"]


def test_a_vllm_that_serve_would_start_but_cannot_is_told() -> None:
    [finding] = examine(load_settings(vllm="qwen", vllm_port=9, vllm_python=sys.executable))
    assert not finding.ok
    assert "has no vllm: pip install" in finding.detail


def test_a_checkpoint_is_loaded_and_asked(tmp_path: Path) -> None:
    [finding] = examine(load_settings(checkpoint=make_tiny_model(tmp_path / "tiny")))
    assert (finding.ok, finding.detail.split(", ")[1]) == (True, "4096 tokens of context")
    [finding] = examine(load_settings(checkpoint=tmp_path))
    assert "no checkpoint that transformers can load" in finding.detail
