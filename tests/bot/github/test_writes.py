"""Writes happen once, whatever becomes of the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from bot.github import Rejected, Unavailable
from bot.github.client import RepositorySession
from bot.github.protocol import Button, CheckRun, ReviewComment
from bot.github.writes import check_run_body, cut
from bot.runs import Annotation
from tests.bot.github.server import APP_ID, APP_USER, PERSON, REPOSITORY, Answer, Request, Server

MARKER = "<!-- ledex:v1 pr:5 -->"
COMMENTS = rf"/repos/{REPOSITORY}/issues/5/comments"
EDIT = rf"/repos/{REPOSITORY}/issues/comments/\d+"
RUNS = rf"/repos/{REPOSITORY}/check-runs"
SHA = "a" * 40


def ours(server: Server) -> list[str]:
    return [c["body"] for c in server.comments if MARKER in c["body"] and c["user"] == APP_USER]


def test_the_first_comment_is_created_and_the_second_edits_it(server: Server, session: RepositorySession) -> None:
    first = session.upsert_comment(5, MARKER, f"one {MARKER}")
    second = session.upsert_comment(5, MARKER, f"two {MARKER}")
    assert ours(server) == [f"two {MARKER}"]
    assert (first.id, first.created, second.created) == (second.id, True, False)


def test_our_comment_is_found_on_the_third_page(server: Server, session: RepositorySession) -> None:
    for number in range(250):
        if number == 230:
            server.say(f"old {MARKER}", user=APP_USER, app=APP_ID)
        server.say(f"chatter {number}")
    posted = session.upsert_comment(5, MARKER, f"new {MARKER}")
    assert not posted.created
    assert ours(server) == [f"new {MARKER}"]
    assert len(server.seen("GET", COMMENTS)) == 3


@pytest.mark.parametrize("failure", [Answer(502), Answer(drop=True)])
def test_a_comment_that_landed_without_an_answer_is_not_written_twice(failure: Answer, server: Server, session: RepositorySession) -> None:
    server.fail("POST", COMMENTS, failure, after=True)
    session.upsert_comment(5, MARKER, f"text {MARKER}")
    assert len(ours(server)) == len(server.seen("POST", COMMENTS)) == 1


def test_a_comment_that_did_not_land_is_written_again(server: Server, session: RepositorySession) -> None:
    server.fail("POST", COMMENTS, Answer(502))
    session.upsert_comment(5, MARKER, f"text {MARKER}")
    assert len(ours(server)) == 1


def test_a_comment_is_given_up_after_three_silent_tries(server: Server, session: RepositorySession) -> None:
    server.fail("POST", COMMENTS, Answer(502), times=9)
    with pytest.raises(Unavailable):
        session.upsert_comment(5, MARKER, f"text {MARKER}")
    assert len(server.seen("POST", COMMENTS)) == 3


def test_two_at_once_make_one_comment(server: Server, open_session: Callable[[], RepositorySession]) -> None:
    server.comment_pause = 0.1
    sessions = [open_session() for _ in range(4)]
    threads = [
        threading.Thread(target=session.upsert_comment, args=(5, MARKER, f"text {number} {MARKER}"))
        for number, session in enumerate(sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ours(server)) == len(server.seen("POST", COMMENTS)) == 1


def test_an_unchanged_comment_is_not_edited(server: Server, session: RepositorySession) -> None:
    server.say(f"same\r\ntext {MARKER}\n", user=APP_USER, app=APP_ID)
    session.upsert_comment(5, MARKER, f"same\ntext {MARKER}")
    assert server.seen("PATCH", EDIT) == []


def test_an_edit_without_an_answer_is_repeated(server: Server, session: RepositorySession) -> None:
    server.say(f"old {MARKER}", user=APP_USER, app=APP_ID)
    server.fail("PATCH", EDIT, Answer(drop=True), after=True)
    session.upsert_comment(5, MARKER, f"new {MARKER}")
    assert ours(server) == [f"new {MARKER}"]


@pytest.mark.parametrize(("user", "app"), [(PERSON, None), (PERSON, APP_ID + 1), ({"login": "other[bot]", "id": 8, "type": "Bot"}, None)])
def test_somebody_else_quoting_our_marker_is_left_alone(
    user: dict[str, Any], app: int | None, server: Server, session: RepositorySession
) -> None:
    server.say(f"quoted {MARKER}", user=user, app=app)
    session.upsert_comment(5, MARKER, f"text {MARKER}")
    assert server.comments[0]["body"] == f"quoted {MARKER}"
    assert ours(server) == [f"text {MARKER}"]


def test_our_comment_is_known_by_its_author_where_github_names_no_app(server: Server, session: RepositorySession) -> None:
    server.say(f"old {MARKER}", user=APP_USER)
    session.upsert_comment(5, MARKER, f"new {MARKER}")
    assert ours(server) == [f"new {MARKER}"]


@pytest.mark.parametrize("body", ["no marker", MARKER + "x" * 65_536])
def test_a_comment_that_cannot_be_found_again_or_is_too_long_is_refused_before_it_is_sent(
    body: str, server: Server, session: RepositorySession
) -> None:
    with pytest.raises(Rejected):
        session.upsert_comment(5, MARKER, body)
    assert server.requests == []


def test_a_reaction_that_is_refused_stops_nothing(server: Server, session: RepositorySession) -> None:
    path = rf"/repos/{REPOSITORY}/issues/comments/1/reactions"
    server.on("POST", path, lambda r: Answer(403, {"message": "Resource not accessible by integration"}))
    assert session.react(1) is False
    server.on("POST", path, lambda r: Answer(201, {"id": 1, "content": r.body["content"]}))
    assert session.react(1) is True


def test_labels_are_added_by_one_request(server: Server, session: RepositorySession) -> None:
    path = rf"/repos/{REPOSITORY}/issues/5/labels"
    server.on("POST", path, lambda r: Answer(body=[]))
    session.add_labels(5, ["no-ledex"])
    assert [r.body for r in server.seen("POST", path)] == [{"labels": ["no-ledex"]}]


class Checks:
    """The server's check runs; as on GitHub, annotations are appended."""

    def __init__(self, server: Server) -> None:
        self.runs: list[dict[str, Any]] = []
        server.on("GET", rf"/repos/{REPOSITORY}/commits/{SHA}/check-runs", lambda r: Answer(body={"check_runs": self.runs}))
        server.on("GET", rf"{RUNS}/\d+", lambda r: Answer(body=self.runs[int(r.path.rsplit("/", 1)[1])]))
        server.on("POST", RUNS, self.create)
        server.on("PATCH", rf"{RUNS}/\d+", self.edit)

    def create(self, request: Request) -> Answer:
        run = {
            "id": len(self.runs),
            "external_id": request.body["external_id"],
            "app": {"id": APP_ID},
            "html_url": "",
            "said": [],
            "output": {},
        }
        self.runs.append(run)
        return self._keep(run, request)

    def edit(self, request: Request) -> Answer:
        return self._keep(self.runs[int(request.path.rsplit("/", 1)[1])], request)

    def _keep(self, run: dict[str, Any], request: Request) -> Answer:
        said = [a["message"] for a in request.body["output"].get("annotations", [])]
        assert len(said) <= 50
        run["said"] += said
        run["status"] = request.body["status"]
        run["output"] = {"title": request.body["output"]["title"], "annotations_count": len(run["said"])}
        return Answer(201, run)


