"""Starts a real vLLM (its CPU build, from the environment of this interpreter) on a free port and waits until it answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

START_SECONDS = 240.0
"""Seen: 27 to 83 seconds on two cores."""
FLAGS = (
    "--dtype", "float32", "--enforce-eager", "--enable-lora", "--max-lora-rank", "16", "--max-loras", "2", "--max-cpu-loras", "4",
    "--enable-prompt-tokens-details", "--enable-prefix-caching", "--max-num-seqs", "64",
)  # fmt: skip
ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING",
}  # fmt: skip


@contextmanager
def served(checkpoint: Path, log: Path, name: str = "tiny", flags: Sequence[str] = ()) -> Iterator[str]:
    """Serve a checkpoint; yields the address. Raises RuntimeError with the log's end where it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not `vllm serve`: that one needs distribution metadata named vllm, and the CPU build is called vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint), "--served-model-name", name,
               "--host", "127.0.0.1", "--port", str(port), *FLAGS, *flags]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        # A group of its own: the engine is a child of the server, and both have to go.
        process = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=output, stderr=output, start_new_session=True)
        try:
            _await(process, url, log)
            yield url
        finally:
            _stop(process)


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise RuntimeError(f"vLLM did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for signum, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        try:
            os.killpg(process.pid, signum)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
