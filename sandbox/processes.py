"""One ordinary process, watched: what the runners without namespaces of their own stand on."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sandbox import SandboxError
from sandbox.limits import Limits
from sandbox.runner import Command, Execution, Reason
from sandbox.supervision import CappedBuffer, descendants, resident_memory

REPORTING = ("/bin/sh", "-c", 'exec 3>&1 1>&2 "$@"', "sh")
"""Put before a command that reports: descriptor 3 becomes our end of standard output, and its own output goes to standard error."""


def nothing() -> None:
    """No further step is needed to kill."""


def watch(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path, command: Command, kill: Callable[[], None] = nothing
) -> Execution:
    """Run a process until it ends or passes a limit, output capped. ``kill`` is called beside killing its process tree."""
    limits, started = command.limits, time.monotonic()
    with tempfile.TemporaryFile() as stdin:
        stdin.write(command.stdin)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                argv, env=dict(environment), cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise SandboxError(f"{argv[0]} could not be started: {error.strerror}") from error
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        out = CappedBuffer(2 * limits.report_bytes if command.report else limits.output_bytes)
        sinks = {process.stdout.fileno(): out, process.stderr.fileno(): CappedBuffer(limits.output_bytes)}
        err = sinks[process.stderr.fileno()]
        reason: Reason | None = None
        peak, drain_until = 0, None
        known: set[int] = set()
        open_ends = dict(sinks)
        poller = select.poll()
        for descriptor in open_ends:
            poller.register(descriptor, select.POLLIN)
        while open_ends and (drain_until is None or time.monotonic() < drain_until):
            for descriptor, _ in poller.poll(50):
                data = os.read(descriptor, 1 << 16)
                if data:
                    open_ends[descriptor].feed(data)
                else:
                    poller.unregister(descriptor)
                    del open_ends[descriptor]
            below = descendants(process.pid)
            known |= set(below)
            used = resident_memory(below)[0]
            peak = max(peak, used)
            reason = reason or _passed(limits, time.monotonic() - started, used, out, err, command.report)
            if (reason is not None or process.poll() is not None) and drain_until is None:
                drain_until = time.monotonic() + 2.0
                _kill(process.pid, known if reason is not None else set(), kill)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(started + limits.wall_seconds - time.monotonic(), 0.1))
        if process.poll() is None:
            reason = reason or "timeout"
        _kill(process.pid, known, kill)
        code = process.wait()
    if reason is None and code < 0:
        reason = "signal"
    return Execution(
        exit_code=code if reason is None else None,
        signal=-code if code < 0 else None,
        reason=reason or "exited",
        stdout=b"" if command.report else out.value(),
        stderr=err.value(),
        report=out.value() if command.report else b"",
        collected={},
        seconds=time.monotonic() - started,
        peak_memory_bytes=peak,
    )


def _passed(limits: Limits, seconds: float, used: int, out: CappedBuffer, err: CappedBuffer, report: bool) -> Reason | None:
    if seconds > limits.wall_seconds:
        return "timeout"
    if used > limits.memory_bytes:
        return "memory"
    if err.total > 64 * limits.output_bytes or out.total > (limits.report_bytes if report else 64 * limits.output_bytes):
        return "output"
    return None


def _kill(pid: int, known: set[int], kill: Callable[[], None]) -> None:
    kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in known - {pid}:
        with contextlib.suppress(ProcessLookupError, PermissionError, OSError):
            # A number may have been given anew since: only what still is of this session or of none of ours.
            if os.getsid(process) == pid:
                os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def laid_out(command: Command) -> Iterator[tuple[Command, Path, Path]]:
    """(the command with paths of this machine instead of those inside, the folder to start in, a home folder), in a folder of its own
    that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ledex-run-") as name:
        home, tree = Path(name, "home"), command.tree
        home.mkdir()
        paths = {m.target: str(m.source) for m in command.mounts if m.target != str(m.source)}
        cwd = Path(command.cwd) if command.cwd.startswith("/") else home
        if tree is not None:
            root = Path(name, "work", tree.name)
            for layer in (tree.root, tree.artifacts, tree.overlay):
                if layer is not None:
                    shutil.copytree(layer, root, symlinks=True, dirs_exist_ok=True)
            for path in tree.removed:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    (root / path).unlink()
            paths[tree.inside] = str(root)
            cwd = cwd if command.cwd.startswith("/") else root / command.cwd

        def here(text: str) -> str:
            for inside in sorted(paths, key=len, reverse=True):
                text = text.replace(inside, paths[inside])
            return text

        environment = {**{k: here(v) for k, v in command.environment.items()}, "HOME": str(home), "TMPDIR": str(home)}
        yield replace(command, argv=tuple(here(a) for a in command.argv), environment=environment), cwd, home


def collected(paths: Sequence[str], cwd: Path, limit: int) -> dict[str, bytes]:
    """The wanted regular files below ``cwd``, links not followed."""
    found = {}
    for path in paths:
        source = cwd / path
        inside = source.parent.resolve().is_relative_to(cwd.resolve())
        if inside and source.is_file() and not source.is_symlink() and source.stat().st_size <= limit:
            found[path] = source.read_bytes()
    return found