@pytest.fixture
def checks(server: Server) -> Checks:
    return Checks(server)


def annotated(count: int) -> CheckRun:
    return CheckRun("t", "s", annotations=[Annotation("a.py", n + 1, n + 1, "notice", str(n)) for n in range(count)])


def test_annotations_go_out_in_fifties_in_order(checks: Checks, session: RepositorySession) -> None:
    session.upsert_check_run(SHA, "run-1", annotated(120))
    assert [run["said"] for run in checks.runs] == [[str(n) for n in range(120)]]


@pytest.mark.parametrize("after", [True, False])
def test_a_lost_answer_doubles_no_annotation(after: bool, server: Server, checks: Checks, session: RepositorySession) -> None:
    server.fail("POST", RUNS, Answer(drop=True), after=after)
    server.fail("PATCH", rf"{RUNS}/\d+", Answer(502), after=after)
    session.upsert_check_run(SHA, "run-1", annotated(120))
    assert [run["said"] for run in checks.runs] == [[str(n) for n in range(120)]]


def test_the_same_check_run_is_edited_and_another_external_id_makes_another(checks: Checks, session: RepositorySession) -> None:
    session.upsert_check_run(SHA, "run-1", CheckRun("working", "s"))
    session.upsert_check_run(SHA, "run-1", CheckRun("done", "s", conclusion="success"))
    session.upsert_check_run(SHA, "run-2", CheckRun("other", "s"))
    assert [(run["output"]["title"], run["status"]) for run in checks.runs] == [("done", "completed"), ("other", "in_progress")]


