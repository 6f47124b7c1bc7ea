"""Starts a real vLLM (its CPU build, from the environment of this interpreter) as ``ledex serve`` does, and waits until it answers."""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from inference.model.vllm import answering, last_words, local_vllm
from inference.settings import load_settings

START_SECONDS = 240.0
"""Seen: 15 to 83 seconds on two cores."""
FLAGS = (
    "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64", "--enable-prefix-caching",
    # vLLM 0.32 on a CPU dies of a request with a seed whose prompt is read in pieces ("CPU Generator does not use offset").
    "--no-enable-chunked-prefill",
)  # fmt: skip
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


@contextmanager
def served(checkpoint: Path, log: Path, name: str = "tiny", flags: Sequence[str] = ()) -> Iterator[str]:
    """Serve a checkpoint, adapters allowed; yields the address. Raises RuntimeError with the log's end where it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= ENVIRONMENT
    arguments = shlex.join(["--served-model-name", name, *FLAGS, *flags])
    settings = load_settings(vllm=str(checkpoint), model=name, vllm_port=port, vllm_arguments=arguments, adapters=log.parent)
    deadline = time.monotonic() + START_SECONDS
    with local_vllm(settings, log):
        while answering(settings) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"vLLM did not start: {last_words(log, 4000)}")
            time.sleep(0.5)
        yield settings.addresses[0]
