"""Everything that a folder, a database or an archive says, in plain text: what is packed is opened, so that a search finds it."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import inspect, text

from bot.database import Database


def of_folder(folder: Path) -> Iterator[str]:
    """Every file below, archives with their members, git repositories with their objects."""
    for file in sorted(folder.rglob("*")):
        if file.name == ".git" and file.is_dir():
            objects = ["git", "cat-file", "--batch", "--batch-all-objects"]
            yield subprocess.run(objects, cwd=file.parent, capture_output=True, check=True).stdout.decode("latin-1")
        elif file.is_file() and not file.is_symlink():
            yield file.name
            yield from of_bytes(file.read_bytes())


def of_bytes(data: bytes) -> Iterator[str]:
    """The bytes as they are, and what they are an archive of."""
    yield data.decode("latin-1")
    if data.startswith(b"\x1f\x8b"):
        yield from of_bytes(gzip.decompress(data))
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for name in packed.namelist():
                yield from of_bytes(packed.read(name))
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tape:
            for member in tape:
                found = tape.extractfile(member)
                if found is not None:
                    yield from of_bytes(found.read())
    elif data[:1] == b"\x78":
        try:
            yield zlib.decompress(data).decode("latin-1")
        except zlib.error:
            return


def of_database(database: Database) -> Iterator[str]:
    """Every row of every table."""
    with database.reading() as session:
        for table in inspect(database.engine).get_table_names():
            for row in session.execute(text(f"SELECT * FROM {table}")):
                for value in row:
                    yield from of_bytes(bytes(value)) if isinstance(value, bytes | memoryview) else [repr(value)]
