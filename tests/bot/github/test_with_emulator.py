"""The client against the emulator, which holds every request and answer to GitHub's own description and every token to its permissions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.demo.emulator import repositories, script, server
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.faults import Fault
from bot.demo.emulator.state import Annotation as EmulatedAnnotation
from bot.demo.emulator.state import Pull, Repository
from bot.github import Conflict, Forbidden, Rejected
from bot.github.client import GitHub, RepositorySession
from bot.github.deliveries import redeliver_lost
from bot.github.pacing import Clock
from bot.github.protocol import CHECKING, COMMENTING, PUSHING, READING, Button, CheckRun, CommitText, FileChange, ReviewComment
from bot.github.tokens import Credentials
from bot.github.transport import Manners
from bot.runs import Annotation

MARKER = "<!-- ledex:v1 pr:1 -->"
SOURCE: dict[str, str | bytes | None] = {"calc.py": "def add(a, b):\n    return a + b\n", ".github/ledex.toml": "version = 1\n"}
BROKEN: dict[str, str | bytes | None] = {"calc.py": "def add(a, b):\n    return a - b\n"}
FIX = [FileChange("calc.py", b"def add(a, b):\n    return a + b  # fixed\n")]
TEXT = CommitText("Fix the sum", "", "run-1", ("Mona", "mona@users.noreply.github.com"))


@dataclass
class World:
    emulator: Emulator
    github: GitHub
    repository: Repository
    pull: Pull

    def step(self, permissions: Mapping[str, str]) -> RepositorySession:
        installation = self.emulator.state.installation_of(self.repository)
        assert installation is not None
        return self.github.for_step(installation.id, self.repository.id, self.repository.full_name, permissions)


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with server.serve(tmp_path, webhook_url="http://app.invalid/webhook", sender=lambda url, body, headers: (502, {}, "")) as started:
        yield started
        assert started.violations == []


@pytest.fixture
def make(emulator: Emulator) -> Callable[..., World]:
    def world(from_fork: str | None = None) -> World:
        repository = script.add_repository(emulator, "octo/calc", SOURCE, writers=["mona"])
        pull = script.open_pull_request(emulator, repository, "topic", BROKEN, from_fork=from_fork)
        app = emulator.state.app
        manners = Manners(api_url=emulator.at.api, clock=Clock(sleep=lambda seconds: None))
        return World(emulator, GitHub(Credentials(str(app.id), app.private_key), manners), repository, pull)

    return world


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


@pytest.mark.parametrize("from_fork", [None, "mona"])
def test_a_failed_run_leads_to_its_pull_request(from_fork: str | None, make: Callable[..., World]) -> None:
    world = make(from_fork)
    log = script.CiJob(log="FAILED test_calc.py::test_add\n", annotations=(EmulatedAnnotation("calc.py", 2, 2, "failure", "boom"),))
    made = script.fail_run(world.emulator, world.pull, [log], [script.CiArtifact("junit", {"junit.xml": b"<testsuite/>"})])
    with world.step(READING) as session:
        run = session.failed_run(made.id)
        pull = session.resolve_pull_request(run)
        assert session.failed_run_of(run.head_sha) == made.id
        assert session.failed_run_ids(datetime.now(UTC) - timedelta(hours=1)) == [made.id]
    (job,) = run.jobs
    assert "FAILED test_calc.py::test_add" in job.log
    assert [(a.path, a.start_line, a.message) for a in job.annotations] == [("calc.py", 2, "boom")]
    assert [r.name for r in run.reports] == ["junit/junit.xml"]
    assert pull is not None
    assert (pull.number, pull.head_sha, pull.is_fork) == (world.pull.number, run.head_sha, from_fork is not None)


def test_the_suite_of_a_run_is_read_as_another_ci_s_would_be(world: World) -> None:
    made = script.fail_run(world.emulator, world.pull)
    with world.step(READING) as session:
        run = session.failed_suite(made.suite.id)
        assert [job.name for job in run.jobs] == ["test"]
        assert session.resolve_pull_request(run) is not None


@pytest.mark.parametrize("fault", ["drop", "drop_after", "502"])
def test_one_comment_stands_whatever_becomes_of_the_first_answer(fault: str, world: World) -> None:
    world.emulator.faults.once("POST", "comments", Fault(fault))
    with world.step(COMMENTING) as session:
        session.upsert_comment(world.pull.number, MARKER, f"one {MARKER}")
        session.upsert_comment(world.pull.number, MARKER, f"two {MARKER}")
    assert [comment.body for comment in script.comments_of(world.emulator, world.pull)] == [f"two {MARKER}"]


@pytest.mark.parametrize("fault", ["drop", "drop_after"])
def test_one_check_run_stands_with_all_its_annotations_and_buttons(fault: str, world: World) -> None:
    annotations = [Annotation("calc.py", 1, 1, "notice", str(n)) for n in range(60)]
    shown = CheckRun("Fix ready", "summary", "text", "success", annotations, [Button("Apply fix", "Commit the patch", "apply")])
    world.emulator.faults.once("POST", "check-runs", Fault(fault))
    world.emulator.faults.once("PATCH", "check-runs", Fault(fault))
    with world.step(CHECKING) as session:
        session.upsert_check_run(world.pull.head_sha, "run-1", shown)
    (run,) = script.check_runs_of(world.emulator, world.pull)
    assert [a.message for a in run.annotations] == [str(n) for n in range(60)]
    assert run.conclusion == "success"


def test_a_suggestion_inside_the_diff_is_taken_and_one_outside_is_rejected(world: World) -> None:
    suggestion = "```suggestion\n    return a + b\n```"
    with world.step(COMMENTING) as session:
        with pytest.raises(Rejected):
            session.review(1, world.pull.head_sha, MARKER, [ReviewComment("calc.py", 90, 90, suggestion)], MARKER)
        first = session.review(1, world.pull.head_sha, MARKER, [ReviewComment("calc.py", 2, 2, suggestion)], MARKER)
        second = session.review(1, world.pull.head_sha, MARKER, [ReviewComment("calc.py", 2, 2, suggestion)], MARKER)
        assert [file.path for file in session.changed_files(1)] == ["calc.py"]
    assert (second.id, second.created) == (first.id, False)


@pytest.mark.parametrize("fault", [None, "drop_after"])
def test_a_fix_is_committed_on_the_verified_head_only(fault: str | None, world: World) -> None:
    if fault:
        world.emulator.faults.once("PATCH", "git/refs", Fault(fault))
    verified = world.pull.head_sha
    with world.step(PUSHING) as session:
        pull = session.pull_request(1)
        sha = session.commit_to_head(pull, verified, FIX, TEXT)
        assert session.commit_to_head(pull, verified, FIX, TEXT) == sha
        with pytest.raises(Conflict):
            session.commit_to_head(pull, verified, FIX, CommitText("Another", "", "run-2"))
        assert session.file_text("calc.py", sha) == "def add(a, b):\n    return a + b  # fixed\n"
    assert repositories.sha(world.repository.directory, "refs/heads/topic") == sha


@pytest.mark.parametrize("lost", ["git/refs", "/pulls$"])
def test_one_stacked_pull_request_is_opened(lost: str, world: World) -> None:
    world.emulator.faults.once("POST", lost, Fault("drop_after"))
    with world.step(PUSHING) as session:
        pull = session.pull_request(1)
        first = session.open_stacked(pull, pull.head_sha, "abc", FIX, TEXT, "Fix", "body")
        second = session.open_stacked(pull, pull.head_sha, "abc", FIX, TEXT, "Fix", "body")
        assert first.number is not None
        stacked = session.pull_request(first.number)
    assert second.number == first.number
    assert (stacked.head_ref, stacked.base_ref) == ("ledex/1-abc", "topic")


def test_a_step_may_do_nothing_else_than_it_was_given(world: World) -> None:
    with world.step(READING) as session, pytest.raises(Forbidden) as caught:
        session.upsert_comment(1, MARKER, MARKER)
    assert "pull_requests=write" in caught.value.needed


def test_labels_reactions_permissions_policy_and_accounts(world: World) -> None:
    comment = script.comment(world.emulator, world.pull, "/ledex help")
    with world.step(COMMENTING) as session:
        session.add_labels(1, ["ledex"])
        assert session.react(comment.id)
        assert (session.permission("mona"), session.user_id("ghost-of-nobody")) == ("write", None)
        assert session.user_id(world.github.identity().login) == world.emulator.state.app.bot.id
    with world.step(READING) as session:
        policy = session.policy_text(world.pull.base_sha)
        assert session.pull_request(1).labels == frozenset({"ledex"})
    assert policy is not None
    assert policy.text == "version = 1\n"


def test_git_fetches_with_the_token_in_its_environment(world: World, tmp_path: Path) -> None:
    with world.step(READING) as session:
        access = session.git_access()
    subprocess.run(["git", "init", "-q", str(tmp_path / "copy")], check=True)
    fetch = ["git", "-C", str(tmp_path / "copy"), "fetch", "-q", access.url, "refs/pull/1/head"]
    environment = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
    assert subprocess.run(fetch, env=environment, check=False, capture_output=True).returncode != 0
    subprocess.run(fetch, env={**environment, **access.environment}, check=True)
    kept = "".join(path.read_text(errors="replace") for path in (tmp_path / "copy" / ".git").rglob("*") if path.is_file())
    assert "Basic" not in kept


def test_the_app_sees_what_an_installation_gave(world: World) -> None:
    installation = world.emulator.state.installation_of(world.repository)
    assert installation is not None
    assert world.github.repositories(installation.id) == {world.repository.id: "octo/calc"}
    assert world.github.installation_permissions(installation.id)["pull_requests"] == "write"


def test_a_lost_delivery_is_asked_for_again(world: World) -> None:
    script.fail_run(world.emulator, world.pull)
    world.emulator.settle()
    since = datetime.now(UTC) - timedelta(hours=1)
    lost = {delivery.guid for delivery in world.github.deliveries(since)}
    assert lost
    assert set(redeliver_lost(world.github, since, lambda guid: False, datetime.now(UTC))) == lost
    world.emulator.settle()
    assert len(world.github.deliveries(since)) == 2 * len(lost)


def test_tokens_of_the_new_length_work(world: World) -> None:
    world.emulator.long_tokens = True
    with world.step(READING) as session:
        assert session.pull_request(1).number == 1
