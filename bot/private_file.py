"""Files that hold secrets or people's code: never for a moment readable by others, and whole or not there at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def finished_beside(file: Path, data: bytes) -> Iterator[Path]:
    """A file with these bytes in the same folder, on the disk, for the caller to move or link to ``file``; what is left of it is removed.

    Raises OSError.
    """
    path = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_private(file: Path, data: bytes) -> None:
    """Put these bytes in the place of whatever ``file`` held. Raises OSError."""
    with finished_beside(file, data) as finished:
        finished.replace(file)
