"""Group commit: what is written together, and that one delivery's trouble is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select

from bot.database import Database
from bot.models import DeliveryRow
from bot.planning import JobSpec
from bot.recorder import Recorder
from bot.store import Delivery


def delivery(guid: str, *jobs: JobSpec) -> Delivery:
    return Delivery(guid, "workflow_run", "completed", 7, "accepted", jobs=jobs)


@contextmanager
def recording(database: Database, sent: list[int]) -> Iterator[Recorder]:
    recorder = Recorder(database, sent.extend)
    recorder.start()
    yield recorder
    recorder.stop()


def record_all(recorder: Recorder, deliveries: list[Delivery]) -> list[bool | BaseException]:
    async def gather() -> list[bool | BaseException]:
        return await asyncio.gather(*(recorder.record(d) for d in deliveries), return_exceptions=True)

    return asyncio.run(gather())


def test_deliveries_that_arrive_together_share_a_few_commits(database: Database) -> None:
    commits = 0

    def count(_: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(database.engine, "commit", count)
    with recording(database, []) as recorder:
        assert record_all(recorder, [delivery(f"g{n}") for n in range(100)]) == [True] * 100
    assert commits <= 20


def test_one_that_the_database_cannot_take_costs_the_others_nothing(database: Database) -> None:
    sent: list[int] = []
    good = [delivery(f"g{n}", JobSpec("command", f"k{n}")) for n in range(9)]
    bad = delivery("bad", JobSpec("command", "bad", {"no JSON": object()}))
    with recording(database, sent) as recorder:
        answers = record_all(recorder, [*good[:4], bad, *good[4:]])
    assert isinstance(answers.pop(4), Exception)
    assert answers == [True] * 9
    assert len(sent) == 9
    with database.reading() as session:
        assert "bad" not in session.scalars(select(DeliveryRow.guid)).all()


def test_ids_of_jobs_are_sent_only_after_their_commit(database: Database) -> None:
    seen: list[bool] = []

    def send(ids: object) -> None:
        with database.reading() as session:
            seen.append(session.scalar(select(DeliveryRow.id)) is not None)

    recorder = Recorder(database, send)
    recorder.start()
    record_all(recorder, [delivery("g", JobSpec("command", "k"))])
    recorder.stop()
    assert seen == [True]


def test_stopping_writes_what_waits(database: Database) -> None:
    recorder = Recorder(database, lambda _ids: None)

    async def begin() -> list[bool]:
        waiting = [asyncio.ensure_future(recorder.record(delivery(f"g{n}"))) for n in range(30)]
        await asyncio.sleep(0)
        recorder.start()
        await asyncio.to_thread(recorder.stop)
        return await asyncio.gather(*waiting)

    assert asyncio.run(begin()) == [True] * 30


@pytest.mark.parametrize("again", [1, 5])
def test_a_guid_that_was_recorded_before_is_not_new(database: Database, again: int) -> None:
    with recording(database, []) as recorder:
        assert record_all(recorder, [delivery("g")]) == [True]
        assert record_all(recorder, [delivery("g")] * again) == [False] * again
