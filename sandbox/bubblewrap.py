"""The default Runner: bubblewrap, unprivileged and daemonless, started by root or by a user.

As a user, bubblewrap makes a user namespace and forbids further ones. As root it makes none: root does the binds (so folders closed to
others are no obstacle), keeps only the capabilities to change uid, and ``setpriv`` moves to a uid that no other sandbox has, because
the kernel counts processes per uid.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pwd
import random
import shlex
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sandbox import IsolationUnavailable, SandboxError, WorkspaceError
from sandbox.prepared import prepared_folder
from sandbox.runner import WORK, Command, Execution, Mount, Tree
from sandbox.seccomp import bpf_program
from sandbox.spawning import memory_file, spawn
from sandbox.supervision import Streams, Supervised

REPORT_FD, ARGS_FD, SECCOMP_FD, STATUS_FD, STARTED_FD, COLLECT_FD, PASSWD_FD, GROUP_FD = 3, 4, 5, 6, 7, 9, 10, 11
_UIDS = range(60100, 60900)
HOME = "/tmp/home"
"""Made by bubblewrap itself: a ``mkdir`` inside would cost a process at every start."""
_SLOTS = Path("/run/ledexbot-sandbox")
_SETUP = """
[ -d "$1" ] || mkdir -p "$1"
shift
if [ "$1" ]; then
  cp -a --no-preserve=ownership /run/tree/. "$1/" && chmod -R u+rwX "$1" || exit 97
  cp -a --no-preserve=ownership --remove-destination /run/artifacts/. "$1/" || exit 97
  cp -a --no-preserve=ownership --remove-destination /run/overlay/. "$1/" || exit 97
  cd "$1" || exit 97
  rm -rf -- REMOVED || exit 97
fi
shift
cd -- "$1" || exit 97
shift
""".strip()
_LAYOUT_FAILED = 97
_PLAIN = '\necho started >&7\nexec /usr/bin/env -i "$@" 7>&-'
_COLLECTING = r"""
echo started >&7
paths=$1; shift
/usr/bin/env -i "$@" 7>&- 9>&-
status=$?
printf '%s\n' "$paths" | tar --files-from=- --verbatim-files-from --ignore-failed-read -cf - >&9 2>/dev/null
exit $status
""".rstrip()


def _parents(target: str) -> Iterator[str]:
    yield from (str(p) for p in reversed(PurePosixPath(target).parents) if str(p) != "/")


@functools.cache
def _known_uids() -> frozenset[int]:
    return frozenset(entry.pw_uid for entry in pwd.getpwall())


@contextlib.contextmanager
def _uid_slot() -> Iterator[int]:
    """A uid that no other sandbox on this machine has while the context lasts."""
    _SLOTS.mkdir(mode=0o700, exist_ok=True)
    # From a random one on, so that the uid tells a test nothing about which run it is in.
    start = random.randrange(len(_UIDS))
    for uid in (*_UIDS[start:], *_UIDS[:start]):
        if uid in _known_uids():
            continue
        descriptor = os.open(_SLOTS / str(uid), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        try:
            yield uid
        finally:
            os.close(descriptor)
        return
    raise SandboxError(f"all {len(_UIDS)} sandbox uids are in use: wait for running sandboxes, or run fewer at once")


@functools.cache
def _system_binds() -> tuple[str, ...]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return tuple(arguments)


def arguments(command: Command, prepared: Path, as_root: bool) -> list[str]:
    """bubblewrap's options for a command (everything before ``--``); pure but for looking at which system folders exist."""
    limits = command.limits
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--hostname", "localhost", "--unshare-cgroup-try",
               "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]  # fmt: skip
    if as_root:
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            options += ["--cap-add", capability]
    else:
        options += ["--unshare-user", "--disable-userns"]
    options += _system_binds()
    options += ["--ro-bind", str(prepared / "etc"), "/etc"]
    for descriptor, target in ((PASSWD_FD, "passwd"), (GROUP_FD, "group")):
        options += ["--perms", "0644", "--ro-bind-data", str(descriptor), f"/etc/{target}"]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for path, size in (("/dev/shm", limits.temporary_bytes), ("/tmp", limits.temporary_bytes), (WORK, limits.tree_bytes)):
        options += ["--perms", "1777", "--size", str(size), "--tmpfs", path]
    options += ["--perms", "1777", "--dir", HOME, "--perms", "0755", "--dir", "/run"]
    mounts = list(command.mounts)
    if command.tree is not None:
        mounts.append(Mount(command.tree.root, "/run/tree"))
        # Both are always there, and laying out the tree takes the same processes: a test cannot tell a patched run by them.
        for layer, target in ((command.tree.artifacts, "/run/artifacts"), (command.tree.overlay, "/run/overlay")):
            mounts.append(Mount(layer or prepared / "empty", target))
    if command.proxy is not None:
        mounts.append(Mount(command.proxy, "/run/proxy.sock", writable=True))
    made: set[str] = set()
    for mount in sorted(mounts, key=lambda m: m.target.count("/")):
        for parent in _parents(mount.target):
            if parent not in made and parent not in ("/usr", "/etc", "/tmp", "/run", WORK) and not parent.startswith("/usr/"):
                options += ["--perms", "0755", "--dir", parent]
            made.add(parent)
        options += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def layout_script(tree: Tree | None) -> str:
    """Shell that makes the home folder $1 and the tree $2 (empty: none), goes to $3 and shifts them away."""
    removed = " ".join(shlex.quote(f"./{path}") for path in tree.removed) if tree is not None else ""
    return _SETUP.replace("REMOVED", removed)


