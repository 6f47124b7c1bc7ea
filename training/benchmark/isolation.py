"""Run one Python command of a benchmark inside the sandbox: mounts of the interpreter, a tree, limits."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.limits import MIB, Limits
from sandbox.runner import Command, Execution, Mount, Runner, Tree

QUIET = {"PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "TZ": "UTC"}


def default_runner() -> Runner:
    """The sandbox's default isolation. Raises sandbox.IsolationUnavailable with the command that installs or allows it."""
    from sandbox.bubblewrap import BubblewrapRunner

    return BubblewrapRunner()


@functools.cache
def interpreter_mounts(python: Path) -> tuple[Mount, ...]:
    """Read-only binds of an interpreter's own folders (its virtual environment and the installation below it), at their own paths."""
    # The links of a virtual environment point at absolute paths, so the folder that the first link names must exist inside too.
    code = "import sys, os; print(sys.prefix); print(sys.base_prefix); print(os.path.realpath(sys.base_prefix))"
    lines = subprocess.run([str(python), "-I", "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    folders = dict.fromkeys(line for line in lines if not line.startswith("/usr") or line.startswith("/usr/local/"))
    kept = [f for f in folders if not f.startswith("/usr/") and not any(f != other and f.startswith(other + "/") for other in folders)]
    return tuple(Mount(Path(folder), folder) for folder in kept)


def limits(seconds: float, memory_mib: int) -> Limits:
    """Wall time and memory as given; CPU time of each process at most twice the wall time."""
    return Limits(wall_seconds=seconds, cpu_seconds=max(1, round(2 * seconds)), memory_bytes=memory_mib * MIB)


def run_python(
    runner: Runner,
    arguments: Sequence[str],
    root: Path,
    *,
    python: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = 60.0,
    memory_mib: int = 1024,
) -> Execution:
    """Runs ``python *arguments DESCRIPTOR`` in a fresh copy of ``root``; what it writes on the descriptor is the execution's report."""
    executable = python or Path(sys.executable)
    return runner.run(
        Command(
            argv=(str(executable), *arguments),
            tree=Tree(root),
            environment={**QUIET, **(environment or {})},
            mounts=interpreter_mounts(executable),
            limits=limits(seconds, memory_mib),
            report=True,
        )
    )
