"""A Runner over Docker or Podman, for deployments that have one: the root of every run is an image's, the tree is bound and copied.

Services run beside the tests in one network namespace that has a loopback and nothing else, made anew for every run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sandbox import CandidateServerError, EnvironmentFailed, IsolationUnavailable, SandboxError
from sandbox.bubblewrap import layout_script
from sandbox.images import Image, Service, expired, hosts_file, read_inspection, waiting
from sandbox.limits import Limits
from sandbox.prepared import prepared_folder
from sandbox.processes import watch
from sandbox.runner import WORK, Command, Execution, Mount, Session
from sandbox.supervision import untar

IMAGE = "debian:stable-slim"
ENGINES = ("podman", "docker")
LABEL = "ledexbot.until"
"""On every container: the moment (seconds since 1970) after which it is nobody's any more."""
PULL_SECONDS, SERVICE_SECONDS = 600.0, 120.0
_UID = 60_000
_NPROC = "nproc=16384:16384"
"""The kernel counts it for a uid over all containers, so it bounds nothing here; said, because engines raise it otherwise, which they may
not everywhere."""
_RUN = '\nexec /usr/bin/env -i "$@"'
_REPORT = '\nexec 3>&1 1>&2\nexec /usr/bin/env -i "$@"'
_COLLECT = r"""
paths=$1; shift
exec 3>&1 1>&2
/usr/bin/env -i "$@" 3>&-
status=$?
printf '%s\n' "$paths" | tar --files-from=- --verbatim-files-from --ignore-failed-read -cf - >&3 2>/dev/null
exit $status
""".rstrip()
_CLOSED = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--ipc", "private", "--pull", "missing")
_CHANNEL = "/run/channel.sock"
_CONNECT = """
import os, socket, sys
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
os.dup2(channel.fileno(), 3)
os.set_inheritable(3, True)  # it may have been 3 before
os.execvp(sys.argv[2], sys.argv[2:])
"""
_START_SECONDS = SERVICE_SECONDS + 120.0
_SERVICE_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
"""What the entry points of databases use to make their folders and to become another user."""


def arguments(engine: str, image: str, name: str, command: Command, empty: Path, network: str = "none", until: float = 0) -> list[str]:
    """The engine's whole command line for a run. Pure. ``empty`` is a folder for the layers that the tree does not have; ``network`` is
    ``none``, or the container whose network is shared."""
    limits, tree = command.limits, command.tree
    options = [engine, "run", "--rm", "--interactive", "--name", name, "--label", f"{LABEL}={until:.0f}", "--network", network,
               *_CLOSED, *(("--hostname", "localhost") if network == "none" else ()), "--read-only", "--user", f"{_UID}:{_UID}", "--init",
               *_limits(limits), "--ulimit", f"cpu={limits.cpu_seconds}", "--ulimit", f"fsize={limits.file_bytes}",
               "--shm-size", str(limits.temporary_bytes), "--log-driver", "none",
               "--tmpfs", f"/tmp:rw,exec,nosuid,nodev,mode=1777,size={limits.temporary_bytes}",
               "--tmpfs", f"{WORK}:rw,exec,nosuid,nodev,mode=1777,size={limits.tree_bytes}"]  # fmt: skip
    mounts = list(command.mounts)
    if tree is not None:
        mounts += [
            Mount(tree.root, "/run/tree"),
            Mount(tree.artifacts or empty, "/run/artifacts"),
            Mount(tree.overlay or empty, "/run/overlay"),
        ]
    if command.proxy is not None:
        mounts.append(Mount(command.proxy, "/run/proxy.sock", writable=True))
    for mount in mounts:
        if "," in f"{mount.source}{mount.target}":
            raise SandboxError(f"{mount.source} has a comma in its name, which {engine} cannot bind: rename it")
        options += ["--mount", f"type=bind,source={mount.source},target={mount.target}{'' if mount.writable else ',readonly'}"]
    environment = {"HOME": "/tmp/home", "PATH": "/usr/local/bin:/usr/bin:/bin", **command.environment}
    cwd = command.cwd if tree is not None or command.cwd.startswith("/") else "/tmp"
    script = layout_script(tree) + (_COLLECT if command.collect else _REPORT if command.report else _RUN)
    inside = ["-c", script, "sh", environment["HOME"], tree.inside if tree else "", cwd]
    if command.collect:
        inside.append("\n".join(command.collect))
    argv = [*command.argv, "3"] if command.report else list(command.argv)
    return [*options, "--entrypoint", "/bin/sh", image, *inside, *(f"{k}={v}" for k, v in environment.items()), *argv]


