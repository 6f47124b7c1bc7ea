"""Real PostgreSQL and Redis servers for tests, each in a folder of its own; NotInstalled says why there is none."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

INSTALL = "install it with `apt-get install postgresql redis-server`"


class NotInstalled(Exception):
    """The server's programs are not on this machine; the text is the reason for skipping."""


@dataclass
class Service:
    """A running server at ``url``. ``restart()`` kills it and starts it again on the same data."""

    url: str
    process: subprocess.Popen[bytes]
    command: Sequence[str]
    is_ready: Callable[[], bool]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def start(self) -> None:
        self.process = _spawn(self.command)
        _wait(self)

    def restart(self) -> None:
        self.kill()
        self.start()


@contextmanager
def postgres(durable: bool = False) -> Iterator[Service]:
    """A cluster with an empty database. ``durable``: flush to the disk as in production. Raises NotInstalled."""
    binaries = _postgres_binaries()
    with _folder() as folder:
        as_server = _drop_root(folder)
        data = folder / "data"
        subprocess.run(
            [*as_server, str(binaries / "initdb"), "-D", str(data), "-U", "ledex", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            check=True, capture_output=True, cwd=folder)  # fmt: skip
        flags = [] if durable else ["-c", "fsync=off", "-c", "synchronous_commit=off"]
        command = [*as_server, str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=", *flags]
        ready = [str(binaries / "pg_isready"), "-q", "-h", str(folder), "-U", "ledex"]
        url = f"postgresql://ledex@/postgres?host={folder}"
        with _running(url, command, lambda: subprocess.run(ready, check=False).returncode == 0, signal.SIGINT) as service:
            yield service


@contextmanager
def redis(password: str = "") -> Iterator[Service]:
    """A server that writes every change to its file. Raises NotInstalled."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotInstalled(f"redis-server is not installed: {INSTALL}")
    with _folder() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        guarded = ["--requirepass", password] if password else []
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable, *guarded]

        def is_ready() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"-NOAUTH" if password else b"+PONG")
            return False

        account = f":{password}@" if password else ""
        with _running(f"redis://{account}127.0.0.1:{port}/0", command, is_ready, signal.SIGTERM) as service:
            yield service


@contextmanager
def _running(url: str, command: Sequence[str], is_ready: Callable[[], bool], stop: signal.Signals) -> Iterator[Service]:
    service = Service(url, _spawn(command), command, is_ready)
    try:
        _wait(service)
        yield service
    finally:
        if service.process.poll() is None:
            service.process.send_signal(stop)
            service.process.wait(30)


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def _wait(service: Service) -> None:
    end = time.monotonic() + 30
    while not service.is_ready():
        assert time.monotonic() < end, f"{service.command[0]} did not start"
        assert service.process.poll() is None, f"{service.command[0]} ended with {service.process.returncode}"
        time.sleep(0.05)


@contextmanager
def _folder() -> Iterator[Path]:
    """Not pytest's own folder: only its owner may enter that, and a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="ledex-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise NotInstalled(f"PostgreSQL is not installed: {INSTALL}")
    return (found[-1] if found else Path(str(on_path))).parent


def _drop_root(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise NotInstalled("PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody`")
