"""Runs a build plan inside the sandbox: the proxy beside it, the disk watched, what happened read back as events."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import EnvironmentFailed
from sandbox.cache import ENTRY, EnvironmentCache, Slot, disk_usage, open_up
from sandbox.indexes import Indexes
from sandbox.interpreters import Interpreter
from sandbox.limits import Limits
from sandbox.plan import ENV, OLD_SETUPTOOLS, PROJECT, PROJECT_VARIABLES, TOOLS, Step, first_error, pretend_versions
from sandbox.proxy import index_proxy
from sandbox.runner import Command, Execution, Mount, Runner, Session, Tree
from sandbox.settings import SandboxSettings

ARTIFACTS, DOWNLOADS = "/ledex-artifacts", "/ledex-downloads"
_ARTIFACT_BYTES = 256 * 1024**2
_MESSAGE_BYTES = 4 * 1024**2
_OFFLINE = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "npm_config_offline": "true", "GOPROXY": "off", "CARGO_NET_OFFLINE": "true"}
"""So that no tool tries for minutes what the proxy refuses anyway."""
_WAY_OUT = "mend it, add setup commands to .github/ledex.toml, or build an environment yourself and give it with --python"


def find_uv() -> Path | None:
    """The uv program, or None where there is none."""
    try:
        from uv import find_uv_bin

        return Path(find_uv_bin())
    except (ImportError, OSError):
        found = shutil.which("uv")
        return Path(found) if found else None


@dataclass(frozen=True)
class Build:
    """What to build, and with what."""

    tree: Tree | None
    interpreter: Interpreter
    indexes: Indexes
    limits: Limits
    steps: tuple[Step, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    packages: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    uv: Path | None = field(default_factory=find_uv)
    way_out: str = _WAY_OUT
    artifact_bytes: int = _ARTIFACT_BYTES
    network: bool = True
    """Whether the package indexes can be reached; what this repository downloaded before can be used in any case."""


@dataclass(frozen=True)
class Built:
    """``failed`` are the optional steps that failed; ``probe`` the last line of the probe's output."""

    notes: tuple[str, ...]
    failed: tuple[str, ...]
    probe: str


def run_build(
    build: Build, folder: Path, cache: EnvironmentCache, downloads: Slot, runner: Runner, settings: SandboxSettings,
    tell: Callable[[str], None],
) -> Built:  # fmt: skip
    """Carry out ``build.steps`` into ``folder/env`` and ``folder/artifacts``. Raises EnvironmentFailed with one sentence."""
    for name in ("env", "artifacts"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)  # the build runs as another uid when we are root; the folders above are closed
    _write_tools(build, folder / "tools")
    lease = cache.lease(downloads, exclusive=True, timeout=build.limits.wall_seconds)
    if lease is None:
        raise EnvironmentFailed("another build of this repository is still running: wait for it, or raise --setup-timeout")
    try:
        kept = downloads.folder / "files"
        kept.mkdir(parents=True, exist_ok=True)
        open_up(kept)
        mounts = (
            *build.interpreter.mounts, *build.indexes.mounts(), Mount(folder / "tools", TOOLS), Mount(folder / "env", ENV, writable=True),
            Mount(folder / "artifacts", ARTIFACTS, writable=True), Mount(kept, DOWNLOADS, writable=True),
        )  # fmt: skip
        python = build.interpreter.executable
        argv = (python, "-I", f"{TOOLS}/_ledex_forward.py", "/run/proxy.sock", python, "-I", f"{TOOLS}/_ledex_build.py",
                f"{TOOLS}/plan.json")  # fmt: skip
        hosts = build.indexes.hosts(settings) if build.network else frozenset()
        with index_proxy(hosts, frozenset(settings.allowed_private_indexes)) as proxy:
            command = Command(
                argv, tree=build.tree, cwd="." if build.tree else "/tmp", environment=_variables(build), mounts=mounts,
                limits=build.limits, report=True, proxy=proxy.socket_path)  # fmt: skip
            events, execution, full = _watch(runner.open(command), (folder, kept), settings.build_bytes, tell)
            refused = tuple(dict.fromkeys(proxy.refused))
        open_up(kept)
        (downloads.folder / ENTRY).write_text(json.dumps({"bytes": disk_usage(kept)}), encoding="utf-8")
    finally:
        lease.release()
    if full:
        raise EnvironmentFailed(f"the build wrote more than {settings.build_bytes >> 20} MiB to disk: raise LEDEX_SANDBOX_BUILD_BYTES")
    return _judge(build, events, execution, refused)


