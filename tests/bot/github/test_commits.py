"""Commits go only where the patch was verified, once, and nothing is forced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from bot.github import Conflict, Rejected
from bot.github.client import RepositorySession
from bot.github.commits import commit_message
from bot.github.protocol import CommitText, FileChange
from bot.runs import PullRequest
from tests.bot.github.server import REPOSITORY, REPOSITORY_ID, Answer, Request, Server

ROOT = rf"/repos/{REPOSITORY}"
BASE = "b" * 40
REF = rf"{ROOT}/git/refs/heads/.+"
FILES = [FileChange("src/a.py", b"x = 1\n", "100755"), FileChange("old.py", None), FileChange("logo.png", b"\x89PNG\xff")]
TEXT = CommitText("Fix the sum", "It added one too few.", "run-1", ("Mona Lisa", "1+mona@users.noreply.github.com"))


class Git:
    """A repository behind the git data API that keeps what it is given."""

    def __init__(self, server: Server) -> None:
        self.commits: dict[str, dict[str, Any]] = {}
        self.trees: dict[str, dict[str, Any]] = {}
        self.pulls: list[dict[str, Any]] = []
        self.head = self.add("Start", [])
        self.refs = {"topic": self.head}
        server.on("GET", rf"{ROOT}/git/commits/\w+", lambda r: Answer(body=self.commits[r.path.rsplit("/", 1)[1]]))
        server.on("GET", rf"{ROOT}/git/ref/heads/.+", self.read_ref)
        server.on("POST", rf"{ROOT}/git/blobs", lambda r: Answer(201, {"sha": name_of(r.body)}))
        server.on("POST", rf"{ROOT}/git/trees", self.tree)
        server.on(
            "POST", rf"{ROOT}/git/commits", lambda r: Answer(201, {"sha": self.add(r.body["message"], r.body["parents"], r.body["tree"])})
        )
        server.on("POST", rf"{ROOT}/git/refs", self.create_ref)
        server.on("PATCH", REF, self.move_ref)
        server.on("GET", rf"{ROOT}/pulls", lambda r: Answer(body=[p for p in self.pulls if r.query["head"] == f"octo:{p['head']['ref']}"]))
        server.on("POST", rf"{ROOT}/pulls", self.open_pull)

    def add(self, message: str, parents: list[str], tree: str = "t0") -> str:
        # As real commits have a date, two of the same content differ.
        sha = name_of([message, parents, tree, len(self.commits)])
        self.commits[sha] = {"sha": sha, "message": message, "parents": [{"sha": p} for p in parents], "tree": {"sha": tree}}
        return sha

    def tree(self, request: Request) -> Answer:
        sha = name_of(request.body)
        self.trees[sha] = request.body
        return Answer(201, {"sha": sha})

    def read_ref(self, request: Request) -> Answer:
        branch = request.path.split("/heads/")[1]
        return Answer(body={"object": {"sha": self.refs[branch]}}) if branch in self.refs else Answer(404, {"message": "Not Found"})

    def create_ref(self, request: Request) -> Answer:
        branch = request.body["ref"].removeprefix("refs/heads/")
        if branch in self.refs:
            return Answer(422, {"message": "Reference already exists"})
        self.refs[branch] = request.body["sha"]
        return Answer(201, {})

    def move_ref(self, request: Request) -> Answer:
        branch, sha = request.path.split("/heads/")[1], request.body["sha"]
        if request.body["force"] or self.refs[branch] not in [p["sha"] for p in self.commits[sha]["parents"]]:
            return Answer(422, {"message": "Update is not a fast forward"})
        self.refs[branch] = sha
        return Answer(body={})

    def open_pull(self, request: Request) -> Answer:
        number = 10 + len(self.pulls)
        self.pulls.append(
            {"id": number, "number": number, "html_url": "", "head": {"ref": request.body["head"]}, "base": {"ref": request.body["base"]}}
        )
        return Answer(201, self.pulls[-1])


def name_of(value: object) -> str:
    return hashlib.sha1(json.dumps(value).encode()).hexdigest()


@pytest.fixture
def git(server: Server) -> Git:
    return Git(server)


@pytest.fixture
def pull(git: Git) -> PullRequest:
    return PullRequest(REPOSITORY, REPOSITORY_ID, 5, git.head, "topic", REPOSITORY, BASE, "main", 1)


def test_the_commit_has_the_files_modes_and_trailers(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    sha = session.commit_to_head(pull, git.head, FILES, TEXT)
    commit = git.commits[sha]
    assert git.refs["topic"] == sha
    assert commit["parents"] == [{"sha": git.head}]
    assert commit["message"].splitlines() == [
        "Fix the sum",
        "",
        "It added one too few.",
        "",
        "Ledex-Run: run-1",
        "Co-authored-by: Mona Lisa <1+mona@users.noreply.github.com>",
    ]
    text, gone, binary = git.trees[commit["tree"]["sha"]]["tree"]
    assert text == {"path": "src/a.py", "mode": "100755", "type": "blob", "content": "x = 1\n"}
    assert (gone["path"], gone["sha"]) == ("old.py", None)
    assert binary["sha"] == name_of({"content": "iVBOR/8=", "encoding": "base64"})


def test_a_branch_that_moved_on_is_left_alone(server: Server, git: Git, pull: PullRequest, session: RepositorySession) -> None:
    git.refs["topic"] = moved = git.add("Somebody else", [git.head])
    with pytest.raises(Conflict, match="moved on"):
        session.commit_to_head(pull, git.head, FILES, TEXT)
    assert git.refs["topic"] == moved
    assert not [r for r in server.requests if r.method == "POST" and "/git/" in r.path]


def test_a_push_in_the_last_moment_wins(server: Server, git: Git, pull: PullRequest, session: RepositorySession) -> None:
    def race(request: Request) -> Answer:
        git.refs["topic"] = git.add("Somebody else", [git.head])
        return git.move_ref(request)

    server.on("PATCH", REF, race)
    with pytest.raises(Conflict):
        session.commit_to_head(pull, git.head, FILES, TEXT)
    assert git.commits[git.refs["topic"]]["message"] == "Somebody else"


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("path", [rf"{ROOT}/git/trees", rf"{ROOT}/git/commits", REF])
def test_a_lost_answer_makes_no_second_commit(
    path: str, after: bool, server: Server, git: Git, pull: PullRequest, session: RepositorySession
) -> None:
    server.fail("PATCH" if path == REF else "POST", path, Answer(drop=True), after=after)
    sha = session.commit_to_head(pull, git.head, FILES, TEXT)
    assert git.refs["topic"] == sha
    assert git.commits[sha]["parents"] == [{"sha": git.head}]


def test_the_same_run_applied_again_is_the_commit_that_is_there(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    sha = session.commit_to_head(pull, git.head, FILES, TEXT)
    made = len(git.commits)
    assert session.commit_to_head(pull, git.head, FILES, TEXT) == sha
    assert len(git.commits) == made


def test_a_branch_name_with_signs_of_an_address_is_quoted(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    git.refs["topic%231"] = git.head  # the server here does not unquote
    sha = session.commit_to_head(replace(pull, head_ref="topic#1"), git.head, FILES, TEXT)
    assert git.refs == {"topic": git.head, "topic%231": sha}


def test_another_run_on_the_old_head_is_a_conflict(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    session.commit_to_head(pull, git.head, FILES, TEXT)
    with pytest.raises(Conflict):
        session.commit_to_head(pull, git.head, FILES, replace(TEXT, run_id="run-2"))


def test_a_commit_of_the_same_run_on_another_head_is_not_taken_for_ours(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    elsewhere = git.add("Somebody else", [git.head])
    git.refs["topic"] = git.add("Fix the sum\n\nLedex-Run: run-1\n", [elsewhere])
    with pytest.raises(Conflict):
        session.commit_to_head(pull, git.head, FILES, TEXT)


def test_nothing_is_pushed_to_a_fork(server: Server, git: Git, pull: PullRequest, session: RepositorySession) -> None:
    fork = replace(pull, head_repository="mona/calc")
    with pytest.raises(Rejected):
        session.commit_to_head(fork, git.head, FILES, TEXT)
    with pytest.raises(Rejected):
        session.open_stacked(fork, git.head, "abc", FILES, TEXT, "t", "b")
    assert server.requests == []


def test_a_stacked_pull_request_goes_into_the_pull_request_s_branch(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    posted = session.open_stacked(pull, git.head, "abc123", FILES, TEXT, "Fix", "body")
    assert (posted.number, posted.created) == (10, True)
    assert git.pulls[0]["head"]["ref"] == "ledex/5-abc123"
    assert git.pulls[0]["base"]["ref"] == "topic"
    assert git.refs["topic"] == git.head
    assert git.commits[git.refs["ledex/5-abc123"]]["parents"] == [{"sha": git.head}]


def test_the_same_stacked_pull_request_is_opened_once(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    first = session.open_stacked(pull, git.head, "abc", FILES, TEXT, "Fix", "body")
    second = session.open_stacked(pull, git.head, "abc", FILES, TEXT, "Fix", "body")
    assert (second.number, second.created) == (first.number, False)
    assert len(git.pulls) == 1


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("path", [rf"{ROOT}/git/refs", rf"{ROOT}/pulls"])
def test_a_lost_answer_opens_no_second_pull_request(
    path: str, after: bool, server: Server, git: Git, pull: PullRequest, session: RepositorySession
) -> None:
    server.fail("POST", path, Answer(drop=True), after=after)
    session.open_stacked(pull, git.head, "abc", FILES, TEXT, "Fix", "body")
    assert len(git.pulls) == 1
    assert set(git.refs) == {"topic", "ledex/5-abc"}


def test_a_branch_of_ours_with_something_else_in_it_is_not_used(git: Git, pull: PullRequest, session: RepositorySession) -> None:
    git.refs["ledex/5-abc"] = git.add("Somebody else", [git.head])
    with pytest.raises(Conflict, match="ledex/5-abc"):
        session.open_stacked(pull, git.head, "abc", FILES, TEXT, "Fix", "body")
    assert git.pulls == []


def test_no_name_or_subject_can_forge_a_trailer() -> None:
    message = commit_message(CommitText("Fix\n\nLedex-Run: other", "", "run-1", ("Eve\nSigned-off-by: x", "e@x>\nAcked-by: y")))
    assert message.splitlines() == [
        "Fix Ledex-Run: other",
        "",
        "Ledex-Run: run-1",
        "Co-authored-by: Eve Signed-off-by: x <e@x Acked-by: y>",
    ]
