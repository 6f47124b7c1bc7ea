"""What people and CI do on the emulated GitHub, as calls: for the demonstration and the tests.

Every function changes the state as GitHub would and sends the webhooks of it; ``emulator.settle()`` waits until they were answered.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.demo.emulator import events, repositories, shapes
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.hosting import Files, add_repository, commit, delete_fork, fork, install
from bot.demo.emulator.rest_pulls import new_pull
from bot.demo.emulator.state import (
    Annotation,
    Artifact,
    CheckRun,
    CheckSuite,
    Comment,
    Job,
    Pull,
    Repository,
    Review,
    ReviewComment,
    Run,
)  # fmt: skip

__all__ = [
    "CiArtifact", "CiJob", "add_repository", "check_runs_of", "close", "comment", "comments_of", "commit", "delete_fork", "edit_comment",
    "fail_run", "fail_suite", "fork", "install", "open_pull_request", "press_button", "push", "reopen", "rerequest", "review_comment",
    "set_draft", "set_label", "uninstall",
]  # fmt: skip


@dataclass(frozen=True)
class CiJob:
    """A job to come out of a run. ``steps`` are (name, conclusion); ``log`` None: GitHub has it no more."""

    name: str = "test"
    log: str | None = ""
    conclusion: str = "failure"
    annotations: tuple[Annotation, ...] = ()
    steps: tuple[tuple[str, str], ...] = (("Set up job", "success"), ("Run tests", "failure"))


@dataclass(frozen=True)
class CiArtifact:
    """``files`` are zipped; ``expired`` ones answer 410."""

    name: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    expired: bool = False


def push(
    emulator: Emulator,
    repository: Repository,
    branch: str,
    files: Files,
    *,
    by: str = "octocat",
    message: str = "Change",
    base: str | None = None,
) -> str:
    """A person pushes a commit: ``push`` and, on the head of an open pull request, ``synchronize`` are sent. The new SHA."""
    with emulator.state.lock:
        before = repositories.sha(repository.directory, f"refs/heads/{branch}")
        after = commit(emulator, repository, branch, files, message=message, base=base)
        events.branch_moved(emulator, repository, branch, before, after, emulator.state.user(by))
        return after


def open_pull_request(
    emulator: Emulator,
    repository: Repository,
    head_branch: str,
    files: Files | None = None,
    *,
    from_fork: str | None = None,
    base: str | None = None,
    title: str = "A change",
    body: str | None = None,
    author: str = "octocat",
    draft: bool = False,
) -> Pull:
    """Open a pull request from ``head_branch``, which ``files`` make a commit on first. ``from_fork`` is the login of the fork's owner."""
    state = emulator.state
    with state.lock:
        where = fork(emulator, repository, from_fork) if from_fork else repository
        base_ref = base or repository.default_branch
        if files is not None:
            commit(emulator, where, head_branch, files, message=title, base=base_ref)
        head, tip = (repositories.sha(one.directory, f"refs/heads/{name}") for one, name in ((where, head_branch), (repository, base_ref)))
        if head is None or tip is None:
            raise ValueError(f"there is no branch {head_branch if head is None else base_ref!r}; give files to make it")
        pull = new_pull(state, repository, where, head_branch, head, base_ref, tip)
        pull.title, pull.body, pull.author, pull.draft = title, body, state.user(from_fork or author), draft
        events.publish_head(pull)
        events.pull_request(emulator, "opened", pull, pull.author)
        return pull


