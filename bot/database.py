"""The database: SQLite in a file, or PostgreSQL. Opened here, brought up to date here, and nothing else of the house opens it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session

from bot import BotConfigurationError
from bot.models import Model

BUSY_MILLISECONDS = 8000
"""Below the ten seconds after which GitHub gives a delivery up."""
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6C65646578
_WRITES = "ledex_writes"


@dataclass(frozen=True)
class Database:
    """An opened database. A transaction that will write says so at its start: SQLite cannot upgrade a reader without risk of a deadlock."""

    engine: Engine

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that is not committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed at the end, and rolled back when the block raises."""
        with Session(self.engine.execution_options(**{_WRITES: True}), expire_on_commit=False) as session, session.begin():
            yield session


def open_database(address: str) -> Database:
    """Connect (lazily) to ``sqlite:///FILE`` or ``postgresql://...``. Raises BotConfigurationError; the text holds no password."""
    try:
        url = make_url(address)
    except ArgumentError:
        raise BotConfigurationError("LEDEX_BOT_DATABASE_URL must look like sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    if url.get_backend_name() == "sqlite":
        return Database(_open_sqlite(url))
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        return Database(create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20, hide_parameters=True))
    raise BotConfigurationError(f"a database of the kind {url.get_backend_name()!r} is not supported: use sqlite:///FILE or postgresql://...")


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise BotConfigurationError("LEDEX_BOT_DATABASE_URL needs a file: a database in memory would forget deliveries")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BotConfigurationError(f"the folder of {url.database} cannot be made: {error.strerror}") from None
    options = {"timeout": BUSY_MILLISECONDS / 1000, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, pool_size=10, max_overflow=20, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN comes too late and leaves DDL outside the transaction; ``_begin_sqlite`` sends it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # an acknowledged delivery must survive the power going out
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """The busy time-out does not hold for this switch, and two processes that start at once collide in it."""
    for attempt in range(100):
        try:
            if "wal" in cursor.execute("PRAGMA journal_mode").fetchone() or "wal" in cursor.execute("PRAGMA journal_mode = WAL").fetchone():
                return
        except sqlite3.OperationalError:
            if attempt == 99:
                raise
        time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


def migrate(database: Database) -> None:
    """Bring the tables up to date in one transaction. Safe when several processes start at once. Raises BotConfigurationError."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with database.engine.execution_options(**{_WRITES: True}).begin() as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                connection.execute(text("SET LOCAL lock_timeout = '30s'"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise BotConfigurationError(f"the database {_shown(database)} cannot be used: {_first_line(error)}") from None


def insert_into(session: Session, table: type[Model]) -> Any:
    """An INSERT that knows ON CONFLICT; both databases have it, and SQLAlchemy spells it once for each."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _shown(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=True)


def _first_line(error: OperationalError) -> str:
    return str(error.orig).strip().split("\n", 1)[0]
