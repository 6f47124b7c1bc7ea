"""Forked workers and the lines of JSON that travel between processes.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import _socket  # not ``socket``, which is slow to load: cold runs load the same
import gc
import json
import mmap
import os
import select
import signal
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Callable
    from typing import Any

    Record = dict[str, Any]
    Send = Callable[[Record], None]
    Work = Callable[[Send], None]


def write_record(descriptor: int, record: Record) -> None:
    """One JSON line."""
    data = (json.dumps(record) + "\n").encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(descriptor, data):]


def kill(pid: int) -> None:
    """Kill a worker with its process group."""
    for target in (-pid, pid):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError:
            pass


class Channel:
    """JSON lines both ways on one descriptor, which child processes do not inherit."""

    def __init__(self, number: int) -> None:
        self.descriptor = os.dup(number)
        os.set_inheritable(self.descriptor, False)
        os.close(number)
        self.buffer = b""

    def send(self, record: Record) -> None:
        """Send one record."""
        write_record(self.descriptor, record)

    def receive(self) -> Record | None:
        """The next record; None when the other side is gone."""
        while b"\n" not in self.buffer:
            data = os.read(self.descriptor, 1 << 16)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        record: Record = json.loads(line.decode("utf-8"))
        return record


class Workers:
    """Forks of this process, one at a time, and how far the latest one came: memory that it shares with its parent."""

    def __init__(self, channel: int) -> None:
        """``channel``: the descriptor in whose place a worker has its own way to this process, as a cold run has its report there."""
        self.position = mmap.mmap(-1, 16)
        self.channel = channel
        self.streams = [os.fstat(number) for number in (1, 2)]
        self.outputs: list[tuple[int, bool]] = []
        self.dying: list[int] = []

    def find_outputs(self) -> None:
        """Note which descriptors lead to this process's own output: 1 and 2, or the copies that a capturing framework keeps."""
        self.outputs = []
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                about = os.fstat(number)
            except OSError:  # the listing's own
                continue
            if any(os.path.samestat(about, s) for s in self.streams):
                self.outputs.append((number, os.get_inheritable(number)))

    def mark(self, number: int, finished: int = 0) -> None:
        """Note, for the parent to read, which candidate a worker is at and whether it did all of its work."""
        self.position[0:16] = struct.pack("qq", number, finished)

    def reached(self) -> int:
        """The index of the candidate that the latest worker is or was at."""
        return max(int(struct.unpack("q", self.position[0:8])[0]), 0)

    def finished(self) -> bool:
        """Whether the latest worker did all of its work."""
        return bool(struct.unpack("q", self.position[8:16])[0] == 1)

    def run(
        self, work: Work, seconds: float, forward: Send | None = None, first: float | None = None
    ) -> tuple[list[Record], str]:
        """Run ``work(send)`` in a forked worker, and hand its records to ``forward``.

        One that sends nothing for ``seconds``, or for ``first`` seconds at its start, is killed.

        Returns (records, how it ended: "ended", "hung" or "died").
        """
        ours, theirs = _socket.socketpair()
        sink, output = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                for number, inheritable in self.outputs:
                    os.dup2(output, number, inheritable)
                os.dup2(theirs.fileno(), self.channel, inheritable=False)
                for number in (ours.detach(), theirs.detach(), sink, output):
                    os.close(number)
                gc.freeze()  # a collection would write to, and so copy, every page that the worker shares with this process
                work(lambda record: write_record(self.channel, record))
                write_record(self.channel, {"end": True})
                status = 0
            except BaseException:
                if os.environ.get("LEDEX_SERVE_DEBUG"):
                    import traceback

                    write_record(self.channel, {"debug": traceback.format_exc()})
            finally:
                os._exit(status)
        theirs.close()
        os.close(output)
        try:
            records, ended = self.listen(ours.fileno(), sink, seconds, forward, seconds if first is None else first)
        finally:
            ours.close()
            os.close(sink)
        if ended == "done":  # its memory takes the kernel a while to free: meanwhile the next worker starts
            kill(pid)
            self.dying.append(pid)
            while len(self.dying) > 2:
                os.waitpid(self.dying.pop(0), 0)
            return records, "ended"
        kill(pid)
        status = os.waitpid(pid, 0)[1]
        if ended == "ended" and status != 0 and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and self.finished()):
            ended = "died"
        return records, ended

    def listen(self, ours: int, sink: int, seconds: float, forward: Send | None, first: float) -> tuple[list[Record], str]:
        """The records of a worker until it says that it is done ("done"), is gone ("ended"), or is silent for too long ("hung").

        What it prints is read and forgotten, so that it never waits for a reader.
        """
        buffer = b""
        records: list[Record] = []
        open_ends = [ours, sink]
        deadline = time.monotonic() + first
        while True:
            ready = select.select(open_ends, [], [], max(deadline - time.monotonic(), 0))[0]
            if not ready or (ours not in ready and time.monotonic() > deadline):
                return records, "hung"
            if sink in ready and not os.read(sink, 1 << 16):
                open_ends.remove(sink)
            if ours not in ready:
                continue
            data = os.read(ours, 1 << 16)
            if not data:
                return records, "ended"
            deadline = time.monotonic() + seconds
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                try:
                    record = json.loads(line.decode("utf-8"))
                except ValueError:
                    continue
                if "end" in record and self.finished():
                    return records, "done"
                records.append(record)
                if forward is not None:
                    forward(record)
