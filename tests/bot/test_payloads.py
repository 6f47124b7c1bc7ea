"""Reading payloads: every real one, and what a payload may hold that it should not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.events import CheckRun, Comment, Event, Installation, PullRequestChange, Push, WorkflowRun
from bot.payloads import PayloadError, parse
from tests.bot import payloads
from tests.bot.payloads import EVENTS, changed, octokit

EXAMPLES = [pytest.param(name, payload, id=f"{name}-{n}") for name in EVENTS for n, payload in enumerate(octokit(name))]


@pytest.mark.parametrize(("name", "payload"), EXAMPLES)
def test_a_real_payload_is_read(name: str, payload: dict[str, Any]) -> None:
    event = parse(name, payload)
    assert event is not None
    assert event.action == payload.get("action")
    assert event.repository_id == payload.get("repository", {}).get("id")


def test_the_real_payloads_are_all_there() -> None:
    assert {name: len(octokit(name)) for name in EVENTS} == {
        "check_run": 9, "check_suite": 9, "installation": 7, "installation_repositories": 3, "issue_comment": 9, "ping": 4,
        "pull_request": 29, "pull_request_review_comment": 5, "push": 7, "workflow_run": 5}  # fmt: skip


def test_a_failed_run_is_read_whole() -> None:
    event = parse("workflow_run", payloads.failed_run())
    assert isinstance(event, WorkflowRun)
    assert (event.run_id, event.run_attempt, event.conclusion, event.installation_id) == (1589141559, 1, "failure", 7)
    assert event.head_sha == "5779607b49aab1200488439f02372c57b4f75444"
    assert event.repository == "Codertocat/Hello-World"


def test_a_pull_request_of_a_deleted_fork_has_no_head_repository() -> None:
    event = parse("pull_request", payloads.pull_request("opened", pull_request__head__repo=None))
    assert isinstance(event, PullRequestChange)
    assert event.head_repository is None


def test_a_comment_on_a_pull_request_is_told_from_one_on_an_issue() -> None:
    on_pull, on_issue = parse("issue_comment", payloads.comment("hi")), parse("issue_comment", octokit("issue_comment")[0])
    assert isinstance(on_pull, Comment)
    assert isinstance(on_issue, Comment)
    assert (on_pull.is_pull_request, on_issue.is_pull_request) == (True, False)


def test_a_comment_of_an_app_says_which() -> None:
    event = parse("issue_comment", payloads.comment("hi", comment__performed_via_github_app={"id": 99}))
    assert isinstance(event, Comment)
    assert event.app_id == 99


def test_a_pressed_button_is_read() -> None:
    payload = next(p for p in octokit("check_run") if p["action"] == "requested_action")
    event = parse("check_run", payload)
    assert isinstance(event, CheckRun)
    assert event.identifier == payload["requested_action"]["identifier"]


@pytest.mark.parametrize("name", ["star", "status", "github_app_authorization", "", "WORKFLOW_RUN"])
def test_an_event_that_is_not_handled_is_none(name: str) -> None:
    assert parse(name, {"anything": 1}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"workflow_run": None}, {"workflow_run": []}, {"workflow_run__id": "1"}, {"workflow_run__id": True}, {"workflow_run__id": -1},
        {"workflow_run__id": 2**63}, {"workflow_run__head_sha": None}, {"workflow_run__head_sha": 5}, {"sender": "me"},
        {"repository": [1]}, {"installation__id": 1.5},
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        parse("workflow_run", payloads.failed_run(**change))


def test_text_that_no_database_takes_is_mended() -> None:
    event = parse("issue_comment", payloads.comment("/ledex fix \0 \ud800 \U0001f600"))
    assert isinstance(event, Comment)
    assert event.body == "/ledex fix \ufffd ? \U0001f600"


def test_a_push_and_an_installation_are_read() -> None:
    push, installation = parse("push", octokit("push")[0]), parse("installation", octokit("installation")[0])
    assert isinstance(push, Push)
    assert isinstance(installation, Installation)
    assert push.after == octokit("push")[0]["after"]
    assert installation.account == octokit("installation")[0]["installation"]["account"]["login"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.sampled_from(EVENTS), st.data())
def test_whatever_a_field_holds_the_payload_is_read_or_refused(name: str, data: st.DataObject) -> None:
    """One field of a real payload, at a random place, becomes something else."""
    payload = data.draw(st.sampled_from(octokit(name)), label="payload")
    path: list[str] = []
    inner: Any = payload
    while isinstance(inner, dict) and inner and (not path or data.draw(st.booleans())):
        path.append(data.draw(st.sampled_from(sorted(inner))))
        inner = inner[path[-1]]
    mutated = changed(payload, **{"__".join(path): data.draw(JSON)}) if path else payload
    try:
        event = parse(name, mutated)
    except PayloadError:
        return
    assert isinstance(event, Event)
    json.dumps(str(event)).encode("utf-8")
