"""What is read of a failed run and its pull request, forks too."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.github import Unavailable
from bot.github.access import PAUSES
from bot.github.client import GitHub, RepositorySession
from bot.github.downloads import download_ends, download_whole
from bot.runs import Annotation, FailedRun, Step
from tests.bot.github.conftest import Time
from tests.bot.github.server import INSTALLATION, REPOSITORY, REPOSITORY_ID, Answer, Request, Server, serving

ROOT = rf"/repos/{REPOSITORY}"
SHA, OTHER = "a" * 40, "b" * 40
RUN = FailedRun(REPOSITORY, REPOSITORY_ID, INSTALLATION, 100, 1, "CI", "pull_request", SHA, "topic", "failure")


def pull(number: int, *, sha: str = SHA, state: str = "open", base: int = REPOSITORY_ID, fork: str | None = "mona/calc") -> dict[str, Any]:
    return {
        "url": f"{ROOT}/pulls/{number}",
        "number": number,
        "state": state,
        "title": "Add",
        "draft": False,
        "merged": False,
        "maintainer_can_modify": True,
        "user": {"id": 1, "login": "mona", "type": "User", "url": "/users/mona"},
        "labels": [{"name": "bug"}],
        "head": {"sha": sha, "ref": "topic", "repo": {"id": 50, "full_name": fork} if fork else None},
        "base": {"sha": OTHER, "ref": "main", "repo": {"id": base, "full_name": REPOSITORY}},
    }


class Pulls:
    """The open pull requests of the server; like GitHub, the list filters by ``head=OWNER:BRANCH``."""

    def __init__(self, server: Server) -> None:
        self.all: list[dict[str, Any]] = []
        server.on("GET", rf"{ROOT}/pulls/\d+", self.one)
        server.on("GET", rf"{ROOT}/pulls", self.listed)

    def one(self, request: Request) -> Answer:
        found = [p for p in self.all if p["number"] == int(request.path.rsplit("/", 1)[1])]
        return Answer(body=found[0]) if found else Answer(404, {"message": "Not Found"})

    def listed(self, request: Request) -> Answer:
        head = request.query.get("head")
        listed = [
            p
            for p in self.all
            if p["state"] == "open" and head in (None, f"{(p['head']['repo'] or {}).get('full_name', '/').split('/')[0]}:topic")
        ]
        short = [{k: v for k, v in p.items() if k not in ("merged", "maintainer_can_modify")} for p in listed]
        return Answer(body=short)


@pytest.fixture
def pulls(server: Server) -> Pulls:
    server.on("GET", rf"{ROOT}/actions/runs/100", lambda r: Answer(body={"id": 100, "head_repository": {"owner": {"login": "mona"}}}))
    return Pulls(server)


def test_a_pull_request_of_a_fork_is_read_whole(pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(5)]
    read = session.pull_request(5)
    assert (read.number, read.head_sha, read.base_sha, read.repository_id) == (5, SHA, OTHER, REPOSITORY_ID)
    assert (read.is_fork, read.head_repository, read.labels, read.maintainer_can_modify) == (True, "mona/calc", frozenset({"bug"}), True)


def test_a_deleted_fork_is_none(pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(5, fork=None)]
    assert session.pull_request(5).head_repository is None


def test_our_own_table_is_asked_first(server: Server, pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(5)]
    resolved = session.resolve_pull_request(RUN, known=lambda sha: [5] if sha == SHA else [])
    assert resolved is not None
    assert server.seen("GET", rf"{ROOT}/pulls") == []


def test_a_stale_row_of_our_table_does_not_mislead(pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(4, sha=OTHER), pull(5), pull(3, state="closed")]
    resolved = session.resolve_pull_request(RUN, known=lambda sha: [99, 3, 4])
    assert resolved is not None
    assert resolved.number == 5


def test_a_fork_s_pull_request_is_found_by_owner_and_branch(server: Server, pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(4, sha=OTHER), pull(5)]
    resolved = session.resolve_pull_request(RUN, head_owner="mona")
    assert resolved is not None
    assert resolved.number == 5
    assert [r.query["head"] for r in server.seen("GET", rf"{ROOT}/pulls")] == ["mona:topic"]


def test_the_owner_is_asked_for_when_the_event_did_not_tell(server: Server, pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(5)]
    assert session.resolve_pull_request(RUN) is not None
    assert [r.query["head"] for r in server.seen("GET", rf"{ROOT}/pulls")] == ["mona:topic"]


def test_without_a_branch_the_open_pull_requests_are_walked(server: Server, pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [pull(4, sha=OTHER), pull(5)]
    run = FailedRun(REPOSITORY, REPOSITORY_ID, INSTALLATION, 1, 1, "other", "check_suite", SHA, None, "failure", is_actions=False)
    resolved = session.resolve_pull_request(run)
    assert resolved is not None
    assert resolved.number == 5
    assert "head" not in server.seen("GET", rf"{ROOT}/pulls")[0].query


@pytest.mark.parametrize("wrong", [pull(5, sha=OTHER), pull(5, state="closed"), pull(5, base=43)])
def test_no_pull_request_is_taken_that_is(wrong: dict[str, Any], pulls: Pulls, session: RepositorySession) -> None:
    pulls.all = [wrong]
    assert session.resolve_pull_request(RUN, head_owner="mona", known=lambda sha: [5]) is None


@pytest.fixture
def store() -> Iterator[Server]:
    """Another host, as GitHub's store for logs and artifacts is."""
    with serving(Server()) as started:
        yield started


def zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/") + ".xml", content)
    return packed.getvalue()


class Runs:
    """One failed run with a failed and a passed job, annotations, and an artifact."""

    def __init__(self, server: Server, store: Server) -> None:
        self.run: dict[str, Any] = {
            "id": 100, "name": "CI", "event": "pull_request", "head_sha": SHA, "head_branch": "topic", "conclusion": "failure",
            "run_attempt": 2, "html_url": "https://github.com/octo/calc/actions/runs/100",
        }  # fmt: skip
        jobs = [
            {"id": 7, "name": "test (3.12)", "conclusion": "failure", "check_run_url": f"{server.url}{ROOT}/check-runs/700",
             "steps": [{"number": 1, "name": "pytest", "conclusion": "failure"}]},
            {"id": 8, "name": "lint", "conclusion": "success", "check_run_url": f"{server.url}{ROOT}/check-runs/800", "steps": []},
        ]  # fmt: skip
        annotation = {"path": "a.py", "start_line": 3, "end_line": 4, "annotation_level": "failure", "message": "boom", "title": None}
        self.artifacts = [{"id": 1, "name": "junit", "size_in_bytes": 500, "expired": False}]
        away = Answer(302, headers={"Location": f"{store.url.replace('127.0.0.1', 'localhost')}/log?sig=abc"})
        self.log = b"line one\nline two\n"
        server.on("GET", rf"{ROOT}/actions/runs/100", lambda r: Answer(body=self.run))
        server.on("GET", rf"{ROOT}/actions/runs/100/jobs", lambda r: Answer(body={"total_count": 2, "jobs": jobs}))
        server.on("GET", rf"{ROOT}/actions/runs/100/artifacts", lambda r: Answer(body={"artifacts": self.artifacts}))
        server.on("GET", rf"{ROOT}/check-runs/700/annotations", lambda r: Answer(body=[annotation]))
        server.on("GET", rf"{ROOT}/actions/jobs/7/logs", lambda r: away)
        server.on("GET", rf"{ROOT}/actions/artifacts/1/zip", lambda r: Answer(302, headers={"Location": f"{store.url}/zip"}))
        store.on("GET", "/log", lambda r: Answer(400 if "authorization" in r.headers else 200, self.log))
        store.on("GET", "/zip", lambda r: Answer(body=zipped(out__junit=b"<testsuites/>", coverage=b"<coverage/>")))


@pytest.fixture
def runs(server: Server, store: Server) -> Runs:
    return Runs(server, store)


@pytest.mark.usefixtures("runs")
def test_a_failed_run_is_read_with_its_failed_jobs_logs_annotations_and_reports(session: RepositorySession) -> None:
    run = session.failed_run(100)
    assert (run.attempt, run.workflow, run.head_sha, run.conclusion, run.installation_id) == (2, "CI", SHA, "failure", INSTALLATION)
    (job,) = run.jobs
    assert (job.name, job.check_run_id, job.steps) == ("test (3.12)", 700, (Step(1, "pytest", "failure"),))
    assert job.annotations == (Annotation("a.py", 3, 4, "failure", "boom"),)
    assert (job.log, job.log_truncated) == ("line one\nline two\n", False)
    assert [(r.name, r.content) for r in run.reports] == [("junit/out/junit.xml", b"<testsuites/>")]


