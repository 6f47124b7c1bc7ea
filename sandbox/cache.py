"""Built environments on disk: one folder per repository, trust level and key; leases while in use; eviction by least recent use.

::

    <cache folder>/                      closed to other users
        entries/<repository hash>/<trust>/<key>/   env/ artifacts/ entry.json
        downloads/<repository hash>/<trust>/       the installers' own caches, entry.json
        locks/  building/  deleting/

What a build left is hostile: it is never followed, executed or read here but by tools that do not follow links.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import EnvironmentFailed

ENTRY = "entry.json"


class Lease:
    """A shared or exclusive lock on one cache entry, held until ``release`` or until nothing refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._finalizer = weakref.finalize(self, os.close, descriptor)

    def share(self) -> None:
        """Turn an exclusive lease into a shared one. Not atomic: look afterwards whether the entry is still there."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        self._finalizer()


@dataclass(frozen=True)
class Slot:
    """Where one entry lies or will lie."""

    folder: Path
    lock: Path

    def read(self) -> dict[str, Any] | None:
        """The entry's description, or None where there is no finished entry."""
        try:
            value = json.loads((self.folder / ENTRY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def touch(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.folder / ENTRY)


class EnvironmentCache:
    """The cache folder. Many processes may use it at one time."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise EnvironmentFailed(f"{folder} belongs to another user: set LEDEX_SANDBOX_CACHE_FOLDER to a folder of your own")
        folder.chmod(0o700)
        for name in ("entries", "downloads", "locks", "building", "deleting"):
            (folder / name).mkdir(exist_ok=True)

    def slot(self, repository: str, trust: str, key: str) -> Slot:
        """The place of one repository's environment at one trust level."""
        return self._slot("entries", _hashed(repository), _named(trust), _named(key))

    def downloads(self, repository: str, trust: str) -> Slot:
        """The installers' own cache: never shared with another repository or trust level, because a build can write anything there."""
        return self._slot("downloads", _hashed(repository), _named(trust))

    def tools(self, key: str) -> tuple[Slot, Slot]:
        """The place of an overlay of test tools and of its downloads: no repository's name is hashed to these folders."""
        return self._slot("entries", "tools", "overlay", _named(key)), self._slot("downloads", "tools", "overlay")

    def _slot(self, kind: str, *parts: str) -> Slot:
        return Slot(self.folder.joinpath(kind, *parts), self.folder / "locks" / "-".join((kind, *parts)))

    def lease(self, slot: Slot, *, exclusive: bool, timeout: float) -> Lease | None:
        """A lock on the entry, or None when another process kept it for ``timeout`` seconds (0: do not wait)."""
        descriptor = os.open(slot.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        lease = Lease(descriptor)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    lease.release()
                    return None
                time.sleep(0.05)
            else:
                return lease

    def take(self, slot: Slot, *, exclusive: bool, timeout: float) -> Lease:
        """A lock on the entry. Raises EnvironmentFailed where another process keeps it for ``timeout`` seconds."""
        lease = self.lease(slot, exclusive=exclusive, timeout=timeout)
        if lease is None:
            raise EnvironmentFailed("another process is still building this environment: wait for it, or raise --setup-timeout")
        return lease

    def finished(self, slot: Slot, build: Callable[[float], None], timeout: float) -> tuple[Lease, dict[str, Any], bool]:
        """(a shared lease on the finished entry, its description, whether it was there). Where it was not, one process builds it:
        ``build`` gets the seconds that are left and publishes the entry. Raises EnvironmentFailed as ``take`` does."""
        deadline = time.monotonic() + timeout
        lease = self.take(slot, exclusive=False, timeout=timeout)
        description = slot.read()
        there = description is not None
        while description is None:
            lease.release()
            lease = self.take(slot, exclusive=True, timeout=deadline - time.monotonic())
            if slot.read() is None:
                build(deadline - time.monotonic())
            lease.share()
            description = slot.read()  # between the two locks another process may have evicted it
        slot.touch()
        return lease, description, there

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A new folder on the cache's file system, deleted afterwards unless it was published."""
        folder = Path(tempfile.mkdtemp(dir=self.folder / "building"))
        try:
            yield folder
        finally:
            if folder.exists():
                self.delete(folder)

    def publish(self, built: Path, slot: Slot, description: dict[str, Any]) -> None:
        """Move a sealed build to its place, atomically. Hold the slot's exclusive lease."""
        description = {**description, "bytes": disk_usage(built)}
        (built / ENTRY).write_text(json.dumps(description), encoding="utf-8")
        slot.folder.parent.mkdir(parents=True, exist_ok=True)
        if slot.folder.exists():
            self.delete(slot.folder)
        built.rename(slot.folder)

    def evict(self) -> int:
        """Delete what was not used for longest until the limit is kept; entries under a lease stay. Returns the number deleted."""
        entries: list[tuple[float, int, Slot]] = []
        for path in (*self.folder.glob("entries/*/*/*/" + ENTRY), *self.folder.glob("downloads/*/*/" + ENTRY)):
            slot = self._slot(*path.parent.relative_to(self.folder).parts)
            with contextlib.suppress(OSError):
                entries.append((path.stat().st_mtime, int((slot.read() or {}).get("bytes", 0)), slot))
        total, deleted = sum(size for _, size, _ in entries), 0
        for _, size, slot in sorted(entries, key=lambda entry: entry[0]):
            if total <= self.limit_bytes:
                break
            lease = self.lease(slot, exclusive=True, timeout=0)
            if lease is None:
                continue
            self.delete(slot.folder)
            lease.release()
            total, deleted = total - size, deleted + 1
        return deleted

    def forget(self, repository: str) -> int:
        """Delete every environment and download of a repository, those in use too. Returns how many environments there were."""
        places = [self.folder / kind / _hashed(repository) for kind in ("entries", "downloads")]
        found = sum(1 for _ in places[0].glob("*/*/" + ENTRY))
        for place in places:
            if place.exists():
                self.delete(place)
        return found

    def delete(self, folder: Path) -> None:
        """Take a folder out of its place at once, then delete it; a build may have made it too deep for recursion in Python."""
        grave = Path(tempfile.mkdtemp(dir=self.folder / "deleting"))
        with contextlib.suppress(FileNotFoundError):
            folder.rename(grave / "entry")
        _tool("chmod", "-R", "u+rwX", str(grave))
        _tool("rm", "-rf", "--one-file-system", str(grave))


def seal_build(folder: Path) -> list[str]:
    """Keep of a build its ``env`` and ``artifacts`` alone, sealed, without links that lead out; returns sentences for people."""
    links = remove_escaping(folder / "artifacts")
    for name in ("env", "artifacts"):
        seal(folder / name)
    for path in folder.iterdir():
        if path.name not in ("env", "artifacts"):
            shutil.rmtree(path)
    return [f"{len(links)} links that the build left in the tree lead out of it and were refused"] if links else []


def seal(folder: Path) -> None:
    """Make a build's files safe to keep: ours, unwritable, readable, no set-id bits, only files, folders and links.

    Raises EnvironmentFailed when a tool cannot do it.
    """
    if os.geteuid() == 0:  # the build ran as another uid, which a later sandbox may get
        _tool("chown", "-hR", "0:0", str(folder))
    _tool("find", str(folder), "!", "-type", "f", "!", "-type", "d", "!", "-type", "l", "-delete")
    _tool("chmod", "-R", "a-w,a+rX,ug-s,-t", str(folder))
    folder.chmod(0o755)  # renaming a folder needs its own write permission


def open_up(folder: Path) -> None:
    """Let the next build, under whatever uid, write to an installer's cache. The folders above are closed to other users."""
    if os.geteuid() == 0:
        _tool("chown", "-hR", "0:0", str(folder))
        _tool("chmod", "-R", "a+rwX,ug-s", str(folder))
    else:
        _tool("chmod", "-R", "u+rwX,ug-s", str(folder))


def disk_usage(folder: Path) -> int:
    """Bytes on disk below a folder."""
    return int((_tool("du", "-s", "-B1", str(folder)).split() or [b"0"])[0])


def remove_escaping(folder: Path) -> list[str]:
    """Delete the links below ``folder`` that could lead out of it; returns their paths.

    Kept is what goes up at most to ``folder`` and then only down. Going up starts from real folders, and whatever link is met on the way
    down was itself kept, so no chain of kept links leads out.
    """
    output = _tool("find", str(folder), "-type", "l", "-printf", "%P\\0%l\\0")
    fields = [os.fsdecode(part) for part in output.split(b"\0")]
    escaping = [path for path, target in zip(fields[::2], fields[1::2], strict=False) if _leads_out(path, target)]
    for path in escaping:
        os.unlink(folder / path)
    return escaping


def _leads_out(path: str, target: str) -> bool:
    """Whether a link at ``path`` may lead out of the folder that the path is relative to."""
    parts = [p for p in target.split("/") if p not in ("", ".")]
    down = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return target.startswith("/") or down > path.count("/") or ".." in parts[down:]


def _tool(name: str, *arguments: str) -> bytes:
    executable = shutil.which(name, path="/usr/bin:/bin")
    if executable is None:
        raise EnvironmentFailed(f"{name} is not installed: apt-get install coreutils findutils")
    done = subprocess.run([executable, *arguments], capture_output=True, stdin=subprocess.DEVNULL, check=False, env={"LC_ALL": "C"})
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").splitlines() or ["no message"]
        raise EnvironmentFailed(f"the built environment could not be put in order ({lines[0]}): look at the space and rights of the cache")
    return done.stdout


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _named(text: str) -> str:
    """A name that is one harmless path component: itself, or its hash."""
    return text if text.isalnum() and text.isascii() and len(text) <= 64 else _hashed(text)
