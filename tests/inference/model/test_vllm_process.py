"""vLLM as a child of `ledex serve`: a program stands in for it that takes its command line and answers as it does."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inference import ConfigurationError
from inference.model.vllm import answering, command, environment, local_vllm
from inference.settings import InferenceSettings, load_settings
from tests.inference.model.scripted import Raw, ScriptedServer

STAND_IN = """#!{python}
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if sys.argv[1] == "-c":  # is vllm installed?
    sys.exit(0)
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
options = dict(zip(sys.argv[3::], sys.argv[4::]))
with open(os.path.join(folder, "starts"), "a") as file:
    file.write(json.dumps([os.getpid(), sys.argv[1:], sorted(os.environ)]) + "\\n")
if os.path.exists(os.path.join(folder, "broken")):
    sys.exit("no memory for the model")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"data": [{{"id": options["--model"], "owned_by": "vllm", "parent": None}}]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path) -> InferenceSettings:
    program = tmp_path / "python"
    program.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return load_settings(vllm="qwen", vllm_port=free_port(), vllm_python=program)


@pytest.fixture
def running(settings: InferenceSettings, tmp_path: Path) -> Iterator[InferenceSettings]:
    with local_vllm(settings, tmp_path / "vllm.log", pause=0.05):
        until(lambda: answering(settings) is not None)
        yield settings


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


def starts(tmp_path: Path) -> list[Any]:
    file = tmp_path / "starts"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_vllm_is_started_and_is_gone_afterwards(settings: InferenceSettings, tmp_path: Path) -> None:
    with local_vllm(settings, tmp_path / "vllm.log"):
        until(lambda: answering(settings) == frozenset({"qwen"}))
    [(pid, _, _)] = starts(tmp_path)
    assert answering(settings) is None
    assert not alive(pid)


def test_one_that_died_is_started_again(running: InferenceSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.kill(starts(tmp_path)[0][0], 9)
    until(lambda: len(starts(tmp_path)) == 2 and answering(running) is not None)
    assert "vLLM ended; it is started again" in caplog.text


def test_one_that_cannot_come_up_says_its_last_words_and_where_they_stand(
    settings: InferenceSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken").touch()
    with local_vllm(settings, tmp_path / "vllm.log"):
        until(lambda: "no memory for the model" in caplog.text)
    assert f"from {tmp_path}/vllm.log" in caplog.text


def test_one_that_answers_already_is_used_and_left_alone(running: InferenceSettings, tmp_path: Path) -> None:
    with local_vllm(running, tmp_path / "second.log"):
        time.sleep(0.3)
    assert answering(running) == frozenset({"qwen"})
    assert len(starts(tmp_path)) == 1


def test_a_server_of_another_model_is_not_taken_for_ours(running: InferenceSettings, tmp_path: Path) -> None:
    other = running.model_copy(update={"vllm": "llama"})
    with pytest.raises(ConfigurationError, match="answers a server of qwen, not of llama: stop it"), local_vllm(other, tmp_path / "log"):
        pass


def test_a_port_that_a_web_server_has_is_told(settings: InferenceSettings, tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedServer([]))
        stack.enter_context(pytest.raises(ConfigurationError, match=r"LEDEX_INFERENCE_VLLM_PORT [0-9]+ is taken: "))
        server.answer = lambda *_: Raw(b"<h1>Hello</h1>", "text/html")  # type: ignore[method-assign]
        taken = settings.model_copy(update={"vllm_port": int(server.url.rpartition(":")[2])})
        stack.enter_context(local_vllm(taken, tmp_path / "log"))


def test_without_vllm_the_ways_to_it_are_said(settings: InferenceSettings, tmp_path: Path) -> None:
    lacking = settings.model_copy(update={"vllm_python": Path(sys.executable)})
    with pytest.raises(ConfigurationError, match=r"has no vllm: pip install 'ledexbot\[serve\]'"), local_vllm(lacking, tmp_path / "log"):
        pass


def test_an_interpreter_that_is_not_there_is_told(settings: InferenceSettings, tmp_path: Path) -> None:
    absent = settings.model_copy(update={"vllm_python": tmp_path / "absent"})
    with pytest.raises(ConfigurationError, match=r"LEDEX_INFERENCE_VLLM_PYTHON: .* cannot be run"), local_vllm(absent, tmp_path / "log"):
        pass


def test_the_command_listens_on_this_machine_alone_and_names_no_key() -> None:
    line = command(load_settings(vllm="qwen", api_key="secret-key", vllm_arguments="--max-model-len 4096"))
    assert line[line.index("--host") + 1] == "127.0.0.1"
    assert line[-2:] == ["--max-model-len", "4096"]
    assert "--enable-lora" not in line
    assert "secret-key" not in " ".join(line)


def test_adapters_are_allowed_where_there_is_a_registry(tmp_path: Path) -> None:
    settings = load_settings(vllm="qwen", adapters=tmp_path, api_key="secret-key")
    assert "--enable-lora" in command(settings)
    assert environment(settings, {})["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert environment(settings, {})["VLLM_API_KEY"] == "secret-key"


def test_the_bots_secrets_are_not_handed_to_vllm(settings: InferenceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_BOT_PRIVATE_KEY", "secret")
    with local_vllm(settings, tmp_path / "vllm.log"):
        until(lambda: answering(settings) is not None)
    [(_, _, variables)] = starts(tmp_path)
    assert not [name for name in variables if name.startswith("LEDEX_")]
    assert "PATH" in variables


def test_nothing_is_started_where_no_vllm_is_named(tmp_path: Path) -> None:
    with local_vllm(load_settings(endpoints="http://127.0.0.1:9"), tmp_path / "vllm.log"):
        assert not (tmp_path / "vllm.log").exists()
