"""The Runner protocol: what every isolation offers, and what one execution returns."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from sandbox.limits import Limits

Reason = Literal["exited", "timeout", "memory", "output", "signal", "start"]
"""Why a command ended: by itself, killed by a limit, by a signal, or never started."""

WORK = "/ledex"
"""Where the tree lies inside: ``/ledex/<name of the checkout's folder>``. The same in every tier."""


@dataclass(frozen=True)
class Mount:
    """A read-only bind of ``source`` (on the host) at ``target`` (inside; absolute). Never a home folder or ``/``."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Tree:
    """A work tree to be copied into a fresh tmpfs: ``root``, then ``artifacts`` (what the environment's build left in the tree) and
    ``overlay`` (changed files) over it, then ``removed`` taken away."""

    root: Path
    name: str = "tree"
    overlay: Path | None = None
    artifacts: Path | None = None
    removed: tuple[str, ...] = ()

    @property
    def inside(self) -> str:
        """The tree's absolute path inside the sandbox."""
        return f"{WORK}/{self.name}"


@dataclass(frozen=True)
class Command:
    """One command to run inside. ``cwd`` is relative to the tree, or absolute inside when there is no tree.

    ``environment`` is complete: nothing of the caller's environment is inherited. ``collect`` are paths inside, shell-quoted by the
    runner, sent back as a tar archive after the command ends. ``report`` asks for the report descriptor: the command finds its
    number as the last argument (argv gets it appended). ``stdin`` is readable on descriptor 0 (empty: /dev/null). ``proxy`` is a unix
    socket on the host, bound to ``/run/proxy.sock``.
    """

    argv: tuple[str, ...]
    tree: Tree | None = None
    cwd: str = "."
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    report: bool = False
    collect: tuple[str, ...] = ()
    proxy: Path | None = None
    stdin: bytes = b""


@dataclass(frozen=True)
class Execution:
    """What came of one command. ``exit_code`` is None when it was killed; output is capped (see Limits.output_bytes)."""

    exit_code: int | None
    signal: int | None
    reason: Reason
    stdout: bytes
    stderr: bytes
    report: bytes
    collected: Mapping[str, bytes]
    seconds: float
    peak_memory_bytes: int

    @property
    def ok(self) -> bool:
        return self.reason == "exited" and self.exit_code == 0


class Session(Protocol):
    """A running command with a message channel (the report descriptor, used both ways)."""

    channel: socket.socket

    def poll(self) -> Execution | None: ...

    def kill(self) -> Execution: ...


class Runner(Protocol):
    """An isolation. ``run`` waits; ``open`` starts a long-lived command (``report`` is set for it) and returns its session."""

    name: str

    def run(self, command: Command) -> Execution: ...

    def open(self, command: Command) -> Session: ...
