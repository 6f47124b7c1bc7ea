"""Deliveries, jobs, locks and heads, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from bot import locks, pulls, store
from bot.database import Database
from bot.events import PullRequestChange
from bot.models import AuditRow, DeliveryRow, JobRow, PullHeadRow, RunRow
from bot.payloads import parse
from bot.planning import JobSpec
from bot.store import Claim, Delivery
from tests.bot import payloads

NOW = 1_800_000_000.0
REPOSITORY = 186853002


def job(key: str = "k", **fields: Any) -> JobSpec:
    given: dict[str, Any] = {"kind": "failed_run", "key": key, "repository_id": REPOSITORY, "head_sha": "a" * 40}
    return JobSpec(**given | fields)


def made(database: Database, *specs: JobSpec) -> list[int]:
    with database.writing() as session:
        return store.enqueue(session, specs, NOW)


def claimed(database: Database, job_id: int, now: float = NOW, lease: float = 60.0) -> Claim | None:
    with database.writing() as session:
        return store.claim(session, job_id, now, lease)


def taken(database: Database, job_id: int, now: float = NOW) -> Claim:
    claim = claimed(database, job_id, now)
    assert claim is not None
    return claim


def row(database: Database, job_id: int) -> JobRow:
    with database.reading() as session:
        return session.get_one(JobRow, job_id)


def swept(database: Database, now: float, **changes: float) -> list[int]:
    given = {"max_attempts": 3, "job_days": 3.0, "resend_seconds": 100.0} | changes
    with database.writing() as session:
        return store.sweep(session, now, int(given["max_attempts"]), given["job_days"], given["resend_seconds"])


# Deliveries


def test_of_a_batch_with_one_guid_twice_the_first_is_recorded(database: Database) -> None:
    batch = [Delivery("g", "a", None, None, "accepted", jobs=(job("1"),)), Delivery("g", "b", None, None, "accepted", jobs=(job("2"),))]
    with database.writing() as session:
        ids, new = store.record_deliveries(session, batch, NOW)
    assert (len(ids), new) == (1, {"g"})
    with database.reading() as session:
        assert session.scalars(select(DeliveryRow.event)).all() == ["a"]
        assert session.scalars(select(JobRow.key)).all() == ["1"]


def test_eight_that_record_the_same_deliveries_at_once_make_each_job_once(database: Database) -> None:
    barrier = threading.Barrier(8)

    def record(number: int) -> list[int]:
        order = sorted(range(20), key=lambda n: (n * (number + 3)) % 23)
        batch = [Delivery(f"g{n}", "e", None, None, "accepted", jobs=(job(f"k{n}"),)) for n in order]
        barrier.wait()
        with database.writing() as session:
            return store.record_deliveries(session, batch, NOW)[0]

    with ThreadPoolExecutor(8) as pool:
        ids = [job_id for made_here in pool.map(record, range(8)) for job_id in made_here]
    assert len(ids) == len(set(ids)) == 20


def test_recorded_deliveries_are_known(database: Database) -> None:
    with database.writing() as session:
        store.record_deliveries(session, [Delivery("a", "e", None, None, "dropped")], NOW)
        assert store.known_deliveries(session, ["a", "b"]) == {"a"}


def test_bodies_are_forgotten_after_their_days_and_the_delivery_stays_known(database: Database) -> None:
    with database.writing() as session:
        store.record_deliveries(session, [Delivery("old", "e", None, None, "accepted", body=b"x")], NOW - 8 * store.DAY)
        store.record_deliveries(session, [Delivery("new", "e", None, None, "accepted", body=b"x")], NOW)
        assert store.forget_bodies(session, NOW, 7.0) == 1
    with database.reading() as session:
        assert {r.guid: r.body for r in session.scalars(select(DeliveryRow))} == {"old": None, "new": b"x"}


# Claims


def test_of_twenty_who_claim_a_job_at_once_one_gets_it(database: Database) -> None:
    [job_id] = made(database, job())
    barrier = threading.Barrier(20)

    def claim(_: int) -> Claim | None:
        barrier.wait()
        return claimed(database, job_id)

    with ThreadPoolExecutor(20) as pool:
        assert sum(claim is not None for claim in pool.map(claim, range(20))) == 1


def test_a_claim_knows_everything_of_its_job(database: Database) -> None:
    [job_id] = made(database, job(payload={"run_id": 5}, installation_id=7, pr_number=3, repository="o/r"))
    claim = taken(database, job_id)
    assert (claim.kind, claim.payload, claim.installation_id) == ("failed_run", {"run_id": 5}, 7)
    assert (claim.pr_number, claim.repository) == (3, "o/r")
    assert (claim.attempt, claim.repository_id, claim.head_sha, claim.created_at) == (1, REPOSITORY, "a" * 40, NOW)


def test_a_job_is_not_claimed_before_its_time(database: Database) -> None:
    assert made(database, job(not_before=NOW + 10)) == []
    [job_id] = swept(database, NOW + 11)
    assert claimed(database, job_id, NOW + 9) is None
    assert claimed(database, job_id, NOW + 11) is not None


def test_a_running_job_is_claimed_again_only_after_its_lease(database: Database) -> None:
    [job_id] = made(database, job())
    first = taken(database, job_id)
    assert claimed(database, job_id, NOW + 59) is None
    second = taken(database, job_id, NOW + 61)
    assert second.attempt == 2
    with database.writing() as session:
        assert not store.is_current(session, first)
        assert not store.renew(session, first, NOW + 61, 60)
        assert store.finish(session, first, NOW + 62, then=[job("follow")]) == []
    assert row(database, job_id).state == "running"


def test_a_renewed_lease_holds_longer(database: Database) -> None:
    [job_id] = made(database, job())
    claim = taken(database, job_id)
    with database.writing() as session:
        assert store.renew(session, claim, NOW + 50, 60)
    assert claimed(database, job_id, NOW + 100) is None


def test_jobs_that_follow_are_made_when_a_job_ends(database: Database) -> None:
    [job_id] = made(database, job())
    with database.writing() as session:
        following = store.finish(session, taken_in(session, job_id), NOW, "done", "all well", [job("next")])
    assert [row(database, i).key for i in following] == ["next"]
    assert (row(database, job_id).state, row(database, job_id).reason) == ("done", "all well")


def taken_in(session: Any, job_id: int) -> Claim:
    claim = store.claim(session, job_id, NOW, 60)
    assert claim is not None
    return claim


@pytest.mark.parametrize(("counts", "attempt"), [(True, 2), (False, 1)])
def test_a_postponed_job_comes_back_and_may_keep_its_attempt(database: Database, counts: bool, attempt: int) -> None:
    [job_id] = made(database, job())
    claim = taken(database, job_id)
    with database.writing() as session:
        store.postpone(session, claim, NOW, 30, "limit reached", counts)
    assert swept(database, NOW + 29) == []
    assert swept(database, NOW + 30) == [job_id]
    assert taken(database, job_id, NOW + 31).attempt == attempt


# Sweeps


def test_a_job_whose_worker_died_is_sent_again_until_its_attempts_are_used_up(database: Database) -> None:
    [job_id] = made(database, job())
    for number in range(3):
        taken(database, job_id, NOW + number * 100)
        expected = [job_id] if number < 2 else []
        assert swept(database, NOW + number * 100 + 61) == expected
    assert (row(database, job_id).state, row(database, job_id).reason) == ("failed", "its worker died 3 times")


def test_a_queued_job_is_sent_again_only_when_it_was_not_sent_lately(database: Database) -> None:
    [job_id] = made(database, job())
    assert swept(database, NOW + 99) == []
    assert swept(database, NOW + 100) == [job_id]
    assert swept(database, NOW + 199) == []
    assert swept(database, NOW + 200) == [job_id]


def test_a_job_that_waited_too_long_is_dropped(database: Database) -> None:
    [job_id] = made(database, job())
    assert swept(database, NOW + 3 * store.DAY + 1) == []
    assert row(database, job_id).state == "dropped"


@pytest.mark.parametrize(("is_alone", "state"), [(True, "queued"), (False, "running")])
def test_a_process_that_starts_takes_over_running_jobs_only_if_it_is_alone(database: Database, is_alone: bool, state: str) -> None:
    running, queued = made(database, job("1"), job("2"))
    taken(database, running)
    with database.writing() as session:
        store.start_over(session, NOW, is_alone)
    assert row(database, running).state == state
    assert swept(database, NOW + 1) == ([running, queued] if is_alone else [queued])


# Locks


def test_a_lock_is_had_by_one_job_until_that_ends(database: Database) -> None:
    first, second = (taken(database, i) for i in made(database, job("1"), job("2")))

    def take(claim: Claim, now: float = NOW) -> bool:
        with database.writing() as session:
            return locks.take(session, "pr:1", claim.token, now + 60, now)

    assert take(first)
    assert take(first), "whoever has it may take it again"
    assert not take(second)
    with database.writing() as session:
        store.finish(session, first, NOW)
    assert take(second)


def test_a_lock_whose_holder_died_is_free_after_its_time_and_a_renewed_one_is_not(database: Database) -> None:
    first, second = (taken(database, i) for i in made(database, job("1"), job("2")))
    with database.writing() as session:
        assert locks.take(session, "pr:1", first.token, NOW + 60, NOW)
        assert store.renew(session, first, NOW + 50, 60)
        assert not locks.take(session, "pr:1", second.token, NOW + 160, NOW + 100)
        assert locks.take(session, "pr:1", second.token, NOW + 200, NOW + 111)


def test_of_ten_processes_one_has_the_turn(database: Database) -> None:
    barrier = threading.Barrier(10)

    def take(_: int) -> bool:
        barrier.wait()
        with database.writing() as session:
            return locks.take_turn(session, "timer:x", 60, NOW)

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(take, range(10))) == 1
    with database.writing() as session:
        assert not locks.take_turn(session, "timer:x", 60, NOW + 59)
        assert locks.take_turn(session, "timer:x", 60, NOW + 60)


# Heads


def pull(
    number: int = 2, sha: str = "a" * 40, at: str = "2026-01-01T00:00:00Z", state: str = "open", before: str | None = None
) -> PullRequestChange:
    payload = payloads.pull_request(
        "synchronize", pull_request__number=number, pull_request__head__sha=sha, pull_request__updated_at=at, pull_request__state=state
    )
    event = parse("pull_request", payload | {"before": before})
    assert isinstance(event, PullRequestChange)
    return event


def noted(database: Database, *changes: PullRequestChange) -> None:
    for change in changes:
        with database.writing() as session:
            pulls.note_pull(session, change, NOW)


def heads(database: Database, sha: str) -> list[int]:
    with database.reading() as session:
        return pulls.open_pulls_with_head(session, REPOSITORY, sha)


def test_the_pull_request_of_a_head_is_known_until_another_is_pushed_or_it_is_closed(database: Database) -> None:
    noted(database, pull(sha="a" * 40), pull(number=3, sha="a" * 40))
    assert heads(database, "a" * 40) == [2, 3]
    noted(database, pull(sha="b" * 40, at="2026-01-01T00:00:01Z"), pull(number=3, state="closed", at="2026-01-01T00:00:01Z"))
    assert (heads(database, "a" * 40), heads(database, "b" * 40)) == ([], [2])


def test_a_delivery_that_comes_late_does_not_bring_an_old_head_back(database: Database) -> None:
    noted(database, pull(sha="b" * 40, at="2026-01-02T00:00:00Z"), pull(sha="a" * 40, at="2026-01-01T00:00:00Z"))
    assert (heads(database, "a" * 40), heads(database, "b" * 40)) == ([], [2])


def test_of_two_pushes_in_one_second_the_later_head_stays_whichever_comes_first(database: Database) -> None:
    first, second = pull(sha="b" * 40, before="a" * 40), pull(sha="c" * 40, before="b" * 40)
    for order in ((first, second), (second, first)):
        noted(database, pull(sha="a" * 40, at="2025-01-01T00:00:00Z"))
        [job_id] = made(database, job(f"of the last head, {order[0].head_sha}", head_sha="c" * 40))
        noted(database, *order)
        assert heads(database, "c" * 40) == [2]
        assert row(database, job_id).state == "queued"
        with database.writing() as session:
            session.execute(delete(PullHeadRow))


def states(database: Database, ids: list[int]) -> list[str]:
    return [row(database, i).state for i in ids]


def test_a_new_commit_ends_the_queued_and_the_running_jobs_of_the_old_one(database: Database) -> None:
    noted(database, pull(sha="a" * 40))
    ids = made(database, job("1"), job("2", pr_number=2), job("3", pr_number=2, head_sha="b" * 40), job("4", pr_number=5),
               job("5", kind="command", pr_number=2, head_sha=None), job("6", repository_id=1))  # fmt: skip
    running = taken(database, ids[1])
    noted(database, pull(sha="b" * 40, at="2026-01-02T00:00:00Z"))
    assert states(database, ids) == ["superseded", "superseded", "queued", "queued", "queued", "queued"]
    with database.reading() as session:
        assert not store.is_current(session, running)


def test_a_job_is_kept_while_another_open_pull_request_has_its_head(database: Database) -> None:
    noted(database, pull(sha="a" * 40), pull(number=3, sha="a" * 40))
    ids = made(database, job("1"))
    noted(database, pull(sha="b" * 40, at="2026-01-02T00:00:00Z"))
    assert states(database, ids) == ["queued"]
    noted(database, pull(number=3, sha="c" * 40, at="2026-01-02T00:00:00Z"))
    assert states(database, ids) == ["superseded"]


def test_closing_a_pull_request_drops_its_jobs(database: Database) -> None:
    noted(database, pull(sha="a" * 40))
    ids = made(database, job("1"), job("2", pr_number=2))
    noted(database, pull(sha="a" * 40, at="2026-01-02T00:00:00Z", state="closed"))
    assert states(database, ids) == ["dropped", "dropped"]
    assert row(database, ids[0]).reason == "the pull request was closed"


def test_a_job_that_learned_its_pull_request_is_ended_with_it(database: Database) -> None:
    [job_id] = made(database, job(head_sha="f" * 40))
    with database.writing() as session:
        assert store.assign_pull(session, taken_in(session, job_id), 2, NOW)
    noted(database, pull(sha="b" * 40))
    assert states(database, [job_id]) == ["superseded"]


# Counting


def test_attempts_are_counted_by_failure_and_by_head(database: Database) -> None:
    def run(**fields: Any) -> RunRow:
        given = {"repository_id": 1, "repository": "o/r", "installation_id": 7, "pr_number": 2, "head_sha": "a", "ci_run_id": 1,
                 "ci_attempt": 1, "workflow": "CI", "signature": "s", "started_at": NOW, "evidence": {}, "timings": {}}  # fmt: skip
        return RunRow(**given | fields)

    with database.writing() as session:
        session.add_all([run(), run(head_sha="b"), run(signature="other"), run(pr_number=3), run(repository_id=2)])
    with database.reading() as session:
        assert pulls.count_runs(session, 1, 2, signature="s") == 2
        assert pulls.count_runs(session, 1, 2, head_sha="a") == 2
        assert pulls.count_runs(session, 1, 2) == 3


def test_the_audit_names_the_job(database: Database) -> None:
    [job_id] = made(database, job(installation_id=7))
    with database.writing() as session:
        store.audit(session, "token", NOW, {"permissions": {"checks": "write"}}, taken_in(session, job_id), actor_id=3)
    with database.reading() as session:
        [entry] = session.scalars(select(AuditRow)).all()
    assert (entry.job_id, entry.installation_id, entry.actor_id) == (job_id, 7, 3)


def test_a_transaction_that_fails_midway_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.writing() as session:
            store.enqueue(session, [job()], NOW)
            session.execute(update(JobRow).values(state=None))

    with pytest.raises(IntegrityError):
        fail()
    with database.reading() as session:
        assert store.count_jobs(session) == {}