def _inner(command: Command, uid: int, as_root: bool) -> list[str]:
    """The chain that runs inside: drop privileges, set limits, fill the tree, become the command with exactly its environment."""
    limits = command.limits
    chain: list[str] = []
    if as_root:
        chain += ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
                  "--bounding-set=-all"]  # fmt: skip
    chain += ["/usr/bin/prlimit", f"--cpu={limits.cpu_seconds}", f"--as={limits.memory_bytes * 4}", f"--nproc={limits.processes}",
              f"--fsize={limits.file_bytes}", f"--nofile={limits.open_files}", "--core=0"]  # fmt: skip
    environment = {"HOME": HOME, "PATH": "/usr/local/bin:/usr/bin:/bin", **command.environment}
    for key in environment:
        if not key or "=" in key:
            raise SandboxError(f"{key!r} is no name of an environment variable: use letters, digits and _")
    tree = command.tree
    cwd = command.cwd if tree is not None or command.cwd.startswith("/") else "/tmp"
    script = layout_script(tree) + (_COLLECTING if command.collect else _PLAIN)
    chain += ["/bin/sh", "-c", script, "sh", environment["HOME"], tree.inside if tree else "", cwd]
    if command.collect:
        chain.append("\n".join(command.collect))
    argv = [*command.argv, str(REPORT_FD)] if command.report else list(command.argv)
    return [*chain, *(f"{k}={v}" for k, v in environment.items()), *argv]


