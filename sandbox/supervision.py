"""Supervision of one started sandbox: capped output, limits watched, the whole process tree killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.limits import Limits
from sandbox.runner import Execution, Reason

_SAMPLE_SECONDS = 0.05
_KILL_FACTOR = 64
_PAGE = os.sysconf("SC_PAGE_SIZE")


class CappedBuffer:
    """Keeps the first and the last half of ``limit`` bytes of what is fed to it."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def feed(self, data: bytes) -> None:
        self.total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._half:
            del self._tail[: len(self._tail) - self._half]

    def value(self) -> bytes:
        dropped = self.total - len(self._head) - min(len(self._tail), self._half)
        tail = bytes(self._tail[-self._half :])
        if dropped <= 0:
            return bytes(self._head) + tail
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % dropped + tail


def descendants(pid: int) -> list[int]:
    """``pid`` and every process below it, by /proc; processes that end meanwhile are left out."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{current}/task"):
                with contextlib.suppress(OSError):
                    queue += map(int, Path(f"/proc/{current}/task/{task}/children").read_text().split())
    return found


def resident_memory(pids: list[int]) -> tuple[int, int]:
    """Bytes resident in the processes: (without shared pages, with them). Pages that several share count for each: an upper bound."""
    private = whole = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            private += (int(fields[1]) - int(fields[2])) * _PAGE
            whole += int(fields[1]) * _PAGE
    return private, whole


def proportional_memory(pids: list[int]) -> int | None:
    """Bytes that belong to no file, those of shared mappings included, by proportional set size: exact, but slow to ask for.

    None where the kernel refuses it.
    """
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * 1024
        except ProcessLookupError:
            continue
        except OSError:
            if os.path.exists(f"/proc/{pid}"):
                return None
    return total


@dataclass
class Streams:
    """Our ends of the started process's descriptors; each is closed when it has been read to its end."""

    stdout: int
    stderr: int
    status: int
    collect: int | None
    report: socket.socket | None