@pytest.mark.usefixtures("runs")
def test_the_store_gets_no_credential_of_ours_nor_of_the_machine(
    server: Server, store: Server, session: RepositorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login root password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session.failed_run(100)
    assert len(store.requests) == 2
    assert not any("authorization" in request.headers for request in store.requests)
    assert all("authorization" in request.headers for request in server.requests)


def test_a_run_that_passes_by_now_has_no_jobs(server: Server, runs: Runs, session: RepositorySession) -> None:
    runs.run["conclusion"] = "success"
    assert session.failed_run(100).jobs == ()
    assert server.seen("GET", rf"{ROOT}/actions/runs/100/jobs") == []


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_run_without_logs_annotations_and_artifacts_is_still_a_run(
    status: int, server: Server, session: RepositorySession, time_: Time
) -> None:
    for path in (rf"{ROOT}/actions/jobs/7/logs", rf"{ROOT}/check-runs/700/annotations", rf"{ROOT}/actions/artifacts/1/zip"):
        server.on("GET", path, lambda r: Answer(status, {"message": "gone"}))
    run = session.failed_run(100)
    assert [(job.log, job.annotations) for job in run.jobs] == [("", ())]
    assert run.reports == ()
    assert time_.slept == (list(PAUSES) if status == 403 else [])  # not for each thing that is withheld


@pytest.mark.usefixtures("runs")
def test_a_log_that_was_refused_once_is_asked_for_again(server: Server, session: RepositorySession) -> None:
    for path in (rf"{ROOT}/actions/jobs/7/logs", rf"{ROOT}/check-runs/700/annotations", rf"{ROOT}/actions/artifacts/1/zip"):
        server.fail("GET", path, Answer(403, {"message": "no"}))
    run = session.failed_run(100)
    assert run.jobs[0].log
    assert run.jobs[0].annotations
    assert run.reports


def test_an_expired_artifact_is_not_asked_for(server: Server, runs: Runs, session: RepositorySession) -> None:
    runs.artifacts[0]["expired"] = True
    assert session.failed_run(100).reports == ()
    assert server.seen("GET", rf"{ROOT}/actions/artifacts/.*") == []


def test_a_long_log_keeps_its_beginning_and_its_end(runs: Runs, session: RepositorySession) -> None:
    runs.log = b"begin" + b"x" * 1_000_000 + b"end of log"
    got = download_ends(session.requester, f"{ROOT}/actions/jobs/7/logs", cap=1000)
    assert got is not None
    assert got.text().startswith("begin")
    assert got.text().endswith("end of log")
    assert len(got.head) + len(got.tail) == 1000
    assert got.left_out == len(runs.log) - 1000


@pytest.mark.usefixtures("runs")
def test_an_artifact_larger_than_asked_for_is_not_taken(store: Server, session: RepositorySession) -> None:
    store.on("GET", "/zip", lambda r: Answer(body=b"x" * 5000))
    assert download_whole(session.requester, f"{ROOT}/actions/artifacts/1/zip", cap=4999) is None
    assert download_whole(session.requester, f"{ROOT}/actions/artifacts/1/zip", cap=5000) == b"x" * 5000


@pytest.mark.usefixtures("runs")
def test_a_dropped_download_asks_for_a_new_address(server: Server, store: Server, session: RepositorySession) -> None:
    store.fail("GET", "/log", Answer(drop=True))
    assert session.failed_run(100).jobs[0].log == "line one\nline two\n"
    assert len(server.seen("GET", rf"{ROOT}/actions/jobs/7/logs")) == 2


@pytest.mark.usefixtures("runs")
def test_a_store_that_stays_silent_is_an_error(store: Server, session: RepositorySession, time_: Time) -> None:
    store.fail("GET", "/log", Answer(drop=True), times=9)
    with pytest.raises(Unavailable):
        session.failed_run(100)
    assert len(store.requests) == 4


def test_another_ci_is_read_by_its_check_suite(server: Server, session: RepositorySession) -> None:
    suite = {"id": 9, "head_sha": SHA, "head_branch": None, "conclusion": "failure", "app": {"name": "Other CI"}}
    output = {"title": "1 failed", "summary": "test_add", "text": None, "annotations_count": 0}
    failed = [
        {"id": 90, "name": "unit", "conclusion": "failure", "output": output},
        {"id": 91, "name": "ok", "conclusion": "success", "output": {}},
    ]
    server.on("GET", rf"{ROOT}/check-suites/9", lambda r: Answer(body=suite))
    server.on("GET", rf"{ROOT}/check-suites/9/check-runs", lambda r: Answer(body={"check_runs": failed}))
    run = session.failed_suite(9)
    assert (run.is_actions, run.workflow, run.head_branch) == (False, "Other CI", None)
    assert [(job.name, job.log, job.check_run_id) for job in run.jobs] == [("unit", "1 failed\ntest_add", 90)]


def test_failed_runs_since_a_moment_are_listed_oldest_first(server: Server, session: RepositorySession) -> None:
    events = {4: "pull_request", 3: "schedule", 2: "pull_request", 1: "pull_request"}
    listed = [{"id": n, "event": event, "created_at": f"2026-01-0{n}T00:00:00Z"} for n, event in events.items()]
    server.on("GET", rf"{ROOT}/actions/runs", lambda r: Answer(body={"workflow_runs": listed}))
    assert session.failed_run_ids(datetime(2026, 1, 2, tzinfo=UTC)) == [2, 4]


def test_the_newest_failed_run_of_a_commit_is_found(server: Server, session: RepositorySession) -> None:
    listed = [{"id": 5, "head_sha": SHA}, {"id": 7, "head_sha": SHA}, {"id": 9, "head_sha": OTHER}]
    server.on("GET", rf"{ROOT}/actions/runs", lambda r: Answer(body={"workflow_runs": listed}))
    assert (session.failed_run_of(SHA), session.failed_run_of("c" * 40)) == (7, None)


def contents(text: str) -> Answer:
    return Answer(body={"type": "file", "encoding": "base64", "size": len(text), "content": base64.encodebytes(text.encode()).decode()})


@pytest.mark.parametrize("path", [".github/ledex.toml", ".ledex.toml"])
def test_the_policy_is_read_at_the_base_commit(path: str, server: Server, session: RepositorySession) -> None:
    server.on("GET", rf"{ROOT}/contents/{path}", lambda r: contents("version = 1") if r.query.get("ref") == OTHER else Answer(404, {}))
    policy = session.policy_text(OTHER)
    assert policy is not None
    assert (policy.text, policy.origin) == ("version = 1", f"{REPOSITORY}:{path}@{OTHER[:12]}")


@pytest.mark.parametrize(("answer", "text"), [(contents("version = 1"), "version = 1"), (Answer(403, {"message": "no"}), None)])
def test_the_organisation_s_policy_is_read_where_it_can_be(
    answer: Answer, text: str | None, server: Server, session: RepositorySession
) -> None:
    server.on("GET", r"/repos/octo/\.github/contents/.github/ledex.toml", lambda r: answer)
    policy = session.policy_text(OTHER)
    assert (policy.text if policy else None) == text


def test_a_folder_in_the_place_of_the_policy_is_none(server: Server, session: RepositorySession) -> None:
    server.on("GET", rf"{ROOT}/contents/.*", lambda r: Answer(body=[{"type": "file"}]))
    assert session.policy_text(OTHER) is None


def test_the_permission_of_a_stranger_is_none(server: Server, session: RepositorySession) -> None:
    server.on("GET", rf"{ROOT}/collaborators/mona/permission", lambda r: Answer(body={"permission": "write"}))
    assert (session.permission("mona"), session.permission("stranger")) == ("write", "none")


def test_a_login_cannot_leave_its_place_in_the_address(server: Server, session: RepositorySession) -> None:
    assert session.permission("../../../app") == "none"
    assert all(request.path.startswith(ROOT) for request in server.requests if request.method == "GET")


def test_changed_files_keep_their_hunks(server: Server, session: RepositorySession) -> None:
    listed = [
        {"filename": "b.py", "previous_filename": "a.py", "status": "renamed", "patch": "@@ -1 +1 @@", "additions": 1, "deletions": 1}
    ]
    server.on("GET", rf"{ROOT}/pulls/5/files", lambda r: Answer(body=[*listed, {"filename": "x.png", "status": "added"}]))
    first, second = session.changed_files(5)
    assert (first.path, first.previous_path, first.patch) == ("b.py", "a.py", "@@ -1 +1 @@")
    assert second.patch is None


def test_a_session_is_closed_after_its_step(github: GitHub, pulls: Pulls) -> None:
    pulls.all = [pull(5)]
    with github.for_step(INSTALLATION, REPOSITORY_ID, REPOSITORY, {}) as session:
        session.pull_request(5)
