"""Running one job: what becomes of it when its handler returns, raises, waits or loses it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from bot import locks, store
from bot.context import Context, Handler, Postpone, Refused, Result
from bot.models import JobRow
from bot.planning import QUEUES, JobSpec
from bot.settings import load_settings
from bot.store import Claim
from bot.tasks import Sender, Timer, make_celery, run_job, sweep


def with_job(context: Context, handler: Handler | None, **fields: float) -> tuple[Context, int]:
    """A context whose jobs of the kind ``command`` are handled so, and the id of one."""
    settings = load_settings(webhook_secret="s", data_dir=context.settings.data_dir, **fields)
    with context.database.writing() as session:
        [job_id] = store.enqueue(session, [JobSpec("command", "k", installation_id=7)], time.time())
    return replace(context, settings=settings, handlers={"command": handler} if handler else {}), job_id


def row(context: Context, job_id: int) -> JobRow:
    with context.database.reading() as session:
        return session.get_one(JobRow, job_id)


def test_a_job_that_was_handled_is_done_with_its_reason(context: Context) -> None:
    context, job_id = with_job(context, lambda _context, claim: Result(f"for {claim.installation_id}"))
    assert run_job(context, job_id) == []
    assert (row(context, job_id).state, row(context, job_id).reason) == ("done", "for 7")


def test_a_job_is_handled_once_however_often_it_is_sent(context: Context) -> None:
    calls: list[int] = []
    barrier = threading.Barrier(8)

    def handle(_context: Context, claim: Claim) -> None:
        calls.append(claim.id)

    context, job_id = with_job(context, handle)

    def run() -> None:
        barrier.wait()
        run_job(context, job_id)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [job_id]


def test_jobs_that_follow_are_returned_to_be_sent(context: Context) -> None:
    context, job_id = with_job(context, lambda *_: Result(then=[JobSpec("rerun", "next")]))
    [following] = run_job(context, job_id)
    assert (row(context, following).kind, row(context, following).queue, row(context, following).state) == ("rerun", "repair", "queued")


def fail(_context: Context, _claim: Claim) -> Result:
    raise ValueError("ghs_" + "c" * 36)


def test_a_refusal_is_believed_when_it_is_the_same_three_times_in_a_row(context: Context) -> None:
    said = iter(["not found", "forbidden", "forbidden", "not found", "forbidden", "forbidden", "forbidden"])

    def refused(_context: Context, _claim: Claim) -> Result:
        raise Refused(next(said))

    context, job_id = with_job(context, refused, max_attempts=20)
    states = []
    for hours in range(7):
        states.append(row(context, job_id).state)
        now = time.time() + 3600 * hours
        run_job(replace(context, clock=lambda now=now: now), job_id)  # type: ignore[misc]
    assert states == ["queued"] * 7
    assert (row(context, job_id).state, row(context, job_id).reason) == ("dropped", "forbidden")


def test_a_refusal_ends_the_job_at_its_last_attempt(context: Context) -> None:
    def refused(_context: Context, _claim: Claim) -> Result:
        raise Refused("forbidden")

    context, job_id = with_job(context, refused, max_attempts=1)
    run_job(context, job_id)
    assert (row(context, job_id).state, row(context, job_id).reason) == ("dropped", "forbidden")


def test_a_handler_that_raises_is_tried_again_later_and_then_given_up(context: Context) -> None:
    context, job_id = with_job(context, fail, max_attempts=2)
    now = time.time()
    run_job(context, job_id)
    waiting = row(context, job_id)
    assert (waiting.state, waiting.attempts, waiting.reason) == ("queued", 1, "ValueError")
    assert now + 4 < waiting.not_before < now + 10
    run_job(replace(context, clock=lambda: now + 60), job_id)
    assert (row(context, job_id).state, row(context, job_id).reason) == ("failed", "ValueError, 2 times")


def test_a_job_that_was_killed_often_waits_no_longer_than_after_six_doublings(context: Context) -> None:
    context, job_id = with_job(context, fail, max_attempts=40, backoff_seconds=0.5)
    with context.database.writing() as session:
        session.get_one(JobRow, job_id).attempts = 12
    now = time.time()
    run_job(context, job_id)
    assert row(context, job_id).not_before == pytest.approx(now + 32, abs=5)


def test_what_an_exception_says_reaches_neither_the_log_nor_the_database(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    context, job_id = with_job(context, fail)
    with caplog.at_level(logging.DEBUG):
        run_job(context, job_id)
    assert "ValueError" in caplog.text
    assert "ghs_" not in caplog.text + str(row(context, job_id).reason)


def test_a_job_that_waits_uses_up_no_attempt_and_gives_its_locks_back(context: Context) -> None:
    def wait(given: Context, claim: Claim) -> Result:
        given.lock(claim, "pr:1")
        raise Postpone(30, "rate limited")

    context, job_id = with_job(context, wait)
    run_job(context, job_id)
    assert (row(context, job_id).state, row(context, job_id).attempts, row(context, job_id).reason) == ("queued", 0, "rate limited")
    with context.database.writing() as session:
        assert locks.take(session, "pr:1", "another", time.time() + 1, time.time())


def test_a_job_whose_lock_is_taken_waits(context: Context) -> None:
    def handle(given: Context, claim: Claim) -> None:
        given.lock(claim, "pr:1")

    context, job_id = with_job(context, handle)
    with context.database.writing() as session:
        assert locks.take(session, "pr:1", "another", time.time() + 60, time.time())
    run_job(context, job_id)
    assert (row(context, job_id).state, row(context, job_id).reason) == ("queued", "waits for the lock pr:1")


def test_a_job_superseded_while_it_runs_stays_superseded_and_is_told_so(context: Context) -> None:
    told: list[bool] = []

    def handle(given: Context, claim: Claim) -> Result:
        told.append(given.is_current(claim))
        with given.database.writing() as session:
            session.execute(update(JobRow).values(state="superseded"))
        told.append(given.is_current(claim))
        return Result("posted", then=[JobSpec("repair", "next")])

    context, job_id = with_job(context, handle)
    assert run_job(context, job_id) == []
    assert told == [True, False]
    assert row(context, job_id).state == "superseded"


def test_a_job_longer_than_its_lease_is_not_taken_by_another(context: Context) -> None:
    calls: list[int] = []

    def handle(given: Context, claim: Claim) -> None:
        calls.append(claim.id)
        time.sleep(1.6)
        run_job(given, claim.id)
        assert sweep(given) == []

    context, job_id = with_job(context, handle, lease_seconds=1.0)
    run_job(context, job_id)
    assert calls == [job_id]
    assert row(context, job_id).state == "done"


def test_a_kind_that_nothing_handles_is_dropped_and_said_so(context: Context) -> None:
    context, job_id = with_job(context, None)
    run_job(context, job_id)
    assert (row(context, job_id).state, row(context, job_id).reason) == ("dropped", "nothing handles jobs of the kind command")


def test_a_job_of_which_workers_died_too_often_is_not_started_again(context: Context) -> None:
    calls: list[int] = []
    context, job_id = with_job(context, lambda _context, claim: calls.append(claim.id), max_attempts=2)
    with context.database.writing() as session:
        session.execute(update(JobRow).values(attempts=2))
    run_job(context, job_id)
    assert calls == []
    assert row(context, job_id).state == "failed"


def test_a_broker_that_is_not_there_costs_no_job(context: Context) -> None:
    context, job_id = with_job(context, None)
    settings = load_settings(webhook_secret="s", data_dir=context.settings.data_dir, broker_url="redis://127.0.0.1:1/0", resend_seconds=1)
    sender = Sender(context, make_celery(settings))
    sender.start()
    sender.send([job_id])
    sender.stop()
    assert row(context, job_id).state == "queued"
    assert sweep(replace(context, settings=settings, clock=lambda: time.time() + 2)) == [job_id]


def test_the_timer_goes_on_after_something_in_it_failed(context: Context) -> None:
    calls = threading.Semaphore(0)

    def extra(_context: Context) -> None:
        calls.release()
        raise RuntimeError

    settings = load_settings(webhook_secret="s", data_dir=context.settings.data_dir, sweep_seconds=0.01)
    timer = Timer(replace(context, settings=settings), lambda _ids: None, {"extra": (0.01, extra)})
    timer.start()
    assert all(calls.acquire(timeout=10) for _ in range(3))
    timer.stop()


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (lambda conf: conf.task_acks_late, True),
        (lambda conf: conf.task_reject_on_worker_lost, True),
        (lambda conf: conf.worker_prefetch_multiplier, 1),
        (lambda conf: conf.accept_content, ["json"]),
        (lambda conf: conf.broker_transport_options["unacked_restore_interval"], 2),
        (lambda conf: conf.broker_transport_options["unacked_restore_throttle"], 1),
        (lambda conf: conf.broker_transport_options["visibility_timeout"] >= 6 * 3600, True),
    ],
)
def test_with_redis_a_killed_workers_message_comes_back(option: Callable[[object], object], expected: object) -> None:
    assert option(make_celery(load_settings(broker_url="redis://localhost/0")).conf) == expected


def test_there_are_three_queues() -> None:
    assert QUEUES == ("webhooks", "repair", "feedback")