class Supervised:
    """A started bubblewrap process. ``wait`` (any thread, once) returns its Execution; ``kill`` may be called from anywhere."""

    def __init__(self, pid: int, streams: Streams, limits: Limits, release: Callable[[], None]) -> None:
        self.pid = pid
        self.limits = limits
        self._streams = streams
        self._release = release
        self._started = time.monotonic()
        self._reason: Reason | None = None
        self._lock = threading.Lock()
        self._reaped = False
        self._init: int | None = None
        self._init_pid: int | None = None
        self._status = b""
        self._peak = 0

    def kill(self, reason: Reason = "signal") -> None:
        """Kill every process of the sandbox: its init first, whose death takes the whole PID namespace along."""
        with self._lock:
            if self._reaped:
                return
            self._reason = self._reason or reason
            if self._init is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._init, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Execution:
        out, err = CappedBuffer(self.limits.output_bytes), CappedBuffer(self.limits.output_bytes)
        report, collected = bytearray(), bytearray()
        streams = self._streams
        sinks: dict[int, Callable[[bytes], object]] = {
            streams.stdout: out.feed, streams.stderr: err.feed, streams.status: self._feed_status}  # fmt: skip
        if streams.report is not None:
            sinks[streams.report.fileno()] = report.extend
        if streams.collect is not None:
            sinks[streams.collect] = collected.extend
        deadline = self._started + self.limits.wall_seconds
        outer = os.pidfd_open(self.pid)
        poller = select.poll()
        for descriptor in (*sinks, outer):
            poller.register(descriptor, select.POLLIN | select.POLLHUP)
        sample_at, drain_until = self._started + _SAMPLE_SECONDS, None
        try:
            while sinks:
                now = time.monotonic()
                if drain_until is not None and now > drain_until:
                    break
                for descriptor, _ in poller.poll(max(1, int((min(deadline, sample_at) - now) * 1000))):
                    if descriptor == outer:
                        poller.unregister(outer)
                        drain_until = time.monotonic() + 5.0
                        continue
                    data = _read(descriptor)
                    if data:
                        sinks[descriptor](data)
                    else:
                        poller.unregister(descriptor)
                        del sinks[descriptor]
                now = time.monotonic()
                cap = self.limits.output_bytes * _KILL_FACTOR
                if now >= deadline:
                    self.kill("timeout")
                    deadline = now + 3600
                elif max(out.total, err.total) > cap or max(len(report), len(collected)) > self.limits.report_bytes:
                    self.kill("output")
                if now >= sample_at:
                    self._watch_memory()
                    sample_at = now + _SAMPLE_SECONDS
            self._await_end(outer)
        finally:
            code = self._reap()
            os.close(outer)
            self._close()
        return self._execution(code, out.value(), err.value(), bytes(report), bytes(collected))

    def _feed_status(self, data: bytes) -> None:
        self._status += data
        if self._init is None and b"child-pid" in self._status:
            with contextlib.suppress(ValueError, ProcessLookupError, KeyError):
                pid = int(json.loads(self._status.split(b"}")[0] + b"}")["child-pid"])
                with self._lock:
                    self._init, self._init_pid = os.pidfd_open(pid), pid
                    if self._reason is not None:
                        signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def _watch_memory(self) -> None:
        if self._init_pid is None:
            return
        pids = descendants(self._init_pid)
        used, most = resident_memory(pids)
        if most > self.limits.memory_bytes:
            exact = proportional_memory(pids)
            used = max(used, most) if exact is None else exact
            if used > self.limits.memory_bytes:
                self.kill("memory")
        self._peak = max(self._peak, used)

    def _await_end(self, outer: int) -> None:
        """Wait until bubblewrap and its init are gone; the init only goes when every process inside has been reaped."""
        for descriptor in (outer, self._init):
            if descriptor is None:
                continue
            left = self._started + self.limits.wall_seconds - time.monotonic()
            if not readable(descriptor, max(left, 0.05)):
                self.kill("timeout")
                readable(descriptor, 10.0)

    def _reap(self) -> int:
        with self._lock:
            if not self._reaped and not _ended(self.pid):
                os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._reaped = True
        return os.waitstatus_to_exitcode(status)

    def _close(self) -> None:
        streams = self._streams
        for descriptor in (streams.stdout, streams.stderr, streams.status, streams.collect, self._init):
            if descriptor is not None:
                os.close(descriptor)
        if streams.report is not None:
            streams.report.close()
        self._release()

    def _execution(self, code: int, out: bytes, err: bytes, report: bytes, collected: bytes) -> Execution:
        reason: Reason = self._reason or "exited"
        number: int | None = None
        if self._init is None and reason == "exited":
            reason = "start"
        if code < 0:
            number, exit_code = -code, None
            reason = "signal" if reason == "exited" else reason
        elif code > 128 and reason == "exited":
            number, exit_code, reason = code - 128, None, "signal"
        else:
            exit_code = code
        if reason not in ("exited", "start"):
            exit_code = None
        return Execution(
            exit_code=exit_code, signal=number, reason=reason, stdout=out, stderr=err, report=report,
            collected=untar(collected), seconds=time.monotonic() - self._started, peak_memory_bytes=self._peak)  # fmt: skip


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except (ConnectionResetError, OSError):
        return b""


def readable(descriptor: int, seconds: float) -> bool:
    """Whether something came, or the other end went, in time. Not ``select``, which knows only the first 1024 descriptors."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(1, int(seconds * 1000))))


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def untar(archive: bytes) -> Mapping[str, bytes]:
    """Regular files of a tar archive by name; nothing is ever written to disk, and a broken archive yields what was readable."""
    files: dict[str, bytes] = {}
    if not archive:
        return files
    with contextlib.suppress(tarfile.TarError, EOFError), tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isreg() else None
            if source is not None:
                files[member.name] = source.read()
    return files