class BubblewrapSession:
    """A long-lived sandboxed command. The thread that opened it must live as long (the kernel ties the sandbox to that thread)."""

    def __init__(self, supervised: Supervised, channel: socket.socket) -> None:
        self.channel = channel
        self._supervised = supervised
        self._execution: Execution | None = None
        self._thread = threading.Thread(target=self._wait, name="sandbox-watch", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        self._execution = self._supervised.wait()

    def poll(self) -> Execution | None:
        return self._execution

    def kill(self) -> Execution:
        self._supervised.kill("signal")
        self._thread.join(30)
        self.channel.close()
        if self._execution is None:
            raise SandboxError("the sandbox could not be killed within 30 s: look for processes in uninterruptible sleep")
        return self._execution


def _channel() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that block. With a default timeout set anywhere in this process (Celery's workers set one as they stop) they
    would not, nor would the descriptor that the command inherits, which knows nothing of the timeout.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    theirs.setblocking(True)
    return ours, theirs


class BubblewrapRunner:
    """Runs commands in bubblewrap. ``as_root`` is found out from the effective uid."""

    name = "bubblewrap"

    def __init__(self, executable: str | None = None) -> None:
        found = executable or shutil.which("bwrap")
        if found is None:
            raise IsolationUnavailable("bubblewrap is not installed: apt-get install bubblewrap")
        self.executable = found
        self.as_root = os.geteuid() == 0

    def run(self, command: Command) -> Execution:
        ours, theirs = _channel() if command.report else (None, None)
        mark = memory_file(b"")
        try:
            execution = self._start(command, theirs, ours, mark).wait()
            started = bool(os.pread(mark, 1, 0))
        finally:
            os.close(mark)
        if not started and execution.reason in ("start", "exited"):
            raise _not_started(execution)
        return execution

    def open(self, command: Command) -> BubblewrapSession:
        ours, theirs = _channel()
        mark = memory_file(b"")
        try:
            return BubblewrapSession(self._start(command, theirs, None, mark), ours)
        finally:
            os.close(mark)

    def _start(self, command: Command, theirs: socket.socket | None, ours: socket.socket | None, mark: int) -> Supervised:
        """``mark`` is a file that is written to right before the command itself starts, which cannot undo it."""
        program = bpf_program()
        with contextlib.ExitStack() as stack:  # everything acquired is released if starting fails
            uid = os.getuid()
            slot = contextlib.ExitStack()
            if self.as_root:
                uid = slot.enter_context(_uid_slot())
            stack.push(slot)
            files: dict[int, int] = {}
            if theirs is not None:
                files[REPORT_FD] = theirs.detach()
            pipes: dict[int, int] = {}
            for target in (1, 2, STATUS_FD, *((COLLECT_FD,) if command.collect else ())):
                pipes[target], files[target] = os.pipe()
            files[0] = memory_file(command.stdin) if command.stdin else os.open(os.devnull, os.O_RDONLY)
            files[SECCOMP_FD], files[STARTED_FD] = memory_file(program), os.dup(mark)
            group = f"root:x:0:\nledex:x:{uid}:\nnogroup:x:65534:\n"
            passwd = f"root:x:0:0:root:/root:/bin/sh\nledex:x:{uid}:{uid}:ledex:/tmp/home:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
            files[PASSWD_FD], files[GROUP_FD] = memory_file(passwd.encode()), memory_file(group.encode())
            prepared = prepared_folder()
            options = [*arguments(command, prepared, self.as_root), "--seccomp", str(SECCOMP_FD), "--json-status-fd", str(STATUS_FD)]
            files[ARGS_FD] = memory_file(b"".join(os.fsencode(o) + b"\0" for o in options))
            try:
                pid = spawn([self.executable, "--args", str(ARGS_FD), "--", *_inner(command, uid, self.as_root)], files)
            except BaseException:
                for descriptor in pipes.values():
                    os.close(descriptor)
                raise
            finally:
                for descriptor in files.values():
                    os.close(descriptor)
            stack.pop_all()
        streams = Streams(pipes[1], pipes[2], pipes[STATUS_FD], pipes.get(COLLECT_FD), ours)
        return Supervised(pid, streams, command.limits, slot.close)


def _not_started(execution: Execution) -> SandboxError:
    lines = execution.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    if execution.exit_code == _LAYOUT_FAILED:
        return WorkspaceError(f"the work tree could not be laid out in the sandbox ({lines[-1]}): raise limits.tree_mb, or remove large "
                              "files from the checkout")  # fmt: skip
    return IsolationUnavailable(f"bubblewrap could not start ({lines[-1]}): run `ledex doctor`")
