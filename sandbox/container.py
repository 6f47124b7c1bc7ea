"""A Runner over Docker or Podman, for deployments that have one. The image only lends its system; interpreter and tree are bound.

Reports travel one way, so the warm tiers are not offered, and environments are not built here.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sandbox import CandidateServerError, IsolationUnavailable, SandboxError
from sandbox.bubblewrap import layout_script
from sandbox.prepared import prepared_folder
from sandbox.processes import watch
from sandbox.runner import WORK, Command, Execution, Mount, Session
from sandbox.supervision import untar

IMAGE = "debian:stable-slim"
_UID = 60_000
_RUN = '\nexec 3>&1 1>&2\nexec /usr/bin/env -i "$@"'
_COLLECT = r"""
paths=$1; shift
exec 3>&1 1>&2
/usr/bin/env -i "$@" 3>&-
status=$?
printf '%s\n' "$paths" | tar --files-from=- --verbatim-files-from --ignore-failed-read -cf - >&3 2>/dev/null
exit $status
""".rstrip()


def arguments(engine: str, image: str, name: str, command: Command, empty: Path) -> list[str]:
    """The engine's whole command line. Pure. ``empty`` is a folder for the layers that the tree does not have."""
    limits, tree = command.limits, command.tree
    options = [
        engine,
        "run",
        "--rm",
        "--interactive",
        "--name",
        name,
        "--pull",
        "missing",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--user",
        f"{_UID}:{_UID}",
        "--hostname",
        "localhost",
        "--ipc",
        "private",
        "--init",
        "--pids-limit",
        str(limits.processes),
        "--memory",
        str(limits.memory_bytes),
        "--memory-swap",
        str(limits.memory_bytes),
        "--ulimit",
        f"cpu={limits.cpu_seconds}",
        "--ulimit",
        f"fsize={limits.file_bytes}",
        "--ulimit",
        f"nofile={limits.open_files}",
        "--ulimit",
        "core=0",
        "--shm-size",
        str(limits.temporary_bytes),
        "--log-driver",
        "none",
        "--tmpfs",
        f"/tmp:rw,exec,nosuid,nodev,mode=1777,size={limits.temporary_bytes}",
        "--tmpfs",
        f"{WORK}:rw,exec,nosuid,nodev,mode=1777,size={limits.tree_bytes}",
    ]
    mounts = list(command.mounts)
    if tree is not None:
        mounts += [
            Mount(tree.root, "/run/tree"),
            Mount(tree.artifacts or empty, "/run/artifacts"),
            Mount(tree.overlay or empty, "/run/overlay"),
        ]
    for mount in mounts:
        if "," in f"{mount.source}{mount.target}":
            raise SandboxError(f"{mount.source} has a comma in its name, which {engine} cannot bind: rename it")
        options += ["--mount", f"type=bind,source={mount.source},target={mount.target},readonly"]
    environment = {"HOME": "/tmp/home", "PATH": "/usr/local/bin:/usr/bin:/bin", **command.environment}
    cwd = command.cwd if tree is not None or command.cwd.startswith("/") else "/tmp"
    script = layout_script(tree) + (_COLLECT if command.collect else _RUN)
    inside = ["-c", script, "sh", environment["HOME"], tree.inside if tree else "", cwd]
    if command.collect:
        inside.append("\n".join(command.collect))
    argv = [*command.argv, "3"] if command.report else list(command.argv)
    return [*options, "--entrypoint", "/bin/sh", image, *inside, *(f"{k}={v}" for k, v in environment.items()), *argv]


class ContainerRunner:
    """Runs every command in a container of its own. Raises IsolationUnavailable where no engine answers."""

    name = "container"

    def __init__(self, engines: Sequence[str] = ("podman", "docker"), image: str = IMAGE) -> None:
        self.image = image
        for engine in engines:
            found = shutil.which(engine)
            if found and subprocess.run([found, "info"], capture_output=True, check=False).returncode == 0:
                self.engine = found
                return
        raise IsolationUnavailable(f"neither {' nor '.join(engines)} answers here: start one, or install bubblewrap")

    def run(self, command: Command) -> Execution:
        if command.proxy is not None:
            raise SandboxError("the container runner builds no environments: install bubblewrap, or name an existing one with --python")
        name = f"ledex-{secrets.token_hex(8)}"
        argv = arguments(self.engine, self.image, name, command, prepared_folder() / "empty")

        def kill() -> None:
            subprocess.run([self.engine, "kill", name], capture_output=True, check=False)

        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
        execution = watch(argv, environment, Path("/"), replace(command, report=True), kill)
        if command.report:
            return execution
        return replace(execution, report=b"", collected=untar(execution.report) if command.collect else {})

    def open(self, command: Command) -> Session:
        raise CandidateServerError("a container has no two-way channel: the warm tiers need bubblewrap")
