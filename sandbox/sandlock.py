"""A Runner over sandlock (PyPI, optional): Landlock and a system call supervisor, for machines where bubblewrap cannot start.

Weaker than bubblewrap, and it says so: no PID namespace (a daemon that leaves its session can outlive the command until its next denied
call), no sized file systems (the work tree lies in a temporary folder), one-way reports, no warm tiers, no building of environments.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sandbox import CandidateServerError, IsolationUnavailable, SandboxError
from sandbox.processes import REPORTING, collected, laid_out, watch
from sandbox.runner import Command, Execution, Session

_START = (
    "import json, sys, sandlock\n"
    "policy, argv = json.loads(sys.argv[1]), sys.argv[2:]\n"
    "sys.exit(sandlock.Sandbox(**policy).run_interactive(argv) % 256)\n"
)
_PROBE = "import sandlock; print(sandlock.landlock_abi_version() >= sandlock.min_landlock_abi())"
_READABLE = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/passwd",
    "/etc/group",
    "/dev/urandom",
    "/dev/zero",
    "/proc",
)


def policy(command: Command, work: Path, cwd: Path) -> dict[str, object]:
    """sandlock's settings for a command whose temporary folder is ``work``: no network, only these folders; pure but for looking at
    which of the system's exist."""
    limits = command.limits
    readable = [p for p in _READABLE if Path(p).exists()] + [str(m.source) for m in command.mounts]
    return {
        "fs_readable": readable,
        "fs_writable": [str(work), "/dev/null"],
        "net_allow": [],
        "net_allow_bind": [],
        "clean_env": True,
        "env": dict(command.environment),
        "cwd": str(cwd),
        "max_memory": limits.memory_bytes,
        "max_processes": limits.processes,
        "max_open_files": limits.open_files,
        "no_coredump": True,
    }


class SandlockRunner:
    """Runs commands under sandlock. Raises IsolationUnavailable where the package or the kernel's Landlock is missing."""

    name = "sandlock"

    def __init__(self, python: str = sys.executable) -> None:
        self.python = python
        if python == sys.executable and importlib.util.find_spec("sandlock") is None:
            raise IsolationUnavailable("sandlock is not installed: pip install 'sandlock>=0.9'")
        done = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, check=False)
        if done.stdout.strip() != "True":
            raise IsolationUnavailable("sandlock needs Landlock ABI 6 (Linux 6.12, with landlock in CONFIG_LSM): use bubblewrap")

    def run(self, command: Command) -> Execution:
        if command.proxy is not None:
            raise SandboxError("sandlock cannot build environments: install bubblewrap, or name an existing one with --python")
        with laid_out(command) as (here, cwd, home):
            argv: Sequence[str] = [*REPORTING, *here.argv, "3"] if command.report else here.argv
            settings = json.dumps(policy(here, home.parent, cwd))
            execution = watch([self.python, "-c", _START, settings, *argv], {"PATH": "/usr/bin:/bin"}, cwd, command)
            return replace(execution, collected=collected(command.collect, cwd, command.limits.report_bytes))

    def open(self, command: Command) -> Session:
        raise CandidateServerError("sandlock has no two-way channel: the warm tiers need bubblewrap")
