"""The database's tables. Moments are seconds since 1970 (UTC) in double precision: equal in SQLite and PostgreSQL, and plain to compare."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite counts rows by itself only in a column of exactly the type INTEGER.
Identifier = BigInteger().with_variant(Integer(), "sqlite")


class Model(DeclarativeBase):
    """Constraints have names, so that a later migration can address them on both databases."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, float: Double, str: Text, dict[str, Any]: JSON, bytes: LargeBinary}  # noqa: RUF012


class DeliveryRow(Model):
    """One webhook delivery. ``state``: accepted (jobs were made or tables brought up to date), dropped (nothing to do), unreadable."""

    __tablename__ = "deliveries"
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    guid: Mapped[str] = mapped_column(String(100), unique=True)
    event: Mapped[str] = mapped_column(String(100))
    action: Mapped[str | None] = mapped_column(String(100))
    installation_id: Mapped[int | None]
    received_at: Mapped[float] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None]
    body: Mapped[bytes | None]
    """The raw JSON, deflated; emptied when the time to keep it is over."""


class JobRow(Model):
    """One thing to do. The queue only carries ids of these rows; this table is the truth."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_not_before", "state", "not_before"),
        Index("ix_jobs_repository_id_pr_number", "repository_id", "pr_number"),
        Index("ix_jobs_repository_id_head_sha", "repository_id", "head_sha"),
    )
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    queue: Mapped[str] = mapped_column(String(20))
    key: Mapped[str] = mapped_column(String(250), unique=True)
    """What makes two jobs the same: the second is not made."""
    repository_id: Mapped[int | None]
    repository: Mapped[str | None]
    installation_id: Mapped[int | None]
    pr_number: Mapped[int | None]
    head_sha: Mapped[str | None] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float]
    sent_at: Mapped[float | None]
    """When the id was last handed to the queue."""
    lease_until: Mapped[float | None]
    holder: Mapped[str | None] = mapped_column(String(40))
    """The token of the claim that runs it; only who knows it may finish the job."""
    created_at: Mapped[float]
    updated_at: Mapped[float]
    reason: Mapped[str | None]
    refusals: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often in a row GitHub refused it for the same ``reason``."""


class LockRow(Model):
    __tablename__ = "locks"
    name: Mapped[str] = mapped_column(String(250), primary_key=True)
    holder: Mapped[str] = mapped_column(String(40), index=True)
    until: Mapped[float]


class PullHeadRow(Model):
    """What the webhooks last said of a pull request; for forks it is the only way from a commit to its pull request."""

    __tablename__ = "pull_heads"
    __table_args__ = (
        UniqueConstraint("repository_id", "number"),
        Index("ix_pull_heads_repository_id_head_sha", "repository_id", "head_sha"),
    )
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    installation_id: Mapped[int | None] = mapped_column(index=True)
    repository_id: Mapped[int]
    number: Mapped[int]
    head_sha: Mapped[str] = mapped_column(String(64))
    ref: Mapped[str]
    head_repository: Mapped[str | None]
    state: Mapped[str] = mapped_column(String(10))
    version: Mapped[str] = mapped_column(String(40))
    """GitHub's ``updated_at``: a delivery that arrives late does not overwrite a newer one."""
    seen_at: Mapped[float]


