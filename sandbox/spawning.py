"""Starting a process with exactly the descriptors that it is meant to have."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence

from sandbox import SandboxError

_FIRST_FREE_FD = 20


def memory_file(content: bytes) -> int:
    """The descriptor of a file without a name that holds these bytes, at its start."""
    descriptor = os.memfd_create("ledex")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def spawn(argv: Sequence[str], files: dict[int, int]) -> int:
    """The number of a new process, a session of its own: ``files[n]`` becomes its descriptor n, and it gets no other.

    Raises SandboxError where it cannot be started.
    """
    high = {n: fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD) for n, d in files.items()}
    try:
        actions: list[tuple[int, int] | tuple[int, int, int]] = [(os.POSIX_SPAWN_CLOSE, d) for d in _inheritable()]
        actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in high.items()]
        encoded = [os.fsencode(a) for a in argv]
        return os.posix_spawn(encoded[0], encoded, {}, file_actions=actions, setsigdef=range(1, 32), setsid=True)
    except OSError as error:
        raise SandboxError(f"the sandbox could not be started: {error.strerror}") from error
    finally:
        for descriptor in high.values():
            os.close(descriptor)


def _inheritable() -> Iterator[int]:
    """Descriptors that this process was itself given open on exec (Python's own are closed on exec)."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                yield int(name)