def holder_arguments(engine: str, image: str, name: str, seconds: float, until: float) -> list[str]:
    """The command line of the container that has the network of a run and its services: a loopback and nothing else. Pure."""
    return [engine, "run", "--detach", "--rm", "--name", name, "--label", f"{LABEL}={until:.0f}", "--network", "none", *_CLOSED,
            "--hostname", "localhost", "--read-only", "--user", f"{_UID}:{_UID}", *_limits(Limits(processes=16)),
            "--log-driver", "none", "--entrypoint", "/bin/sh", image, "-c", f"exec sleep {seconds:.0f}"]  # fmt: skip


def service_arguments(engine: str, service: Service, name: str, holder: str, limits: Limits, until: float) -> list[str]:
    """The command line of one service. Pure. It has nothing of this machine's: no bind, no network but the holder's."""
    capabilities = [option for name_ in _SERVICE_CAPABILITIES for option in ("--cap-add", name_)]
    settings = [option for key, value in service.settings.items() for option in ("--env", f"{key}={value}")]
    return [engine, "run", "--detach", "--name", name, "--label", f"{LABEL}={until:.0f}", "--network", f"container:{holder}",
            *_CLOSED, *capabilities, *_limits(limits), *settings, service.image.name]  # fmt: skip


def _limits(limits: Limits) -> list[str]:
    memory = str(limits.memory_bytes)
    files = f"nofile={limits.open_files}:{limits.open_files}"
    return ["--pids-limit", str(limits.processes), "--memory", memory, "--memory-swap", memory, "--ulimit", files, "--ulimit", _NPROC,
            "--ulimit", "core=0"]  # fmt: skip


class ContainerRunner:
    """Runs every command in a container of its own. Raises IsolationUnavailable where no engine answers."""

    name = "container"

    def __init__(self, engines: Sequence[str] = ENGINES, image: str = IMAGE, services: Sequence[Service] = ()) -> None:
        self.image, self.services = image, tuple(services)
        for engine in engines:
            found = shutil.which(engine)
            if found and ask([found, "info"], 60).returncode == 0:
                self.engine = found
                return
        raise IsolationUnavailable(f"neither {' nor '.join(engines)} answers here: start one, or install bubblewrap")

    def run(self, command: Command) -> Execution:
        return self.run_named(command, new_name())

    def run_named(self, command: Command, name: str) -> Execution:
        """Run in a container of that name, which ``kill`` ends."""
        until = time.time() + command.limits.wall_seconds + SERVICE_SECONDS + 60
        with self._network(name, command.limits, until) as (network, hosts):
            command = replace(command, mounts=(*command.mounts, *hosts))
            argv = arguments(self.engine, self.image, name, command, prepared_folder() / "empty", network, until)
            carries = command.report or bool(command.collect)  # on standard output, which the command's own is kept from then
            execution = watch(argv, engine_environment(), Path("/"), replace(command, report=carries), lambda: self.kill(name))
        if not command.collect:
            return execution
        return replace(execution, report=b"", collected=untar(execution.report))

    def open(self, command: Command) -> Session:
        """The command's first word must be a Python, which hands it the channel."""
        return ContainerSession(self, command)

    def inside(self, image: str, services: Sequence[Service] = ()) -> ContainerRunner:
        """The same engine with another image, and services beside each run."""
        return ContainerRunner((self.engine,), image, services)

    def kill(self, name: str) -> None:
        ask([self.engine, "kill", name], 60)

    def image_of(self, name: str) -> Image:
        """The image, pulled when it is not here. Raises EnvironmentFailed."""
        found = ask([self.engine, "image", "inspect", name], 60)
        if found.returncode != 0:
            pulled = ask([self.engine, "pull", "--quiet", name], PULL_SECONDS)
            if pulled.returncode != 0:
                raise EnvironmentFailed(f"the image {name} cannot be had: {_last_line(pulled.stderr)}")
            found = ask([self.engine, "image", "inspect", name], 60)
        return read_inspection(name, found.stdout)

    def tidy(self) -> None:
        """Remove containers that a killed process left behind."""
        shown = '{{.Names}} {{.Label "%s"}}' % LABEL  # noqa: UP031 - the braces are the engine's
        listing = ask([self.engine, "ps", "--all", "--filter", f"label={LABEL}", "--format", shown], 60)
        old = expired(listing.stdout.decode(errors="replace"), time.time())
        if old:
            ask([self.engine, "rm", "--force", "--volumes", *old], 60)

    @contextmanager
    def _network(self, name: str, limits: Limits, until: float) -> Iterator[tuple[str, tuple[Mount, ...]]]:
        """``none``, or the network of a container that holds it while the services run in it, with the file of their names; an engine
        keeps that of the holder for itself or shares it, each as it likes. Raises SandboxError."""
        if not self.services:
            yield "none", ()
            return
        holder = f"{name}-network"
        names = [f"{name}-{service.name}" for service in self.services]
        with tempfile.NamedTemporaryFile("w", prefix="ledex-hosts-") as hosts:
            hosts.write(hosts_file(self.services))
            hosts.flush()
            Path(hosts.name).chmod(0o644)
            with self._running(holder, names, limits, until):
                yield f"container:{holder}", (Mount(Path(hosts.name), "/etc/hosts"),)

    @contextmanager
    def _running(self, holder: str, names: Sequence[str], limits: Limits, until: float) -> Iterator[None]:
        """The services, ready. Raises SandboxError."""
        try:
            seconds = until - time.time()
            self._started(holder_arguments(self.engine, self.image, holder, seconds, until), "the network of the services")
            for service, its_name in zip(self.services, names, strict=True):
                self._started(service_arguments(self.engine, service, its_name, holder, limits, until), f"the service {service.name}")
            ready = ask([self.engine, "exec", holder, "/bin/sh", "-c", waiting(self.services)], SERVICE_SECONDS)
            if ready.returncode != 0:
                raise SandboxError(f"the services were not ready after {SERVICE_SECONDS:.0f} s: {self._last_words(names)}")
            yield
        finally:
            # Killed at once, for the first process of a container leaves SIGTERM alone; the network goes last, when nobody is in it.
            ask([self.engine, "kill", *names, holder], 60)
            for gone in (names, [holder]):
                ask([self.engine, "rm", "--force", "--volumes", *gone], 60)

    def _started(self, argv: Sequence[str], what: str) -> None:
        done = ask(argv, 120)
        if done.returncode != 0:
            raise SandboxError(f"{what} could not be started: {_last_line(done.stderr)}")

    def _last_words(self, names: Sequence[str]) -> str:
        logs = [ask([self.engine, "logs", "--tail", "1", name], 30) for name in names]
        return "; ".join(_last_line(log.stderr or log.stdout) for log in logs)[:300]