class RunRow(Model):
    """One failed CI run that was worked on, with what became of it."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_repository_id_pr_number_signature", "repository_id", "pr_number", "signature"),
        Index("ix_runs_repository_id_head_sha", "repository_id", "head_sha"),
    )
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    repository_id: Mapped[int]
    repository: Mapped[str]
    installation_id: Mapped[int]
    pr_number: Mapped[int | None]
    head_sha: Mapped[str] = mapped_column(String(64))
    ci_run_id: Mapped[int]
    ci_attempt: Mapped[int]
    workflow: Mapped[str]
    signature: Mapped[str | None] = mapped_column(String(100))
    """The failure with numbers and addresses taken out: the same failure on another commit has the same."""
    failure_class: Mapped[str | None] = mapped_column(String(20))
    evidence: Mapped[dict[str, Any]] = mapped_column(default=dict)
    outcome: Mapped[str | None] = mapped_column(String(30))
    reason: Mapped[str | None]
    timings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    started_at: Mapped[float] = mapped_column(index=True)
    finished_at: Mapped[float | None]


class FixRow(Model):
    """One fix that was posted. ``state``: posted, applied, stacked, superseded, rejected, merged, reverted."""

    __tablename__ = "fixes"
    __table_args__ = (Index("ix_fixes_repository_id_pr_number", "repository_id", "pr_number"),)
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    repository_id: Mapped[int]
    repository: Mapped[str]
    installation_id: Mapped[int]
    pr_number: Mapped[int]
    head_sha: Mapped[str] = mapped_column(String(64))
    patch: Mapped[bytes]
    explanation: Mapped[str]
    level: Mapped[str] = mapped_column(String(4))
    comment_id: Mapped[int | None]
    check_run_id: Mapped[int | None] = mapped_column(index=True)
    commit_sha: Mapped[str | None] = mapped_column(String(64))
    stacked_pr: Mapped[int | None]
    landed_sha: Mapped[str | None] = mapped_column(String(64))
    """The commit that merged the pull request with the fix in it; then the branch it went to, and when: reverts are looked for there."""
    landed_ref: Mapped[str | None]
    landed_at: Mapped[float | None]
    proof_path: Mapped[str | None]
    state: Mapped[str] = mapped_column(String(20))
    posted_at: Mapped[float]
    updated_at: Mapped[float]


class FeedbackRow(Model):
    """What people did with a fix. ``actor_hash`` tells people apart without naming them."""

    __tablename__ = "feedback"
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    fix_id: Mapped[int] = mapped_column(ForeignKey("fixes.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(30))
    text: Mapped[str | None]
    actor_hash: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[float]
    edit_distance: Mapped[float | None]
    human_patch: Mapped[str | None]


class TrajectoryRow(Model):
    """What is kept of a fix for training: there is a row only where the repository's policy allowed it when the fix was posted."""

    __tablename__ = "trajectories"
    __table_args__ = (Index("ix_trajectories_installation_id_tree", "installation_id", "tree"),)
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    fix_id: Mapped[int] = mapped_column(ForeignKey("fixes.id", ondelete="CASCADE"), unique=True)
    installation_id: Mapped[int]
    repository_id: Mapped[int] = mapped_column(index=True)
    body: Mapped[dict[str, Any]]
    """The format Trajectory v1 without feedback, which has its own table, and without the tree's path."""
    tree: Mapped[str | None] = mapped_column(String(80))
    """The archive of the source below ``trees/INSTALLATION``, where the policy allowed that too."""
    expires_at: Mapped[float] = mapped_column(index=True)


class AuditRow(Model):
    """What the bot did and for whom; rows are added, never changed."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(Identifier, primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(40))
    installation_id: Mapped[int | None] = mapped_column(index=True)
    repository_id: Mapped[int | None]
    actor_id: Mapped[int | None]
    job_id: Mapped[int | None]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


class InstallationRow(Model):
    """``state``: active, suspended, deleted."""

    __tablename__ = "installations"
    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=False)
    account: Mapped[str]
    account_id: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    permissions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    updated_at: Mapped[float]


class RepositorySettingRow(Model):
    """What people told the bot about a repository or one of its pull requests (``pr_number`` 0: all of them), such as ``/ledex off``."""

    __tablename__ = "repository_settings"
    repository_id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=False)
    pr_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    installation_id: Mapped[int | None] = mapped_column(index=True)
    value: Mapped[dict[str, Any]] = mapped_column(default=dict)
    updated_at: Mapped[float]