def test_another_app_s_check_run_of_that_external_id_is_left_alone(checks: Checks, session: RepositorySession) -> None:
    session.upsert_check_run(SHA, "run-1", CheckRun("theirs", "s"))
    checks.runs[0]["app"] = {"id": APP_ID + 1}
    session.upsert_check_run(SHA, "run-1", CheckRun("ours", "s"))
    assert [run["output"]["title"] for run in checks.runs] == ["theirs", "ours"]


def test_an_edit_does_not_repeat_the_annotations_that_are_there(checks: Checks, session: RepositorySession) -> None:
    session.upsert_check_run(SHA, "run-1", annotated(70))
    session.upsert_check_run(SHA, "run-1", annotated(70))
    assert len(checks.runs[0]["said"]) == 70


def test_texts_and_buttons_are_cut_to_github_s_limits() -> None:
    buttons = [Button("l" * 30, "d" * 60, f"id{n}") for n in range(5)]
    body = check_run_body(CheckRun("t" * 300, "é" * 70_000, "x" * 70_000, "success", buttons=buttons), 0)
    assert len(body["output"]["summary"].encode()) <= 65_535
    assert len(body["output"]["text"]) <= 65_535
    assert body["actions"] == [{"label": "l" * 20, "description": "d" * 40, "identifier": f"id{n}"} for n in range(3)]


def test_a_check_run_in_progress_has_no_buttons() -> None:
    assert "actions" not in check_run_body(CheckRun("t", "s", buttons=[Button("l", "d", "i")]), 0)


def test_a_check_run_never_says_failure() -> None:
    with pytest.raises(Rejected, match="neutral"):
        check_run_body(CheckRun("t", "s", conclusion="failure"), 0)  # type: ignore[arg-type]


def test_a_short_text_is_not_cut() -> None:
    assert cut("é" * 10, 20) == "é" * 10


def test_a_review_comments_on_the_verified_head_and_the_new_side(server: Server, session: RepositorySession) -> None:
    reviews: list[dict[str, Any]] = []

    def create(request: Request) -> Answer:
        reviews.append({"id": 1, "body": request.body["body"], "user": APP_USER})
        return Answer(body=reviews[-1])

    path = rf"/repos/{REPOSITORY}/pulls/5/reviews"
    server.on("GET", path, lambda r: Answer(body=reviews))
    server.on("POST", path, create)
    server.fail("POST", path, Answer(drop=True), after=True)
    comments = [ReviewComment("a.py", 3, 5, "x"), ReviewComment("a.py", 9, 9, "y")]
    session.review(5, SHA, f"see below {MARKER}", comments, MARKER)
    session.review(5, SHA, f"see below {MARKER}", comments, MARKER)
    assert [r.body for r in server.seen("POST", path)] == [
        {
            "commit_id": SHA,
            "body": f"see below {MARKER}",
            "event": "COMMENT",
            "comments": [
                {"path": "a.py", "line": 5, "side": "RIGHT", "body": "x", "start_line": 3, "start_side": "RIGHT"},
                {"path": "a.py", "line": 9, "side": "RIGHT", "body": "y"},
            ],
        }
    ]
