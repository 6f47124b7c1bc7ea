"""What the bot knows of a failed CI run and its pull request: plain values, made by ``bot.github`` and read by everything else."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PullRequest:
    """``repository`` (owner/name) is the base's; ``head_repository`` is None when the fork was deleted."""

    repository: str
    repository_id: int
    number: int
    head_sha: str
    head_ref: str
    head_repository: str | None
    base_sha: str
    base_ref: str
    author_id: int
    author_is_bot: bool = False
    state: str = "open"
    draft: bool = False
    merged: bool = False
    maintainer_can_modify: bool = False
    labels: frozenset[str] = frozenset()
    title: str = ""

    @property
    def is_fork(self) -> bool:
        return self.head_repository != self.repository


@dataclass(frozen=True)
class Step:
    """One step of a job; ``conclusion`` is GitHub's word (success, failure, skipped, cancelled, ...) or None while it runs."""

    number: int
    name: str
    conclusion: str | None


@dataclass(frozen=True)
class Annotation:
    """One annotation of a check run; lines are 1-based; ``level`` is notice, warning or failure."""

    path: str
    start_line: int
    end_line: int
    level: str
    message: str
    title: str = ""


@dataclass(frozen=True)
class Report:
    """A test report out of an artifact: ``name`` is its path in the artifact, ``content`` its bytes (JUnit XML, size-capped)."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Job:
    """One failed job. ``log`` is its text, capped in the middle when ``log_truncated``; empty when GitHub has none any more."""

    id: int
    name: str
    conclusion: str
    check_run_id: int | None = None
    steps: tuple[Step, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    log: str = field(default="", repr=False)
    log_truncated: bool = False


@dataclass(frozen=True)
class FailedRun:
    """A CI run that failed, with its failed jobs. ``id`` is the workflow run's, or the check suite's where ``is_actions`` is False."""

    repository: str
    repository_id: int
    installation_id: int
    id: int
    attempt: int
    workflow: str
    event: str
    head_sha: str
    head_branch: str | None
    conclusion: str
    url: str = ""
    is_actions: bool = True
    jobs: tuple[Job, ...] = ()
    reports: tuple[Report, ...] = ()
