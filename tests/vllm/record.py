"""Records what a real vLLM answers, for the tests that run without one: ``python -m tests.vllm.record`` writes
tests/inference/model/fixtures/vllm.json. Paths of this machine and times are replaced; nothing else is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import httpx

from tests.vllm.serving import served
from tests.vllm.tiny_model import make_tiny_adapter, make_tiny_model

TARGET = Path(__file__).parents[1] / "inference" / "model" / "fixtures" / "vllm.json"
MESSAGES = [{"role": "system", "content": "You repair code."}, {"role": "user", "content": "def f(x):\n    return x + 1\n" * 20}]
CHAT = {"model": "tiny", "messages": MESSAGES, "n": 2, "temperature": 0.8, "top_p": 1.0, "max_tokens": 6, "stream": False, "seed": 7,
        "logprobs": True, "return_token_ids": True}  # fmt: skip


def exchanges(adapter: Path) -> list[tuple[str, str, str, Any]]:
    """(name, method, path, body), in the order in which they are made."""
    chat, load, unload = "/v1/chat/completions", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
    return [
        ("models", "GET", "/v1/models", None),
        ("chat", "POST", chat, CHAT),
        ("chat, prefix cached", "POST", chat, CHAT),
        ("chat without log-probabilities", "POST", chat, {k: v for k, v in CHAT.items() if k not in ("logprobs", "return_token_ids")}),
        ("chat with a regex", "POST", chat, CHAT | {"n": 1, "structured_outputs": {"regex": "(yes|no)"}}),
        ("too many tokens", "POST", chat, CHAT | {"max_tokens": 5000}),
        ("too long a prompt", "POST", chat, CHAT | {"messages": [{"role": "user", "content": "def f(x): return x\n" * 2000}]}),
        ("unknown model", "POST", chat, CHAT | {"model": "other"}),
        ("bad regex", "POST", chat, CHAT | {"structured_outputs": {"regex": "(["}}),
        ("tokenize", "POST", "/tokenize", {"model": "tiny", "prompt": "def f(x): return x", "add_special_tokens": False}),
        ("load", "POST", load, {"lora_name": "one", "lora_path": str(adapter)}),
        ("load again", "POST", load, {"lora_name": "one", "lora_path": str(adapter)}),
        ("load in place", "POST", load, {"lora_name": "one", "lora_path": str(adapter), "load_inplace": True}),
        ("load with too large a rank", "POST", load, {"lora_name": "wide", "lora_path": str(adapter.parent / "wide")}),
        ("load without a path", "POST", load, {"lora_name": "two", "lora_path": ""}),
        ("load from nowhere", "POST", load, {"lora_name": "two", "lora_path": str(adapter / "absent")}),
        ("models with an adapter", "GET", "/v1/models", None),
        ("chat by an adapter", "POST", chat, CHAT | {"model": "one", "n": 1}),
        ("unload", "POST", unload, {"lora_name": "one"}),
        ("unload again", "POST", unload, {"lora_name": "one"}),
        ("chat by an adapter that is gone", "POST", chat, CHAT | {"model": "one"}),
        ("no such path", "GET", "/absent", None),
    ]  # fmt: skip


def record(folder: Path) -> dict[str, Any]:
    checkpoint = make_tiny_model(folder / "tiny")
    adapter = make_tiny_adapter(checkpoint, folder / "one", 1)
    make_tiny_adapter(checkpoint, folder / "wide", 1, rank=64)
    recorded = {}
    with served(checkpoint, folder / "log") as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for name, method, path, body in exchanges(adapter):
            answer = client.request(method, path, json=body)
            recorded[name] = {"path": path, "status": answer.status_code, "body": answer.text.replace(str(folder), "/models")}
    return recorded


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recorded = record(Path(folder))
    TARGET.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    print(f"{len(recorded)} answers in {TARGET}")


if __name__ == "__main__":
    main()
