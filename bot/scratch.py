"""A folder for everything temporary of one process, and the end of those that killed processes left: a repair's trees are large."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
PREFIX = "ledex-process-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Everything that this process and its children put into the temporary folder goes below the folder that this yields, and with it.

    The folder is locked as long as its process lives, so that what processes left that were killed can be told: a thread removes it.
    """
    above, named = tempfile.gettempdir(), os.environ.get("TMPDIR")
    folder, lock = _own(Path(above))
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    threading.Thread(target=remove_left, args=(Path(above),), name="scratch", daemon=True).start()
    try:
        yield folder
    finally:
        tempfile.tempdir = above
        os.environ.pop("TMPDIR")
        if named is not None:
            os.environ["TMPDIR"] = named
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_left(above: Path) -> int:
    """Remove the folders of processes of this account that have ended; returns how many."""
    return sum(_removed(folder) for folder in above.glob(f"{PREFIX}*"))


def _own(above: Path) -> tuple[Path, int]:
    """A new folder, locked. Between the two somebody who cleans up may have taken it for one that was left."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above))
        folder.chmod(0o711)  # the sandbox's accounts pass through it
        lock = _locked(folder)
        if lock is not None:
            return folder, lock


def _locked(folder: Path) -> int | None:
    """The lock of a folder of ours, as an open file; None while another process has it or where it is not ours, or gone."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held, named = os.fstat(opened), os.lstat(folder)
        if held.st_uid == os.geteuid() and (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino):
            return opened
    os.close(opened)
    return None


def _removed(folder: Path) -> bool:
    lock = _locked(folder)
    if lock is None:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
    if folder.exists():
        log.warning("%s was left by a process that has ended and cannot be removed: remove it by hand", folder)
    return not folder.exists()