def fail_run(
    emulator: Emulator,
    pull: Pull,
    jobs: Sequence[CiJob] = (CiJob(),),
    artifacts: Sequence[CiArtifact] = (),
    *,
    conclusion: str = "failure",
    workflow: str = "CI",
    event: str = "pull_request",
    head_sha: str | None = None,
    attempt: int = 1,
) -> Run:
    """A workflow run on the pull request's head (or ``head_sha``) ends with ``conclusion``: suite, check runs and jobs come to be.

    Sends ``check_run`` (completed) for each job, ``check_suite`` (completed) and ``workflow_run`` (completed).
    """
    state = emulator.state
    with state.lock:
        now, where = state.clock(), pull.repository
        commit_sha = head_sha or pull.head_sha
        suite = CheckSuite(state.new_id(), where, commit_sha, pull.head_ref, "actions", now, now, "completed", conclusion)
        path = f".github/workflows/{workflow.lower().replace(' ', '-')}.yml"
        number = 1 + sum(one.repository is where for one in state.runs.values())
        run = Run(state.new_id(), suite, where, pull.head_repository, workflow, path, event, number, pull.author, now, now, attempt)
        state.suites[suite.id], state.runs[run.id] = suite, run
        for one in jobs:
            check = CheckRun(state.new_id(), suite, one.name, "completed", one.conclusion, started=now, completed=now)
            check.annotations = list(one.annotations)
            state.check_runs[check.id] = check
            # GitHub gives a job and its check run the same number.
            state.jobs[check.id] = Job(check.id, run, check, list(one.steps), None if one.log is None else one.log.encode())
            check.details_url = f"{emulator.at.page(where)}/actions/runs/{run.id}/job/{check.id}"
            events.check_run(emulator, "completed", check, pull.author)
        for entry in artifacts:
            kept = Artifact(state.new_id(), run, entry.name, _zip(entry.files), now, entry.expired)
            state.artifacts[kept.id] = kept
        events.check_suite(emulator, "completed", suite, pull.author)
        events.workflow_run(emulator, "completed", run, pull.author)
        return run


def fail_suite(emulator: Emulator, pull: Pull, jobs: Sequence[CiJob] = (CiJob(),), *, conclusion: str = "failure") -> CheckSuite:
    """A CI that is not GitHub Actions reports failures: a suite of another App with check runs, and no logs. Sends the checks' webhooks."""
    state = emulator.state
    with state.lock:
        now = state.clock()
        branch = None if pull.is_fork else pull.head_ref
        suite = CheckSuite(state.new_id(), pull.repository, pull.head_sha, branch, "other", now, now, "completed", conclusion)
        state.suites[suite.id] = suite
        for one in jobs:
            check = CheckRun(state.new_id(), suite, one.name, "completed", one.conclusion, started=now, completed=now, text=one.log)
            check.annotations = list(one.annotations)
            state.check_runs[check.id] = check
            events.check_run(emulator, "completed", check, pull.author)
        events.check_suite(emulator, "completed", suite, pull.author)
        return suite


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def close(emulator: Emulator, pull: Pull, *, by: str | None = None, merge: bool = False) -> None:
    """Close, or merge (a merge commit on the base branch): ``pull_request`` closed, and ``push`` for a merge."""
    state = emulator.state
    with state.lock:
        now, sender = state.clock(), state.user(by) if by else pull.author
        pull.state, pull.closed, pull.updated = "closed", now, now
        before = None
        if merge:
            directory = pull.repository.directory
            before = pull.base_sha
            tree = repositories.git(directory, "merge-tree", "--write-tree", pull.base_sha, pull.head_sha).decode().split()[0]
            text = f"Merge pull request #{pull.number} from {pull.head_ref}"
            parents = ("-p", pull.base_sha, "-p", pull.head_sha)
            pull.merge_sha = repositories.git(directory, "commit-tree", tree, *parents, "-m", text).decode().strip()
            pull.merged = now
            repositories.set_ref(directory, f"refs/heads/{pull.base_ref}", pull.merge_sha)
        events.pull_request(emulator, "closed", pull, sender)
        if merge:
            events.branch_moved(emulator, pull.repository, pull.base_ref, before, pull.merge_sha, sender)


def reopen(emulator: Emulator, pull: Pull) -> None:
    with emulator.state.lock:
        pull.state, pull.closed, pull.updated = "open", None, emulator.state.clock()
        events.pull_request(emulator, "reopened", pull, pull.author)