def _write_tools(build: Build, folder: Path) -> None:
    """Our files as copies that any uid can read, whatever the rights of the installation."""
    folder.mkdir()
    here = Path(__file__).parent
    for name in ("_ledex_forward.py", "_ledex_build.py"):
        shutil.copyfile(here / name, folder / name)
    if build.uv is not None:
        shutil.copyfile(build.uv, folder / "uv")
    plan = {
        "steps": [
            {"name": step.name, "optional": step.optional, "attempts": [a.commands for a in step.attempts],
             "environment": PROJECT_VARIABLES if step.name == PROJECT else {}}
            for step in build.steps
        ],
        "tree": build.tree.inside if build.tree else "/tmp/home", "artifacts": ARTIFACTS, "artifact_bytes": build.artifact_bytes,
        "probe": build.probe,
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (folder / "packages.txt").write_text("".join(f"{p}\n" for p in build.packages), encoding="utf-8")
    (folder / "development.txt").write_text("".join(f"{p}\n" for p in build.development), encoding="utf-8")
    (folder / os.path.basename(OLD_SETUPTOOLS)).write_text("setuptools<66\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o755 if path.name == "uv" else 0o644)
    folder.chmod(0o755)


def _variables(build: Build) -> dict[str, str]:
    return {
        "PATH": f"{ENV}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp/home", "LANG": "C.UTF-8", "TZ": "UTC", "VIRTUAL_ENV": ENV,
        "UV_CACHE_DIR": f"{DOWNLOADS}/uv", "PIP_CACHE_DIR": f"{DOWNLOADS}/pip", "UV_LINK_MODE": "copy", "UV_PYTHON_DOWNLOADS": "never",
        "UV_COMPILE_BYTECODE": "1", "UV_NO_PROGRESS": "1", "UV_HTTP_RETRIES": "2",
        "NO_COLOR": "1", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **pretend_versions(build.name), **build.indexes.variables(), **({} if build.network else _OFFLINE), **build.environment,
    }  # fmt: skip


def _watch(
    session: Session, folders: tuple[Path, ...], limit: int, tell: Callable[[str], None]
) -> tuple[list[dict[str, Any]], Execution, bool]:
    """Events of a running build, its end, and whether it was killed because it filled the disk.

    Free space is looked at ten times a second, which costs nothing; folders are measured only when much of it went.
    """
    before = {folder: disk_usage(folder) for folder in folders}
    free, files = _free(folders[0])
    data, events, full = b"", [], False
    session.channel.settimeout(0.1)
    open_channel = True
    while (execution := session.poll()) is None:
        if open_channel:
            try:
                more = session.channel.recv(65536)
                data += more
                open_channel = bool(more) and len(data) < _MESSAGE_BYTES
            except TimeoutError:
                pass
            except OSError:
                open_channel = False
        else:
            time.sleep(0.05)
        *lines, data = data.split(b"\n")
        for event in map(_event, lines):
            events.append(event)
            if event.get("event") == "step":
                tell(f"environment: {event.get('name')}")
        free_now, files_now = _free(folders[0])
        if free - free_now > limit or files - files_now > 2_000_000:
            if sum(disk_usage(folder) - before[folder] for folder in folders) > limit or files - files_now > 2_000_000:
                full = True
                execution = session.kill()
                break
            free, files = free_now, files_now
    data += _rest(session.channel)
    session.channel.close()
    return [*events, *map(_event, data.split(b"\n"))], execution, full


def _rest(channel: socket.socket) -> bytes:
    data = b""
    try:
        channel.settimeout(0.5)
        while len(data) < _MESSAGE_BYTES and (more := channel.recv(65536)):
            data += more
    except OSError:
        pass
    return data


def _free(folder: Path) -> tuple[int, int]:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize, status.f_favail


def _event(line: bytes) -> dict[str, Any]:
    """One message from inside, which is hostile: whatever is no object becomes an empty one."""
    try:
        value = json.loads(line) if line else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _judge(build: Build, events: list[dict[str, Any]], execution: Execution, refused: tuple[str, ...]) -> Built:
    """Notes of a build that finished, or EnvironmentFailed."""
    notes: list[str] = []
    failed: list[str] = []
    steps = {step.name: step for step in build.steps}
    more = f"; {min(refused, key=len)}: name it in LEDEX_SANDBOX_EXTRA_INDEX_HOSTS if it is one" if refused else ""
    if not build.network:
        more = '; the network is switched off (environment.network = "off")'
    for event in events:
        step = steps.get(str(event.get("name")))
        if event.get("event") != "done" or step is None:
            continue
        attempt, outputs = event.get("attempt"), event.get("outputs")
        if isinstance(attempt, int) and 0 <= attempt < len(step.attempts):
            notes += [step.attempts[attempt].note] if step.attempts[attempt].note else []
            continue
        texts = [str(text) for text in outputs] if isinstance(outputs, list) else []
        error = first_error([*texts[1:], *texts[:1]])
        if not step.optional:
            raise EnvironmentFailed(f"the environment could not be built, at {step.name}: {error}{more}; {build.way_out}")
        failed.append(step.name)
        if step.note:
            notes.append(f"{step.note} ({error})")
    finished = next((event for event in events if event.get("event") == "finished"), None)
    if finished is None or execution.exit_code != 0:
        current = next((str(e.get("name")) for e in reversed(events) if e.get("event") == "step"), "its start")[:100]
        if execution.reason == "timeout":
            raise EnvironmentFailed(
                f"building the environment took longer than {build.limits.wall_seconds:.0f} s, at {current}: raise --setup-timeout")
        lines = execution.stderr.decode(errors="replace").strip().splitlines() or [f"ended by {execution.reason}"]
        raise EnvironmentFailed(f"the environment could not be built, at {current} ({lines[-1][:200]}){more}; {build.way_out}")
    return Built(tuple(notes), tuple(failed), str(finished.get("probe", "")))