class ContainerSession:
    """A container that runs, with a channel both ways: a socket of this machine, bound into it, is the command's report descriptor."""

    def __init__(self, runner: ContainerRunner, command: Command) -> None:
        self._runner, self._name = runner, new_name()
        self._execution: Execution | None = None
        self._failed: SandboxError | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="ledex-channel-")
        path = Path(self._folder.name, "channel.sock")
        path.parent.chmod(0o755)
        mount = Mount(path, _CHANNEL, writable=True)
        inside = (command.argv[0], "-I", "-c", _CONNECT, _CHANNEL, *command.argv, "3")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen(1)
            started = replace(command, argv=inside, report=False, mounts=(*command.mounts, mount))
            self._thread = threading.Thread(target=self._run, args=(started,), name="container", daemon=True)
            self._thread.start()
            self.channel = self._connected(listener)

    def _connected(self, listener: socket.socket) -> socket.socket:
        deadline = time.monotonic() + _START_SECONDS
        listener.settimeout(0.2)
        while self._thread.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                channel = listener.accept()[0]
                channel.setblocking(True)
                return channel
        self._runner.kill(self._name)
        self._thread.join(60)
        if self._failed is not None:
            raise self._failed
        said = _last_line(self._execution.stderr) if self._execution is not None else "no answer"
        raise CandidateServerError(f"the container did not start: {said}")

    def _run(self, command: Command) -> None:
        try:
            self._execution = self._runner.run_named(command, self._name)
        except SandboxError as error:
            self._failed = error
        finally:
            self._folder.cleanup()

    def poll(self) -> Execution | None:
        if self._failed is not None:
            raise self._failed
        return self._execution

    def kill(self) -> Execution:
        self._runner.kill(self._name)
        self._thread.join(60)
        self.channel.close()
        if self._execution is None:
            raise self._failed or SandboxError("the container could not be killed within 60 s: look at the engine")
        return self._execution


def new_name() -> str:
    return f"ledex-{secrets.token_hex(8)}"


def engine_environment() -> dict[str, str]:
    """Nothing of this process's environment but where the engine finds its own."""
    known = {name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "DOCKER_HOST", "CONTAINER_HOST") if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(Path.home()), **known}


def ask(argv: Sequence[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Call the engine. An engine that does not answer in time has failed, with 124."""
    try:
        return subprocess.run(
            argv, capture_output=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL, env=engine_environment())  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        return subprocess.CompletedProcess(argv, 124, b"", f"{type(error).__name__} after {seconds:.0f} s".encode())


def _last_line(text: bytes) -> str:
    return (text.decode(errors="replace").strip().splitlines() or ["no message"])[-1][:300]
