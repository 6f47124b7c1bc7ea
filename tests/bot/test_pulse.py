"""A worker notices that its queue is not read: by the job table, not by the broker."""

from __future__ import annotations

from bot import store
from bot.database import Database
from bot.planning import REPAIR, WEBHOOKS, JobSpec
from bot.pulse import Pulse, unread_queues

QUEUES = (WEBHOOKS, REPAIR)


def enqueued(database: Database, at: float) -> None:
    with database.writing() as session:
        store.enqueue(session, [JobSpec("failed_run", "a", {})], at)


def reading(since: float) -> Pulse:
    pulse = Pulse(since - 10)
    pulse.ready(REPAIR, since)
    return pulse


def unread(database: Database, pulse: Pulse, now: float) -> list[str]:
    with database.reading() as session:
        return unread_queues(session, pulse, QUEUES, now, 20.0)


def test_a_queue_whose_jobs_wait_while_no_message_comes_is_unread(database: Database) -> None:
    enqueued(database, 100.0)
    assert unread(database, reading(50.0), 130.0) == [REPAIR]


def test_a_worker_that_has_just_begun_to_read_is_given_time(database: Database) -> None:
    enqueued(database, 100.0)
    assert unread(database, reading(125.0), 130.0) == []


def test_a_worker_that_starts_slowly_is_given_more_time_but_not_for_ever(database: Database) -> None:
    enqueued(database, 100.0)
    assert unread(database, Pulse(100.0), 230.0) == []
    assert unread(database, Pulse(100.0), 241.0) == [REPAIR]


def test_a_job_that_was_sent_a_moment_ago_is_no_sign(database: Database) -> None:
    enqueued(database, 120.0)
    assert unread(database, reading(50.0), 130.0) == []


def test_a_worker_that_is_busy_with_a_long_job_reads_its_queue(database: Database) -> None:
    enqueued(database, 100.0)
    pulse = reading(50.0)
    moments = iter([60.0, 130.0])
    with pulse.beating(REPAIR, lambda: next(moments)):
        assert unread(database, pulse, 130.0) == []
    assert unread(database, pulse, 131.0) == []  # the next message is under way
    assert unread(database, pulse, 151.0) == [REPAIR]


def test_a_message_that_came_lately_is_a_pulse(database: Database) -> None:
    enqueued(database, 100.0)
    pulse = reading(50.0)
    with pulse.beating(REPAIR, lambda: 115.0):
        pass
    assert unread(database, pulse, 130.0) == []
