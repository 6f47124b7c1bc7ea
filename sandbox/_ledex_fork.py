"""Forked workers and the lines of JSON that travel between processes.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import signal
import struct
import sys
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


def reap(pid: int) -> int:
    """Kill a worker with its process group; its wait status."""
    for target in (-pid, pid):
        try:
            os.kill(target, signal.SIGKILL)
        except OSError:
            pass
    return os.waitpid(pid, 0)[1]


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

    def __init__(self) -> None:
        self.position = mmap.mmap(-1, 16)

    def mark(self, number: int, finished: int = 0) -> None:
        """Note, for the parent to read, which candidate a worker is at and whether it did all of its work."""
        self.position[0:16] = struct.pack("qq", number, finished)

    def reached(self) -> int:
        """The index of the candidate that the latest worker is or was at."""
        return max(int(struct.unpack("q", self.position[0:8])[0]), 0)

    def finished(self) -> bool:
        """Whether the latest worker did all of its work."""
        return bool(struct.unpack("q", self.position[8:16])[0] == 1)

    def run(self, work: Work, seconds: float, forward: Send | None = None) -> tuple[list[Record], str]:
        """Run ``work(send)`` in a forked worker, and hand its records to ``forward``. One without progress for ``seconds`` is killed.

        Returns (records, how it ended: "ended", "hung" or "died").
        """
        ours, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(ours)
                os.setpgid(0, 0)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                os.dup2(null, 2)
                gc.disable()
                work(lambda record: write_record(theirs, record))
                status = 0
            except BaseException:
                if os.environ.get("LEDEX_SERVE_DEBUG"):
                    import traceback

                    write_record(theirs, {"debug": traceback.format_exc()})
            finally:
                os._exit(status)
        os.close(theirs)
        buffer, ended = b"", "ended"
        records: list[Record] = []
        while True:
            if not select.select([ours], [], [], seconds)[0]:
                ended = "hung"
                break
            data = os.read(ours, 1 << 16)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                try:
                    record = json.loads(line.decode("utf-8"))
                except ValueError:
                    continue
                records.append(record)
                if forward is not None:
                    forward(record)
        os.close(ours)
        status = reap(pid)
        if ended == "ended" and status != 0 and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and self.finished()):
            ended = "died"
        return records, ended
