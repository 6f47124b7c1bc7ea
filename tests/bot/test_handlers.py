"""Failed runs, commands and buttons against the emulated GitHub; only the repair itself is a stand-in, so that each case takes moments."""

from __future__ import annotations

import os
import threading
import time

import pytest
from sqlalchemy import select, update

from bot.demo.emulator import script
from bot.demo.emulator.faults import Fault
from bot.demo.emulator.state import Pull
from bot.models import FeedbackRow, FixRow, JobRow, RunRow
from inference.outcome import Outcome
from tests.bot.shop import BROKEN, LOG
from tests.bot.staged import Case

# A failed run


def test_six_jobs_that_fail_alike_are_one_repair_and_one_comment(case: Case) -> None:
    pull = case.pull()
    case.fail(pull, *[LOG] * 6)
    [comment] = case.comments(pull)
    assert "**Fix ready** · verified V4" in comment.body
    assert "6 jobs failed alike" in comment.body
    assert len(case.repair.asked) == 1


def test_the_repair_gets_the_head_and_the_base_and_no_work_tree(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    [request] = case.repair.asked
    assert request.head == pull.head_sha
    assert request.base is not None
    assert not (request.path / "shop.py").exists()


def test_a_fork_gets_a_line_to_apply_the_patch_and_no_button_to_commit(case: Case) -> None:
    pull = case.pull(from_fork="stranger")
    case.fail(pull)
    [comment] = case.comments(pull)
    assert "git apply" in comment.body
    assert "/ledex apply" not in comment.body
    assert case.repair.asked[0].repository.endswith("#fork")


@pytest.mark.parametrize(("status", "shown"), [("flaky", "**Flaky**"), ("pre_existing", "**Fails on the base too**")])
def test_a_failure_that_the_pull_request_did_not_cause_is_said(case: Case, status: str, shown: str) -> None:
    case.repair.outcome = Outcome(status, "test_cheapest passes in 1 of 3 runs")  # type: ignore[arg-type]
    pull = case.pull()
    case.fail(pull)
    [comment] = case.comments(pull)
    assert shown in comment.body


@pytest.mark.parametrize("status", ["unfixed", "passing", "broken"])
def test_what_helps_nobody_is_said_in_the_check_run_alone(case: Case, status: str) -> None:
    case.repair.outcome = Outcome(status, "no edit of 900 tried makes the failing tests pass")  # type: ignore[arg-type]
    pull = case.pull()
    case.fail(pull)
    assert case.comments(pull) == []
    [check] = script.check_runs_of(case.stage.emulator, pull)
    assert (check.status, check.conclusion) == ("completed", "neutral")


def test_an_infrastructure_failure_is_not_repaired(case: Case) -> None:
    pull = case.pull()
    case.fail(pull, "##[error]No space left on device\n")
    assert case.repair.asked == []
    assert case.comments(pull) == []
    [check] = script.check_runs_of(case.stage.emulator, pull)
    assert check.conclusion == "neutral"


def test_a_draft_is_left_alone(case: Case) -> None:
    case.fail(case.pull(draft=True))
    assert case.repair.asked == []
    assert case.reason("failed_run") == "the pull request is a draft"


@pytest.mark.parametrize("case", [{".github/ledex.toml": 'mode = "off"\n'}], indirect=True)
def test_a_repository_that_switched_it_off_is_left_alone(case: Case) -> None:
    case.fail(case.pull())
    assert case.repair.asked == []
    assert case.reason("failed_run") == "the policy's mode is off"


@pytest.mark.parametrize("case", [{".github/ledex.toml": 'mode = "explain"\n'}], indirect=True)
def test_a_repository_that_wants_explanations_only_sees_no_patch(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    [check] = script.check_runs_of(case.stage.emulator, pull)
    assert check.conclusion == "neutral"
    assert "return min(prices)" not in str(check)


def test_a_pull_request_may_not_change_the_policy_that_it_is_judged_by(case: Case) -> None:
    pull = script.open_pull_request(
        case.stage.emulator, case.repository, "cheap", {"shop.py": BROKEN, ".github/ledex.toml": "[limits]\nmax_files = 99\n"})  # fmt: skip
    case.fail(pull)
    assert case.repair.asked[0].policy.limits.max_files == 3


def test_a_commit_pushed_while_the_repair_runs_supersedes_it(case: Case) -> None:
    pull = case.pull()
    done = threading.Event()

    def push() -> None:
        if not done.is_set():
            done.set()
            script.push(case.stage.emulator, case.repository, "cheap", {"shop.py": BROKEN + "# more\n"})
            case.stage.emulator.settle()

    case.repair.before = push
    case.fail(pull)
    assert case.comments(pull) == []
    assert done.is_set()


def test_a_pull_request_closed_while_the_repair_runs_gets_no_comment(case: Case) -> None:
    pull = case.pull()

    def close() -> None:
        script.close(case.stage.emulator, pull)
        case.stage.emulator.settle()

    case.repair.before = close
    case.fail(pull)
    assert case.comments(pull) == []


def test_the_same_failure_of_the_same_commit_is_worked_on_once(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.fail(pull, workflow="Nightly")
    assert len(case.repair.asked) == 1
    assert len(case.comments(pull)) == 1


def test_a_run_is_written_down_with_its_class_and_what_came_of_it(case: Case) -> None:
    case.fail(case.pull())
    with case.stage.context.database.reading() as session:
        row = session.scalars(select(RunRow).where(RunRow.repository_id == case.repository.id)).one()
    assert (row.failure_class, row.outcome) == ("test", "fixed")
    assert row.finished_at is not None


def test_one_comment_although_the_connection_drops_after_it_was_made(case: Case) -> None:
    pull = case.pull()
    case.stage.emulator.faults.once("POST", r"/comments$", Fault("drop_after"))
    case.fail(pull)
    assert len(case.comments(pull)) == 1


def test_what_a_killed_git_left_locked_is_fetched_all_the_same(case: Case) -> None:
    case.fail(case.pull())
    [git] = (case.stage.context.settings.data_dir / "repositories" / str(case.repository.id)).glob("*/.git")
    for lock in (git / "shallow.lock", git / "refs" / "ledex" / "2" / "head.lock"):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        os.utime(lock, (0, 0))
    second = script.open_pull_request(case.stage.emulator, case.repository, "again", {"shop.py": BROKEN, "more.txt": "1\n"})
    assert second.number == 2
    case.fail(second)
    assert len(case.comments(second)) == 1


# Commands and buttons


def test_apply_commits_the_posted_patch_to_the_branch(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex apply")
    assert pull.head_sha != case.repair.asked[0].head
    [sticky] = [c for c in case.comments(pull) if "ledex:v1 pr:" in c.body]
    assert "**Applied**" in sticky.body


def test_an_apply_that_was_killed_after_its_commit_says_applied_when_it_runs_again(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex apply")
    committed = pull.head_sha
    with case.stage.context.database.writing() as session:  # as if the process had died before this was written down
        session.execute(update(FixRow).where(FixRow.repository_id == case.repository.id).values(state="posted", commit_sha=None))
    case.say(pull, "/ledex apply")
    assert pull.head_sha == committed
    with case.stage.context.database.reading() as session:
        fix = session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id)).one()
    assert (fix.state, fix.commit_sha) == ("applied", committed)
    assert all("was not carried out" not in c.body for c in case.comments(pull))


def told_in_part(case: Case) -> Pull:
    """A pull request whose fix is in the comment while its check run, and the job with it, waits for another attempt."""
    pull = case.pull()
    case.stage.emulator.faults.once("PATCH", r"/check-runs/\d+$", Fault("403"))
    script.fail_run(case.stage.emulator, pull, [script.CiJob("test", LOG)])
    while case.reason("failed_run") == "":
        time.sleep(0.05)
    assert "**Fix ready**" in case.comments(pull)[0].body
    return pull


def test_a_command_given_as_soon_as_the_fix_can_be_read_is_carried_out_though_the_check_run_fails(case: Case) -> None:
    pull = told_in_part(case)
    case.say(pull, "/ledex apply")
    assert pull.head_sha != case.repair.asked[0].head
    assert all("was not carried out" not in c.body for c in case.comments(pull))


def test_a_button_pressed_as_soon_as_it_is_there_applies_the_fix(case: Case) -> None:
    pull = case.pull()
    case.stage.emulator.faults.once("GET", r"/pulls/\d+/files$", Fault("403"))
    script.fail_run(case.stage.emulator, pull, [script.CiJob("test", LOG)])
    while case.reason("failed_run") == "":
        time.sleep(0.05)
    [check] = script.check_runs_of(case.stage.emulator, pull)
    script.press_button(case.stage.emulator, check, "apply", by="maintainer")
    case.stage.settle(60)
    assert pull.head_sha != case.repair.asked[0].head


def test_a_job_killed_between_its_fix_and_its_end_leaves_what_people_did_with_the_fix(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex pr")
    told = case.comments(pull)[0].body
    assert "**Applied**" in told
    with case.stage.context.database.writing() as session:  # as if the process had died before the job's end was written down
        session.execute(update(JobRow).where(JobRow.kind == "failed_run", JobRow.repository_id == case.repository.id).values(
            state="queued", reason=None, sent_at=None, not_before=0.0))  # fmt: skip
    case.stage.settle(60)
    assert case.reason("failed_run") == "fixed: fix_ready"
    assert case.comments(pull)[0].body == told
    with case.stage.context.database.reading() as session:
        assert [f.state for f in session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id))] == ["stacked"]


def test_a_patch_that_does_not_apply_is_tried_again_before_it_is_refused(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    database, of_case = case.stage.context.database, FixRow.repository_id == case.repository.id
    with database.writing() as session:
        good = session.scalars(select(FixRow.patch).where(of_case)).one()
        session.execute(update(FixRow).where(of_case).values(patch=good.replace(b"-    return max", b"-    return sum")))
    script.comment(case.stage.emulator, pull, "/ledex apply", by="maintainer")
    while not case.reason("command").startswith("the patch does not apply"):
        time.sleep(0.05)
    with database.writing() as session:  # as if what git could not read for a moment were back
        session.execute(update(FixRow).where(of_case).values(patch=good))
    case.stage.settle(60)
    assert case.reason("command") == "applied"
    assert all("was not carried out" not in c.body for c in case.comments(pull))


def test_an_apply_whose_comment_was_refused_says_applied_when_it_runs_again(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.stage.emulator.faults.once("PATCH", r"/issues/comments/\d+$", Fault("403"))
    case.say(pull, "/ledex apply")
    assert "**Applied**" in case.comments(pull)[0].body
    assert pull.head_sha[:12] in case.comments(pull)[0].body
    assert all("was not carried out" not in c.body for c in case.comments(pull))


def test_two_applies_at_the_same_moment_are_one_commit_and_one_judgement(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.stage.emulator.faults.once("POST", r"/git/trees$", Fault("slow", 3.0))
    script.comment(case.stage.emulator, pull, "/ledex apply", by="maintainer")
    case.say(pull, "/ledex apply")
    with case.stage.context.database.reading() as session:
        fix = session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id)).one()
        assert [f.kind for f in session.scalars(select(FeedbackRow).where(FeedbackRow.fix_id == fix.id))] == ["applied"]
    assert (fix.state, fix.commit_sha) == ("applied", pull.head_sha)


def test_apply_is_refused_once_the_branch_has_moved_on(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    moved = script.push(case.stage.emulator, case.repository, "cheap", {"README.md": "more\n"})
    case.say(pull, "/ledex apply")
    assert pull.head_sha == moved
    assert "was not carried out: the pull request has moved on" in case.comments(pull)[-1].body


def test_a_rejection_is_kept_with_its_reason_and_without_a_name(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex reject wrong it hides the cause")
    with case.stage.context.database.reading() as session:
        fix = session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id)).one()
        said = session.scalars(select(FeedbackRow).where(FeedbackRow.fix_id == fix.id)).one()
    assert (fix.state, said.kind, said.reason, said.text) == ("rejected", "rejected", "wrong", "it hides the cause")
    assert "maintainer" not in (said.actor_hash or "")


def test_a_command_of_somebody_without_write_access_does_nothing(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    before = pull.head_sha
    case.say(pull, "/ledex apply", by="stranger")
    assert pull.head_sha == before
    assert case.reason("command") == "whoever asked may not push to this repository"


def test_off_is_obeyed_until_on(case: Case) -> None:
    pull = case.pull()
    case.say(pull, "/ledex off")
    case.fail(pull)
    assert case.repair.asked == []
    case.say(pull, "/ledex on")
    case.say(pull, "/ledex fix")
    assert len(case.repair.asked) == 1


def test_retry_works_once_more_and_edits_the_one_comment(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex retry look at min")
    assert [request.hint for request in case.repair.asked] == ["", "look at min"]
    assert len(case.repair.asked) == 2
    assert len([c for c in case.comments(pull) if "ledex:v1 pr:" in c.body]) == 1


def test_an_unknown_command_is_answered_once(case: Case) -> None:
    pull = case.pull()
    case.say(pull, "/ledex frobnicate")
    assert "is no command" in case.comments(pull)[-1].body
    assert len(case.comments(pull)) == 2


def test_the_button_applies_as_the_command_does(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    [check] = script.check_runs_of(case.stage.emulator, pull)
    script.press_button(case.stage.emulator, check, "apply", by="maintainer")
    case.stage.settle(60)
    assert pull.head_sha != case.repair.asked[0].head
