"""No token, key or secret anywhere but in the process that uses it: what the bot wrote, logged, posted and kept is searched for each."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from bot.demo.emulator import script
from bot.demo.stage import SECRET, Stage, stage
from tests.bot.shop import BROKEN, FILES, LOG
from tests.bot.staged import StandIn


def searched(running: Stage, folder: Path, records: list[logging.LogRecord]) -> str:
    """Everything that could be read by somebody else: log lines, database, files, and what GitHub was told."""
    parts = [record.getMessage() for record in records]
    with running.context.database.reading() as session:
        for table in inspect(running.context.database.engine).get_table_names():
            parts += [repr(tuple(row)) for row in session.execute(text(f"SELECT * FROM {table}"))]
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            parts.append(file.read_bytes().decode("latin-1"))
    parts += [repr(entry.body) for entry in running.emulator.log]
    parts += [repr(running.context.settings), repr(running.context)]
    return "\n".join(parts)


@pytest.mark.parametrize("long_tokens", [False, True], ids=["ghs_ and 36 characters", "ghs_, App id and JWT"])
def test_no_secret_is_found_in_anything_that_is_kept_said_or_posted(
    long_tokens: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with stage(tmp_path, extra={"repair": StandIn()}) as running:
        running.emulator.long_tokens = long_tokens
        repository = script.add_repository(running.emulator, "octo/shop", FILES, writers=("maintainer",))
        pull = script.open_pull_request(running.emulator, repository, "cheap", {"shop.py": BROKEN})
        script.fail_run(running.emulator, pull, [script.CiJob("test", LOG)])
        running.settle(60)
        script.comment(running.emulator, pull, "/ledex apply", by="maintainer")
        running.settle(60)
        assert len(script.comments_of(running.emulator, pull)) == 2
        tokens = list(running.emulator.state.tokens)
        found = searched(running, tmp_path / "bot", caplog.records)
        key = running.emulator.state.app.private_key
    assert len(tokens) > 3
    assert all(token.startswith("ghs_") and (token.count(".") == 2) == long_tokens for token in tokens)
    assert [token for token in tokens if token in found] == []
    assert SECRET not in found
    assert all(line not in found for line in key.splitlines()[1:-1])
