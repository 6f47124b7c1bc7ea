"""What a storm leaves to be read says everything about the pull request that has a fault, and nothing of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import store
from bot.database import migrate, open_database
from bot.demo.emulator import script, server
from bot.demo.emulator.emulator import Emulator, LogEntry
from bot.planning import JobSpec
from tests.bot.shop import BROKEN, FILES
from tests.faults import evidence
from tests.faults.promises import Watched


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with server.serve(tmp_path / "github") as running:
        yield running


def opened(emulator: Emulator, name: str) -> Watched:
    repository = script.add_repository(emulator, name, FILES)
    return Watched(script.open_pull_request(emulator, repository, "cheap", {"shop.py": BROKEN}))


def asked(emulator: Emulator, method: str, path: str, status: int, fault: str | None = None) -> None:
    emulator.log.append(LogEntry(0.0, method, path, "ours", status, None, {"long": "x" * 5000}, fault, fault is None))


def test_a_fault_is_explained_by_the_rows_comments_and_requests_of_its_pull_request(emulator: Emulator, tmp_path: Path) -> None:
    one, other = opened(emulator, "octo/shop-1"), opened(emulator, "octo/shop-11")
    for watched in (one, other):
        script.comment(emulator, watched.pull, f"/ledex apply {watched.where}")
        asked(emulator, "GET", f"{watched.api}/pulls/1", 200)
        asked(emulator, "GET", f"{watched.api}/git/ref/heads/cheap", 403, "403")
        asked(emulator, "POST", f"{watched.api}/git/trees", 201)
    database = open_database(address := f"sqlite:///{tmp_path}/ledex.sqlite")
    migrate(database)
    with database.writing() as session:
        specs = [JobSpec("command", f"k{w.where}", {}, n, w.pull.repository.full_name, 7, 1) for n, w in enumerate((one, other))]
        job, _ = store.enqueue(session, specs, time.time())
        claim = store.claim(session, job, time.time(), 60)
        assert claim is not None
        store.finish(session, claim, time.time(), "dropped", "no fix was posted")
    evidence.keep(emulator, address, tmp_path / "evidence")

    fault = f"{one.where}: 0 commits of ours instead of 1"
    lines = list(evidence.explained([one, other], [fault], tmp_path / "evidence"))
    assert lines[0] == fault
    assert [line.split()[0] for line in lines[2:]] == ["jobs:", "comment:", "request:", "request:"]
    assert "state=dropped attempts=1" in lines[2]
    assert "reason=no fix was posted" in lines[2]
    assert "/ledex apply octo/shop-1#1" in lines[3]
    assert "status=403 fault=403" in lines[4]
    assert "POST path=/repos/octo/shop-1/git/trees" in lines[5]
    assert all("shop-11" not in line and len(line) < 2000 for line in lines)


def test_without_a_fault_nothing_is_explained(emulator: Emulator, tmp_path: Path) -> None:
    assert list(evidence.explained([opened(emulator, "octo/shop")], [], tmp_path)) == []
