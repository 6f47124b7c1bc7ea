"""The fake and the client answer the same protocols; the type checker holds the signatures together, these the behaviour tests rely on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.github import Conflict, Forbidden, Unavailable
from bot.github.client import GitHub
from bot.github.protocol import COMMENTING, PUSHING, READING, App, CommitText, FileChange, Session
from bot.runs import PullRequest
from tests.bot.github.fakes import InMemoryGitHub

MARKER = "<!-- m -->"
PULL = PullRequest("octo/calc", 42, 5, "a" * 40, "topic", "octo/calc", "b" * 40, "main", 1)


def app_of_the_fake() -> App:
    return InMemoryGitHub(pull_requests={5: PULL}, granted=dict(PUSHING))


def app_of_the_client() -> App:
    return GitHub(None)


@pytest.mark.parametrize("make", [app_of_the_fake, app_of_the_client])
def test_both_open_a_session_without_asking_github(make: Callable[[], App]) -> None:
    with make().for_step(9, 42, "octo/calc", READING) as session:
        opened: Session = session
        assert (opened.installation_id, opened.repository_id, opened.repository) == (9, 42, "octo/calc")


def test_the_fake_refuses_what_the_step_may_not() -> None:
    with app_of_the_fake().for_step(9, 42, "octo/calc", READING) as session, pytest.raises(Forbidden):
        session.upsert_comment(5, MARKER, MARKER)


def test_the_fake_fails_as_often_as_told_and_then_works() -> None:
    github = InMemoryGitHub()
    github.fail("upsert_comment", Unavailable("down"))
    with github.for_step(9, 42, "octo/calc", COMMENTING) as session:
        with pytest.raises(Unavailable):
            session.upsert_comment(5, MARKER, MARKER)
        session.upsert_comment(5, MARKER, f"one {MARKER}")
        session.upsert_comment(5, MARKER, f"two {MARKER}")
    assert [(c.body, c.edits) for c in github.comments] == [(f"two {MARKER}", 1)]


def test_the_fake_commits_once_and_only_on_the_verified_head() -> None:
    github = InMemoryGitHub(pull_requests={5: PULL}, granted=dict(PUSHING))
    files, text = [FileChange("a.py", b"x")], CommitText("Fix", "", "run-1")
    with github.for_step(9, 42, "octo/calc", PUSHING) as session:
        sha = session.commit_to_head(PULL, PULL.head_sha, files, text)
        assert session.commit_to_head(PULL, PULL.head_sha, files, text) == sha
        with pytest.raises(Conflict):
            session.commit_to_head(PULL, PULL.head_sha, files, CommitText("Fix", "", "run-2"))
    assert github.pull_requests[5].head_sha == sha
