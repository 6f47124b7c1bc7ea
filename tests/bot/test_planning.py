"""Which jobs an event asks for."""

from __future__ import annotations

from typing import Any

import pytest

from bot.payloads import parse
from bot.planning import QUEUE_OF, QUEUES, Filters, Identity, JobSpec, plan
from tests.bot import payloads
from tests.bot.payloads import EVENTS, changed, octokit

APP, ACCOUNT, DEPENDABOT = 29310, 555, 49699333
FILTERS = Filters(Identity(APP, ACCOUNT))


def jobs(name: str, payload: dict[str, Any], filters: Filters = FILTERS, guid: str = "g") -> tuple[JobSpec, ...]:
    event = parse(name, payload)
    assert event is not None
    planned = plan(event, guid, filters)
    assert bool(planned.jobs) != bool(planned.reason), "either jobs, or why not"
    return planned.jobs


def kinds(name: str, payload: dict[str, Any], filters: Filters = FILTERS) -> list[str]:
    return [job.kind for job in jobs(name, payload, filters)]


@pytest.mark.parametrize(("name", "payload"), [(name, p) for name in EVENTS for p in octokit(name)])
def test_every_real_payload_is_planned_for_a_known_queue(name: str, payload: dict[str, Any]) -> None:
    assert all(job.kind in QUEUE_OF and job.queue in QUEUES and len(job.key) <= 250 for job in jobs(name, payload))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["failed_run"]),
        ({"workflow_run__conclusion": "timed_out"}, ["failed_run"]),
        ({"workflow_run__conclusion": "success"}, []),
        ({"workflow_run__conclusion": "cancelled"}, []),
        ({"workflow_run__conclusion": None}, []),
        ({"action": "requested"}, []),
        ({"sender": {"id": ACCOUNT, "login": "ledex[bot]", "type": "Bot"}}, []),
        ({"sender": {"id": DEPENDABOT, "login": "dependabot[bot]", "type": "Bot"}}, ["failed_run"]),
    ],
)
def test_only_a_failed_run_that_we_did_not_cause_is_worked_on(change: dict[str, Any], expected: list[str]) -> None:
    assert kinds("workflow_run", payloads.failed_run(**change)) == expected


def test_a_run_told_twice_is_one_job_and_its_next_attempt_another() -> None:
    key = jobs("workflow_run", payloads.failed_run(), guid="a")[0].key
    assert jobs("workflow_run", payloads.failed_run(), guid="b")[0].key == key
    assert jobs("workflow_run", payloads.failed_run(workflow_run__run_attempt=2))[0].key != key


def suite(**changes: Any) -> dict[str, Any]:
    return changed(octokit("check_suite")[0], **{"action": "completed", "check_suite__conclusion": "failure"} | changes)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"check_suite__app": {"id": 5, "slug": "circleci-checks"}}, ["failed_run"]),
        ({"check_suite__app": {"id": 5, "slug": "circleci-checks"}, "check_suite__conclusion": "neutral"}, []),
        ({"check_suite__app": {"id": 15368, "slug": "github-actions"}}, []),
        ({"check_suite__app": {"id": APP, "slug": "ledex"}}, []),
        ({"check_suite__app": {"id": APP, "slug": "ledex"}, "action": "rerequested"}, ["rerequest"]),
        ({"check_suite__app": {"id": 5, "slug": "circleci-checks"}, "action": "rerequested"}, []),
    ],
)
def test_suites_of_other_ci_count_and_ours_only_when_asked_for_again(change: dict[str, Any], expected: list[str]) -> None:
    assert kinds("check_suite", suite(**change)) == expected


def button(**changes: Any) -> dict[str, Any]:
    first = next(p for p in octokit("check_run") if p["action"] == "requested_action")
    return changed(first, **{"check_run__app__id": APP} | changes)


def test_a_button_of_our_check_run_is_a_job_and_of_anothers_not() -> None:
    assert kinds("check_run", button()) == ["button"]
    assert kinds("check_run", button(check_run__app__id=APP + 1)) == []


def test_our_own_check_run_made_and_completed_is_dropped() -> None:
    assert [kinds("check_run", button(action=action)) for action in ("created", "completed")] == [[], []]


def test_a_button_pressed_again_is_another_job() -> None:
    assert jobs("check_run", button(), guid="a")[0].key != jobs("check_run", button(), guid="b")[0].key


def test_without_an_app_id_no_check_run_is_ours() -> None:
    assert kinds("check_run", button(check_run__app=None), Filters()) == []
    assert kinds("check_run", button(), Filters()) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("/ledex fix", ["command"]),
        ("/ledex", ["command"]),
        ("Thank you!\n/ledex explain", ["command"]),
        ("please try /ledex fix", []),
        ("/ledexfix", []),
        ("/ledex-other fix", []),
        ("LGTM", []),
        ("", []),
    ],
)
def test_a_comment_is_a_job_when_a_line_begins_with_the_command(body: str, expected: list[str]) -> None:
    assert kinds("issue_comment", payloads.comment(body)) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"issue__pull_request": None},
        {"action": "edited"},
        {"action": "deleted"},
        {"sender": {"id": ACCOUNT, "login": "ledex[bot]", "type": "Bot"}},
        {"sender": {"id": ACCOUNT, "login": "ledex", "type": "User"}},
        {"sender": {"id": DEPENDABOT, "login": "dependabot[bot]", "type": "Bot"}},
        {"comment__performed_via_github_app": {"id": APP}},
    ],
)
def test_a_comment_elsewhere_or_of_a_bot_is_no_command(change: dict[str, Any]) -> None:
    assert kinds("issue_comment", payloads.comment("/ledex fix", **change)) == []


def test_an_allowed_bot_may_command_by_its_number_and_not_by_its_name() -> None:
    allowed = Filters(Identity(APP, ACCOUNT), allowed_bots=frozenset({DEPENDABOT}))
    named = {"login": "dependabot[bot]", "type": "Bot"}
    assert kinds("issue_comment", payloads.comment("/ledex fix", sender={"id": DEPENDABOT, **named}), allowed) == ["command"]
    assert kinds("issue_comment", payloads.comment("/ledex fix", sender={"id": 1, **named}), allowed) == []


@pytest.mark.parametrize(
    ("action", "expected"),
    [("opened", []), ("edited", []), ("assigned", []), ("synchronize", ["pull_request"]), ("closed", ["pull_request"]),
     ("labeled", ["pull_request"]), ("ready_for_review", ["pull_request"])],
)  # fmt: skip
def test_changes_of_a_pull_request_that_matter_are_jobs(action: str, expected: list[str]) -> None:
    assert kinds("pull_request", payloads.pull_request(action)) == expected


def test_a_push_to_a_branch_is_feedback_and_a_tag_or_a_deletion_is_not() -> None:
    push = changed(octokit("push")[0], ref="refs/heads/main", deleted=False)
    assert [job.queue for job in jobs("push", push)] == ["feedback"]
    assert kinds("push", changed(push, ref="refs/tags/v1")) == []
    assert kinds("push", changed(push, deleted=True)) == []


def test_a_server_can_leave_out_an_installation_or_a_repository() -> None:
    assert kinds("workflow_run", payloads.failed_run(), Filters(disabled_installations=frozenset({7}))) == []
    assert kinds("workflow_run", payloads.failed_run(), Filters(disabled_repositories=frozenset({"Codertocat/Hello-World"}))) == []


def test_a_slow_repair_and_a_command_are_in_different_queues() -> None:
    assert jobs("workflow_run", payloads.failed_run())[0].queue != jobs("issue_comment", payloads.comment("/ledex fix"))[0].queue