def set_draft(emulator: Emulator, pull: Pull, draft: bool) -> None:
    with emulator.state.lock:
        pull.draft, pull.updated = draft, emulator.state.clock()
        events.pull_request(emulator, "converted_to_draft" if draft else "ready_for_review", pull, pull.author)


def uninstall(emulator: Emulator, repository: Repository) -> None:
    """The owner removes the App from the whole account: its tokens die, and ``installation`` deleted is sent."""
    state = emulator.state
    with state.lock:
        gone = state.installation_of(repository)
        if gone is not None:
            del state.installations[gone.id]
            state.tokens = {value: token for value, token in state.tokens.items() if token.installation is not gone}
            events.installation(emulator, "deleted", gone, repository.owner)


def set_label(emulator: Emulator, pull: Pull, name: str, *, on: bool = True, by: str = "octocat") -> None:
    with emulator.state.lock:
        pull.labels = [one for one in pull.labels if one != name] + ([name] if on else [])
        label = shapes.label(emulator.at, pull.repository, name)
        events.pull_request(emulator, "labeled" if on else "unlabeled", pull, emulator.state.user(by), label=label)


def comment(emulator: Emulator, pull: Pull, body: str, *, by: str = "octocat") -> Comment:
    """A person comments on the conversation."""
    state = emulator.state
    with state.lock:
        now = state.clock()
        made = Comment(state.new_id(), pull, state.user(by), body, now, now)
        state.comments[made.id] = made
        events.issue_comment(emulator, "created", made, made.author)
        return made


def edit_comment(emulator: Emulator, one: Comment, body: str, *, by: str = "octocat") -> None:
    """A person edits a comment (or ticks a box in it)."""
    with emulator.state.lock:
        before, one.body, one.updated = one.body, body, emulator.state.clock()
        events.issue_comment(emulator, "edited", one, emulator.state.user(by), changes={"body": {"from": before}})


def review_comment(
    emulator: Emulator, pull: Pull, body: str, path: str, line: int, *, by: str = "octocat", reply_to: int | None = None
) -> ReviewComment:
    """A person comments on a line of the diff."""
    state = emulator.state
    with state.lock:
        review = Review(state.new_id(), pull, state.user(by), "", "COMMENTED", pull.head_sha, state.clock())
        state.reviews.append(review)
        where = (path, line, None, "RIGHT", pull.head_sha, state.clock(), reply_to)
        made = ReviewComment(state.new_id(), review, pull, review.author, body, *where)
        state.review_comments[made.id] = made
        events.review_comment(emulator, made, made.author)
        return made


def press_button(emulator: Emulator, check_run: CheckRun, identifier: str, *, by: str = "octocat") -> None:
    """``requested_action``. Raises ValueError where the check run shows no such button (they show once it is completed)."""
    if check_run.status != "completed" or identifier not in {one["identifier"] for one in check_run.actions}:
        raise ValueError(f"the check run {check_run.name!r} shows no button {identifier!r}")
    with emulator.state.lock:
        sender = emulator.state.user(by)
        events.check_run(emulator, "requested_action", check_run, sender, requested_action={"identifier": identifier})


def rerequest(emulator: Emulator, check_run: CheckRun, *, by: str = "octocat") -> None:
    """Somebody presses Re-run on the App's check run."""
    with emulator.state.lock:
        events.check_run(emulator, "rerequested", check_run, emulator.state.user(by))


def comments_of(emulator: Emulator, pull: Pull) -> list[Comment]:
    """What stands on the conversation now, oldest first."""
    with emulator.state.lock:
        return [one for one in emulator.state.comments.values() if one.pull is pull]


def check_runs_of(emulator: Emulator, pull: Pull, name: str = "ledex") -> list[CheckRun]:
    """The App's check runs of that name on the pull request's head, oldest first."""
    with emulator.state.lock:
        own = [one for one in emulator.state.check_runs.values() if one.suite.app == "ours" and one.name == name]
        return [one for one in own if one.suite.repository is pull.repository and one.suite.head_sha == pull.head_sha]
