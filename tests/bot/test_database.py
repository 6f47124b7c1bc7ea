"""Opening and migrating, on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from bot import BotConfigurationError
from bot.database import Database, migrate, open_database
from bot.models import Model


def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Model.metadata) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    before = inspect(database.engine).get_table_names()
    migrate(database)
    assert inspect(database.engine).get_table_names() == before


def test_eight_that_migrate_an_empty_database_at_once_all_succeed(database_url: str) -> None:
    databases = [open_database(database_url) for _ in range(8)]
    barrier = threading.Barrier(8)

    def start(database: Database) -> None:
        barrier.wait()
        migrate(database)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, databases))
    with databases[0].reading() as session:
        assert session.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
    for database in databases:
        database.engine.dispose()


def test_two_processes_that_migrate_at_once_both_succeed(database_url: str) -> None:
    code = "import sys; from bot.database import migrate, open_database; migrate(open_database(sys.argv[1]))"
    started = [subprocess.Popen([sys.executable, "-c", code, database_url], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60)[1] for process in started] == [b"", b""]
    assert [process.returncode for process in started] == [0, 0]


def test_sqlite_flushes_every_commit_and_lets_readers_go_on(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/new/folder/ledex.sqlite")
    with database.reading() as session:
        pragmas = [session.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]
    assert pragmas == ["wal", 2, 1, 8000]
    database.engine.dispose()


def test_postgres_flushes_every_commit(postgres_url: str) -> None:
    """The test server turns this off to be quick; the bot itself never does."""
    database = open_database(postgres_url)
    with database.reading() as session:
        setting = session.execute(text("SELECT source FROM pg_settings WHERE name = 'synchronous_commit'")).scalar()
    assert setting == "command line"
    database.engine.dispose()


def test_a_block_that_raises_writes_nothing(database: Database) -> None:
    def fail() -> None:
        with database.writing() as session:
            session.execute(text("INSERT INTO locks (name, holder, until) VALUES ('a', 'b', 0)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM locks")).scalar() == 0


@pytest.mark.parametrize("address", ["nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_cannot_be_used_is_one_line(address: str) -> None:
    with pytest.raises(BotConfigurationError) as caught:
        open_database(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["postgresql://user:canary@127.0.0.1:1/none", "sqlite:////proc/none/ledex.sqlite"])
def test_a_database_that_is_not_there_is_one_line_without_the_password(address: str) -> None:
    with pytest.raises(BotConfigurationError) as caught:
        migrate(open_database(address))
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)
