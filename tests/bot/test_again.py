"""Working once more: GitHub's Re-run buttons, commands, labels and drafts, against the emulated GitHub with a stand-in for the repair."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from bot.demo.emulator import events, script
from bot.demo.emulator.state import ALL_PERMISSIONS, CheckRun
from bot.handle_rerun import rerun_reply
from bot.handlers import default_handlers
from bot.models import FeedbackRow, FixRow
from bot.planning import QUEUE_OF
from inference.outcome import Outcome
from sandbox.reproduction import Reproduction
from tests.bot.shop import FIXED, LOG
from tests.bot.staged import Case

OTHER_LOG = LOG.replace("test_cheapest", "test_total")


def policy(text: str) -> dict[str, str]:
    return {".github/ledex.toml": text}


def rerun(case: Case, check: CheckRun, by: str = "maintainer") -> None:
    script.rerequest(case.stage.emulator, check, by=by)
    case.stage.settle(60)


def test_every_kind_of_job_that_is_planned_has_a_handler_and_the_other_way_round() -> None:
    assert default_handlers().keys() == QUEUE_OF.keys()


# GitHub's Re-run


def test_re_run_of_our_check_run_works_on_the_failure_again_and_answers_in_it_alone(case: Case) -> None:
    case.repair.outcome = Outcome("unfixed", "no edit of 900 tried makes the failing tests pass")
    pull = case.pull()
    case.fail(pull)
    [check] = script.check_runs_of(case.stage.emulator, pull)
    case.repair.outcome = Outcome("unfixed", "no edit of 901 tried makes the failing tests pass")
    rerun(case, check)
    assert len(case.repair.asked) == 2
    [after] = script.check_runs_of(case.stage.emulator, pull)
    assert (after.id, after.status, after.conclusion) == (check.id, "completed", "neutral")
    assert "901 tried" in str(after)
    assert case.comments(pull) == []


def test_re_run_of_our_check_run_works_on_its_own_failure_and_no_other(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.fail(pull, OTHER_LOG, workflow="Nightly")
    first, second = script.check_runs_of(case.stage.emulator, pull)
    assert len(case.repair.asked) == 2
    rerun(case, first)
    assert len(case.repair.asked) == 3
    assert case.reason("rerequest") == "looking again at 1 runs"
    assert second.external_id != first.external_id


def test_re_run_of_all_checks_works_on_every_failure_of_the_commit(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.fail(pull, OTHER_LOG, workflow="Nightly")
    [check, _] = script.check_runs_of(case.stage.emulator, pull)
    emulator = case.stage.emulator
    with emulator.state.lock:
        events.check_suite(emulator, "rerequested", check.suite, emulator.state.user("maintainer"))
    case.stage.settle(60)
    assert len(case.repair.asked) == 4
    assert len(script.check_runs_of(case.stage.emulator, pull)) == 2


def test_re_run_by_somebody_without_write_access_does_nothing(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    [check] = script.check_runs_of(case.stage.emulator, pull)
    rerun(case, check, by="stranger")
    assert len(case.repair.asked) == 1
    assert case.reason("rerequest") == "whoever asked may not push to this repository"


# Another CI than GitHub Actions


def test_a_failed_suite_of_another_ci_is_repaired_and_can_be_asked_for_again(case: Case) -> None:
    pull = case.pull()
    script.fail_suite(case.stage.emulator, pull, [script.CiJob("buildkite/test", LOG)])
    case.stage.settle(60)
    assert "**Fix ready**" in case.comments(pull)[0].body
    case.say(pull, "/ledex fix")
    assert len(case.repair.asked) == 2


@pytest.mark.parametrize("case", [policy('trigger = "command"\n')], indirect=True)
def test_a_command_finds_the_suite_of_another_ci_that_was_left_alone(case: Case) -> None:
    pull = case.pull()
    script.fail_suite(case.stage.emulator, pull, [script.CiJob("buildkite/test", LOG)])
    case.stage.settle(60)
    assert case.repair.asked == []
    case.say(pull, "/ledex fix")
    assert len(case.repair.asked) == 1


# Wanted after all


@pytest.mark.parametrize("case", [policy('trigger = "label"\n')], indirect=True)
def test_the_label_ledex_starts_the_work_on_the_run_that_failed_before_it(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    assert case.repair.asked == []
    script.set_label(case.stage.emulator, pull, "ledex")
    case.stage.settle(60)
    assert len(case.repair.asked) == 1


def test_a_draft_that_becomes_ready_is_worked_on(case: Case) -> None:
    pull = case.pull(draft=True)
    case.fail(pull)
    assert case.repair.asked == []
    script.set_draft(case.stage.emulator, pull, False)
    case.stage.settle(60)
    assert len(case.repair.asked) == 1


def test_no_ledex_is_obeyed_until_it_is_taken_away(case: Case) -> None:
    pull = case.pull()
    script.set_label(case.stage.emulator, pull, "no-ledex")
    case.fail(pull)
    assert case.repair.asked == []
    assert case.reason("failed_run") == "the pull request has the label no-ledex"
    script.set_label(case.stage.emulator, pull, "no-ledex", on=False)
    case.stage.settle(60)
    assert len(case.repair.asked) == 1


def test_reopening_does_not_repeat_what_was_done(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    script.close(case.stage.emulator, pull)
    script.reopen(case.stage.emulator, pull)
    case.stage.settle(60)
    assert len(case.repair.asked) == 1
    assert case.reason("failed_run") == "the same failure of this commit was worked on already"


# Commands


def test_explain_says_why_without_taking_the_fix_away(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex explain")
    assert "**Fix ready**" in case.comments(pull)[0].body
    assert "took the largest price" in case.comments(pull)[-1].body
    assert len(case.repair.asked) == 1


@pytest.mark.parametrize("case", [policy('trigger = "command"\n')], indirect=True)
def test_explain_shows_no_patch(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex explain")
    sticky = case.comments(pull)[-1].body
    assert "**Explanation only**" in sticky
    assert "took the largest price" in sticky
    assert "return min(prices)" not in sticky
    assert case.repair.asked[0].policy.mode == "explain"  # type: ignore[attr-defined]


def test_rerun_repeats_the_tests_without_a_search_and_links_githubs_button(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    flaky = Reproduction("flaky", "1 of 3 runs passes", flaky=("test_shop.py::test_cheapest",))
    case.repair.outcome = Outcome("flaky", "1 of 3 runs passes", flaky)
    case.say(pull, "/ledex rerun")
    assert [request.search for request in case.repair.asked] == [True, False]
    sticky, _, reply = case.comments(pull)
    assert "some tests both passed and failed here: flaky (`test_shop.py::test_cheapest`)" in reply.body
    assert "/actions/runs/" in reply.body
    assert "**Fix ready**" in sticky.body


def test_rerun_of_a_pull_request_whose_run_passed_since_says_so(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    for run in case.stage.emulator.state.runs.values():
        run.suite.conclusion = "success"
    case.say(pull, "/ledex rerun")
    assert "was not carried out: the run is success now." in case.comments(pull)[-1].body
    assert len(case.repair.asked) == 1


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("passing", "every test passes here"),
        ("pre_existing", "fail on the base too"),
        ("unfixed", "every time: not flaky"),
        ("broken", "could not be run here (no pytest @\u200beverybody)"),
    ],
)
def test_a_reply_to_rerun_says_what_was_seen(status: str, shown: str) -> None:
    assert shown in rerun_reply(Outcome(status, "no pytest @everybody"), "a" * 40, "https://github.com/o/r/actions/runs/1")  # type: ignore[arg-type]


def test_a_test_named_to_break_out_of_the_reply_does_not() -> None:
    seen = Reproduction("failing", "", failing=("t.py::test[`](http://evil) @all]",) * 7)
    reply = rerun_reply(replace(FIXED, status="unfixed", reproduction=seen), "a" * 40, "")
    assert "``t.py::test[`](http://evil) @all]``" in reply
    assert "and 2 more" in reply


def test_pr_opens_a_pull_request_with_the_patch_into_the_branch(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    case.say(pull, "/ledex pr")
    stacked = [p for p in case.stage.emulator.state.pulls if p.repository is case.repository and p is not pull]
    assert [p.base_ref for p in stacked] == ["cheap"]
    assert pull.head_sha == case.repair.asked[0].head


def test_help_lists_the_commands(case: Case) -> None:
    pull = case.pull()
    case.say(pull, "/ledex help")
    assert "- `/ledex rerun`:" in case.comments(pull)[-1].body


@pytest.mark.parametrize("case", [{".github/ledex.toml": 'mode = "stacked_pr"\n'}], indirect=True)
def test_a_policy_may_want_every_fix_stacked(case: Case) -> None:
    pull = case.pull()
    case.fail(pull)
    [stacked] = [one for one in case.stage.emulator.state.pulls if one.repository is case.repository and one is not pull]
    assert (stacked.base_ref, pull.head_sha) == ("cheap", case.repair.asked[0].head)
    assert f"`#{stacked.number}`" in case.comments(pull)[0].body
    with case.stage.context.database.reading() as session:
        fix = session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id)).one()
        assert session.scalars(select(FeedbackRow).where(FeedbackRow.fix_id == fix.id)).all() == [], "nobody judged it"


@pytest.mark.parametrize("case", [{".github/ledex.toml": 'mode = "commit"\n'}], indirect=True)
def test_a_policy_may_want_a_fix_of_v4_committed_and_no_lesser_one(case: Case) -> None:
    best = FIXED.best
    assert best is not None
    assert best.verdict is not None
    case.repair.outcome = replace(FIXED, proposals=(replace(best, verdict=replace(best.verdict, level=3)),))
    lesser = case.pull()
    case.fail(lesser)
    assert lesser.head_sha == case.repair.asked[0].head
    case.repair.outcome = FIXED
    script.push(case.stage.emulator, case.repository, "cheap", {"notes.txt": "more\n"})
    case.fail(lesser)
    assert lesser.head_sha != case.repair.asked[1].head
    assert len(case.comments(lesser)) == 1
    assert "**Applied**" in case.comments(lesser)[0].body


@pytest.mark.parametrize("case", [{".github/ledex.toml": 'mode = "commit"\n'}], indirect=True)
def test_an_app_that_may_not_write_commits_nothing_and_says_nothing_more(case: Case) -> None:
    script.install(case.stage.emulator, case.repository, {**ALL_PERMISSIONS, "contents": "read"})
    pull = case.pull()
    case.fail(pull)
    script.install(case.stage.emulator, case.repository, ALL_PERMISSIONS)
    assert pull.head_sha == case.repair.asked[0].head
    assert "**Fix ready**" in case.comments(pull)[0].body
    assert len(case.comments(pull)) == 1
