"""A database of each kind, the servers that tests may ask for, and the bot at work on the emulated GitHub."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from bot.context import Context
from bot.database import Database, migrate, open_database
from bot.demo.emulator import script
from bot.demo.stage import Stage, stage
from bot.settings import BotSettings
from tests import services
from tests.bot.shop import FILES, FIXED
from tests.bot.staged import Case, StandIn

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[services.Service]:
    try:
        with services.postgres() as service:
            yield service
    except services.NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture
def postgres_url(postgres_server: services.Service) -> Iterator[str]:
    """The address of a new, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    server = open_database(postgres_server.url).engine.execution_options(isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgres_server.url).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def redis_server() -> Iterator[services.Service]:
    try:
        with services.redis() as service:
            yield service
    except services.NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database, of each kind in turn."""
    return f"sqlite:///{tmp_path}/ledex.sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Up to date, of each kind in turn."""
    opened = open_database(database_url)
    migrate(opened)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """On SQLite, with a webhook secret and nothing else."""
    settings = BotSettings(webhook_secret="a secret", data_dir=tmp_path)  # type: ignore[arg-type]
    opened = open_database(settings.database)
    migrate(opened)
    yield Context(settings, opened)
    opened.engine.dispose()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, StandIn]]:
    """The bot beside the emulated GitHub; starting them takes longer than most tests do, so a module's tests share them."""
    repair = StandIn()
    with stage(tmp_path_factory.mktemp("stage"), extra={"repair": repair}, backoff_seconds=1.0) as running:
        yield running, repair


@pytest.fixture
def case(whole: tuple[Stage, StandIn], request: pytest.FixtureRequest) -> Iterator[Case]:
    """A repository of its own for each test, with the files it is parametrized with; whatever passed must fit GitHub's description."""
    running, repair = whole
    repair.outcome, repair.before = FIXED, lambda: None
    repair.asked.clear()
    files = {**FILES, **getattr(request, "param", {})}
    repository = script.add_repository(running.emulator, f"octo/shop-{next(NUMBERS)}", files, writers=("maintainer",))
    yield Case(running, repair, repository)
    assert running.emulator.violations == []
