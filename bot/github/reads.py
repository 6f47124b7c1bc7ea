"""What one step reads of its repository, as plain values."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from github.Repository import Repository

from bot.github import Forbidden, NotFound
from bot.github.access import RepositoryAccess
from bot.github.artifacts import Artifact, Caps, read_reports, worth_reading
from bot.github.downloads import download_ends, download_whole
from bot.github.protocol import ChangedFile, PolicyText
from bot.github.values import annotation_of, changed_file_of, head_owner_of, number_at_end, pull_request_of, text_of
from bot.runs import Annotation, FailedRun, Job, PullRequest, Report, Step

FAILED = frozenset({"failure", "timed_out", "startup_failure"})
LOG_CAP_BYTES = 4_000_000
MOST_JOBS_READ = 30
"""Of one run. A matrix of hundreds fails alike; the first ones tell it."""
MOST_ANNOTATIONS = 200
MOST_OPEN_WALKED = 1_000
MOST_RUNS_LISTED = 1_000
_POLICY_PATHS = (".github/ledex.toml", ".ledex.toml")
"""The first that exists; else the organisation's, at the first of these in its ``.github`` repository."""
T = TypeVar("T")


class Reads(RepositoryAccess):
    @property
    def _repository(self) -> Repository:
        return Repository(self.requester, url=f"/repos/{self.repository}")

    # Pull requests

    def pull_request(self, number: int) -> PullRequest:
        return pull_request_of(self._repository.get_pull(number).complete())

    def resolve_pull_request(
        self, run: FailedRun, *, head_owner: str | None = None, known: Callable[[str], Iterable[int]] = lambda sha: ()
    ) -> PullRequest | None:
        for number in known(run.head_sha):
            try:
                pull_request = self.pull_request(number)
            except NotFound:
                continue
            if self._is_open_head(pull_request, run.head_sha):
                return pull_request
        if head_owner is None and run.is_actions:
            head_owner = head_owner_of(self._repository.get_workflow_run(run.id).complete())
        if head_owner and run.head_branch:
            found = self._open_with_head(run.head_sha, head=f"{head_owner}:{run.head_branch}")
            if found is not None:
                return found
        return self._open_with_head(run.head_sha)

    def _open_with_head(self, head_sha: str, **narrowed: str) -> PullRequest | None:
        """Of several onto different branches the oldest."""
        listed = self._repository.get_pulls(state="open", **narrowed)
        numbers = sorted(p.number for p in first(listed, MOST_OPEN_WALKED) if p.head.sha == head_sha)
        for number in numbers:
            pull_request = self.pull_request(number)  # a list leaves fields out, and may be older than the truth
            if self._is_open_head(pull_request, head_sha):
                return pull_request
        return None

    def _is_open_head(self, pull_request: PullRequest, head_sha: str) -> bool:
        return pull_request.state == "open" and pull_request.head_sha == head_sha and pull_request.repository_id == self.repository_id

    def changed_files(self, number: int) -> tuple[ChangedFile, ...]:
        return tuple(changed_file_of(file) for file in self._list(f"pulls/{number}/files"))

    # Runs

    def failed_run(self, run_id: int) -> FailedRun:
        run = self._repository.get_workflow_run(run_id).complete()
        conclusion = run.conclusion or ""
        jobs: tuple[Job, ...] = ()
        reports: tuple[Report, ...] = ()
        if conclusion in FAILED:
            listed = self._list(f"actions/runs/{run_id}/jobs", "jobs", filter="latest")
            jobs = tuple(self._job(job) for job in first((j for j in listed if j.get("conclusion") in FAILED), MOST_JOBS_READ))
            reports = self._reports(run_id)
        return FailedRun(
            repository=self.repository,
            repository_id=self.repository_id,
            installation_id=self.installation_id,
            id=run_id,
            attempt=run.run_attempt or 1,
            workflow=run.name or "",
            event=run.event or "",
            head_sha=run.head_sha,
            head_branch=run.head_branch or None,
            conclusion=conclusion,
            url=run.html_url or "",
            jobs=jobs,
            reports=reports,
        )

    def _job(self, data: dict[str, Any]) -> Job:
        check_run_id = number_at_end(data.get("check_run_url"))
        log_path = self._path(f"actions/jobs/{data['id']}/logs")
        log = self._readable(lambda: download_ends(self.requester, log_path, cap=LOG_CAP_BYTES), None)
        return Job(
            id=data["id"],
            name=data["name"],
            conclusion=data["conclusion"],
            check_run_id=check_run_id,
            steps=tuple(Step(s["number"], s["name"], s.get("conclusion")) for s in data.get("steps") or ()),
            annotations=self._annotations(check_run_id) if check_run_id else (),
            log=log.text() if log else "",
            log_truncated=log is not None and not log.whole,
        )

    def _annotations(self, check_run_id: int) -> tuple[Annotation, ...]:
        path = f"check-runs/{check_run_id}/annotations"
        return self._readable(lambda: tuple(annotation_of(a) for a in first(self._list(path), MOST_ANNOTATIONS)), ())

    def _reports(self, run_id: int) -> tuple[Report, ...]:
        caps = Caps()
        data = self._read(f"actions/runs/{run_id}/artifacts", {"per_page": 100})
        listed = [Artifact(a["id"], a["name"], a["size_in_bytes"], bool(a["expired"])) for a in data.get("artifacts") or ()]
        reports: list[Report] = []
        for artifact in worth_reading(listed, caps):
            path = self._path(f"actions/artifacts/{artifact.id}/zip")
            archive = self._readable(lambda path=path: download_whole(self.requester, path, cap=caps.artifact_bytes), None)  # type: ignore[misc]
            if archive:
                reports.extend(read_reports(archive, artifact.name, caps))
        return tuple(reports)

    def failed_suite(self, suite_id: int) -> FailedRun:
        suite = self._read(f"check-suites/{suite_id}")
        conclusion = suite.get("conclusion") or ""
        jobs: tuple[Job, ...] = ()
        if conclusion in FAILED:
            listed = self._list(f"check-suites/{suite_id}/check-runs", "check_runs", filter="latest")
            failed = first((r for r in listed if r.get("conclusion") in FAILED), MOST_JOBS_READ)
            jobs = tuple(self._job_of_check_run(run) for run in failed)
        return FailedRun(
            repository=self.repository,
            repository_id=self.repository_id,
            installation_id=self.installation_id,
            id=suite_id,
            attempt=1,
            workflow=(suite.get("app") or {}).get("name") or "",
            event="check_suite",
            head_sha=suite["head_sha"],
            head_branch=suite.get("head_branch") or None,
            conclusion=conclusion,
            is_actions=False,
            jobs=jobs,
        )

    def _job_of_check_run(self, data: dict[str, Any]) -> Job:
        output = data.get("output") or {}
        said = "\n".join(part for part in (output.get("title"), output.get("summary"), output.get("text")) if part)
        annotations = self._annotations(data["id"]) if output.get("annotations_count", 1) else ()
        return Job(
            id=data["id"], name=data["name"], conclusion=data["conclusion"], check_run_id=data["id"], annotations=annotations, log=said
        )

    def failed_run_ids(self, since: datetime) -> list[int]:
        found = []
        # Newest first. GitHub's `created` filter would do, but its description and its manual disagree on the form.
        for run in first(self._list("actions/runs", "workflow_runs", status="failure"), MOST_RUNS_LISTED):
            if datetime.fromisoformat(run["created_at"]) < since:
                break
            if run["event"] in ("pull_request", "pull_request_target", "push"):
                found.append(run["id"])
        return sorted(found)

    def failed_run_of(self, head_sha: str) -> int | None:
        runs = self._list("actions/runs", "workflow_runs", head_sha=head_sha, status="failure")
        return max((run["id"] for run in first(runs, MOST_RUNS_LISTED) if run["head_sha"] == head_sha), default=None)

    # Files and people

    def file_text(self, path: str, ref: str) -> str | None:
        return self._file_text(self.repository, path, ref)

    def _file_text(self, repository: str, path: str, ref: str | None) -> str | None:
        try:
            _, data = self.requester.requestJsonAndCheck(
                "GET", f"/repos/{repository}/contents/{urllib.parse.quote(path)}", {"ref": ref} if ref else None
            )
        except NotFound:
            return None
        return text_of(data)

    def policy_text(self, base_sha: str) -> PolicyText | None:
        for path in _POLICY_PATHS:
            text = self.file_text(path, base_sha)
            if text is not None:
                return PolicyText(text, f"{self.repository}:{path}@{base_sha[:12]}")
        shared = f"{self.repository.split('/')[0]}/.github"
        if shared == self.repository:
            return None
        text = self._readable(lambda: self._file_text(shared, _POLICY_PATHS[0], None), None)
        return None if text is None else PolicyText(text, f"{shared}:{_POLICY_PATHS[0]}")

    def permission(self, login: str) -> str:
        try:
            return self._repository.get_collaborator_permission(login)
        except NotFound:
            return "none"

    def user_id(self, login: str) -> int | None:
        try:
            return int(self.requester.requestJsonAndCheck("GET", f"/users/{urllib.parse.quote(login, safe='')}")[1]["id"])
        except NotFound:
            return None

    def _readable(self, read: Callable[[], T], otherwise: T) -> T:
        """Logs, annotations and reports are worth having and may be gone or withheld; the run is known without them. A 403 may be a hiccup,
        and a failure without its log is not worked on, so it is asked again: until the session has waited ``PAUSES`` in all, for where a
        permission is missing everything is withheld."""
        while True:
            try:
                return read()
            except NotFound:
                return otherwise
            except Forbidden:
                if not self._pauses:
                    return otherwise
                self.requester.manners.clock.sleep(self._pauses.pop(0))


def first(items: Iterable[T], most: int) -> Iterator[T]:
    for count, item in enumerate(items):
        if count >= most:
            return
        yield item
