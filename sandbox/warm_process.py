"""A sandboxed process that serves candidates (``_ledex_serve.py``), and the lines of JSON that travel between it and us.

What it says is hostile: the tested code shares the process.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandbox import CandidateServerError
from sandbox.runner import Session
from sandbox.supervision import readable
from sandbox.testing import Bench, python_command
from sandbox.workspace import Workspace


class WarmProcess:
    """Raises CandidateServerError when the process does not start, ends, or does not answer in time."""

    def __init__(self, bench: Bench, workspace: Workspace, mode: str, tests: Sequence[str], wall_seconds: float) -> None:
        options = {
            "framework": bench.plan.framework, "arguments": list(bench.plan.arguments), "only": list(tests), "mode": mode,
            "overlay": bench.environment.overlay, "cwd_on_path": bench.plan.cwd_on_path, "coverage": False,
            "cpu_seconds": bench.limits.cpu_seconds}  # fmt: skip
        limits = replace(bench.limits, wall_seconds=wall_seconds, cpu_seconds=max(int(wall_seconds) + 60, bench.limits.cpu_seconds))
        self.session: Session = bench.runner.open(python_command(bench, workspace, options, limits))
        self._buffer = b""
        ready = self.receive(60.0)
        if ready.get("kind") != "ready":
            self.close()
            raise CandidateServerError(f"the warm tiers could not start: {ready.get('message', 'no answer')}")

    def send(self, request: Mapping[str, object]) -> None:
        try:
            self.session.channel.sendall((json.dumps(request) + "\n").encode())
        except OSError as error:
            raise CandidateServerError(f"the warm tiers stopped: {error}") from error

    def receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        channel: socket.socket = self.session.channel
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not readable(channel.fileno(), left):
                raise CandidateServerError("the warm tiers did not answer in time")
            try:
                data = channel.recv(1 << 16)
            except OSError as error:
                raise CandidateServerError(f"the warm tiers stopped: {error}") from error
            if not data or len(self._buffer) > 1 << 26:
                raise CandidateServerError("the warm tiers stopped")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            message = json.loads(line)
        except ValueError as error:
            raise CandidateServerError("the warm tiers answered nonsense") from error
        return message if isinstance(message, dict) else {}

    def close(self) -> None:
        self.session.kill()
