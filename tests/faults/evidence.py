"""What a storm leaves behind to be read afterwards: the bot's tables and the emulated GitHub's requests and comments, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, select

from bot.database import open_database
from bot.demo.emulator.emulator import Emulator, LogEntry
from tests.faults.promises import Watched

TABLES = ("jobs", "runs", "fixes", "audit", "deliveries")
LONGEST = 300
"""Characters of one value that are printed; the files have all of it."""
Row = Mapping[str, Any]


def keep(emulator: Emulator, address: str, folder: Path) -> None:
    """Write ``TABLE.jsonl`` for each of ``TABLES``, ``requests.jsonl`` (in order, without the answers to reads) and ``comments.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    database = open_database(address)
    try:
        known = MetaData()
        known.reflect(database.engine, only=TABLES)
        for name in TABLES:
            table = known.tables[name]
            with database.engine.connect() as connection:
                rows = connection.execute(select(table).order_by(table.c.id)).mappings()
                _write(folder / f"{name}.jsonl", map(dict, rows))
    finally:
        database.engine.dispose()
    _write(folder / "requests.jsonl", (_request(entry) for entry in list(emulator.log)))
    comments = sorted(emulator.state.comments.values(), key=lambda c: c.id)
    _write(folder / "comments.jsonl", (
        {"id": c.id, "repository": c.pull.repository.full_name, "number": c.pull.number, "author": c.author.login, "created": c.created,
         "updated": c.updated, "body": c.body} for c in comments))  # fmt: skip


def explained(watched: Sequence[Watched], faults: Sequence[str], folder: Path) -> Iterator[str]:
    """The faults, then of each pull request with one everything that is known."""
    yield from faults
    for one in watched:
        if any(fault.startswith((f"{one.where} ", f"{one.where}:", f"{one.api}/")) for fault in faults):
            yield f"everything about {one.where}, whose last failed head is {one.failed}:"
            yield from (f"  {line}" for line in told(folder, one.where))


def told(folder: Path, where: str) -> Iterator[str]:
    """What became of the pull request ``where`` (``owner/name#number``) as lines for people: its rows in the order of time, its comments,
    and the requests to its repository that wrote something or failed."""
    repository, _, number = where.partition("#")
    for name in ("jobs", "runs", "fixes"):
        for row in _read(folder / f"{name}.jsonl"):
            if row["repository"] == repository and row["pr_number"] in (None, int(number)):
                yield _line(name, {k: v for k, v in row.items() if v is not None and k not in ("repository", "repository_id")})
    for row in _read(folder / "comments.jsonl"):
        if (row["repository"], row["number"]) == (repository, int(number)):
            yield _line("comment", row)
    for row in _read(folder / "requests.jsonl"):
        if f"/{repository}/" in f"{row['path']}/".replace(".git/", "/") and (row["method"] != "GET" or row["fault"] is not None):
            yield _line("request", {k: v for k, v in row.items() if v is not None})


def _request(entry: LogEntry) -> Row:
    return {**{k: v for k, v in vars(entry).items() if k != "answer"}, "answer": None if entry.method == "GET" else entry.answer}


def _write(file: Path, rows: Iterable[Row]) -> None:
    with file.open("w") as lines:
        for row in rows:
            lines.write(json.dumps(dict(row), default=_plain) + "\n")


def _plain(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _read(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        for line in lines:
            yield json.loads(line)


def _line(name: str, row: Row) -> str:
    shown = " ".join(f"{key}={_short(value)}" for key, value in row.items())
    return f"{name}: {shown}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.replace("\n", "\\n")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
