"""The first tables: deliveries and jobs, pull-request heads and locks, runs, fixes, feedback and audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite counts rows by itself only in a column of exactly the type INTEGER.
IDENTIFIER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("installation_id", sa.BigInteger(), nullable=True),
        sa.Column("repository_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
    op.create_index("ix_audit_installation_id", "audit", ["installation_id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("guid", sa.String(length=100), nullable=False),
        sa.Column("event", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=True),
        sa.Column("installation_id", sa.BigInteger(), nullable=True),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("guid", name="uq_deliveries_guid"),
    )
    op.create_index("ix_deliveries_received_at", "deliveries", ["received_at"], unique=False)
    op.create_table(
        "installations",
        sa.Column("id", IDENTIFIER, autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_installations"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("queue", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=True),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("installation_id", sa.BigInteger(), nullable=True),
        sa.Column("pr_number", sa.BigInteger(), nullable=True),
        sa.Column("head_sha", sa.String(length=64), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("holder", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("key", name="uq_jobs_key"),
    )
    op.create_index("ix_jobs_repository_id_head_sha", "jobs", ["repository_id", "head_sha"], unique=False)
    op.create_index("ix_jobs_repository_id_pr_number", "jobs", ["repository_id", "pr_number"], unique=False)
    op.create_index("ix_jobs_state_not_before", "jobs", ["state", "not_before"], unique=False)
    op.create_table(
        "locks",
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("holder", sa.String(length=40), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_locks"),
    )
    op.create_index("ix_locks_holder", "locks", ["holder"], unique=False)
    op.create_table(
        "pull_heads",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("installation_id", sa.BigInteger(), nullable=True),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("head_sha", sa.String(length=64), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("head_repository", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pull_heads"),
        sa.UniqueConstraint("repository_id", "number", name="uq_pull_heads_repository_id_number"),
    )
    op.create_index("ix_pull_heads_installation_id", "pull_heads", ["installation_id"], unique=False)
    op.create_index("ix_pull_heads_repository_id_head_sha", "pull_heads", ["repository_id", "head_sha"], unique=False)
    op.create_table(
        "repository_settings",
        sa.Column("repository_id", IDENTIFIER, autoincrement=False, nullable=False),
        sa.Column("pr_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("installation_id", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "pr_number", "name", name="pk_repository_settings"),
    )
    op.create_index("ix_repository_settings_installation_id", "repository_settings", ["installation_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("job_id", IDENTIFIER, nullable=True),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("installation_id", sa.BigInteger(), nullable=False),
        sa.Column("pr_number", sa.BigInteger(), nullable=True),
        sa.Column("head_sha", sa.String(length=64), nullable=False),
        sa.Column("ci_run_id", sa.BigInteger(), nullable=False),
        sa.Column("ci_attempt", sa.BigInteger(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=100), nullable=True),
        sa.Column("failure_class", sa.String(length=20), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=30), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("timings", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_runs_job_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_job_id", "runs", ["job_id"], unique=False)
    op.create_index("ix_runs_repository_id_head_sha", "runs", ["repository_id", "head_sha"], unique=False)
    op.create_index("ix_runs_repository_id_pr_number_signature", "runs", ["repository_id", "pr_number", "signature"], unique=False)
    op.create_index("ix_runs_started_at", "runs", ["started_at"], unique=False)
    op.create_table(
        "fixes",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("run_id", IDENTIFIER, nullable=True),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("installation_id", sa.BigInteger(), nullable=False),
        sa.Column("pr_number", sa.BigInteger(), nullable=False),
        sa.Column("head_sha", sa.String(length=64), nullable=False),
        sa.Column("patch", sa.LargeBinary(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=4), nullable=False),
        sa.Column("comment_id", sa.BigInteger(), nullable=True),
        sa.Column("check_run_id", sa.BigInteger(), nullable=True),
        sa.Column("commit_sha", sa.String(length=64), nullable=True),
        sa.Column("stacked_pr", sa.BigInteger(), nullable=True),
        sa.Column("landed_sha", sa.String(length=64), nullable=True),
        sa.Column("landed_ref", sa.Text(), nullable=True),
        sa.Column("landed_at", sa.Double(), nullable=True),
        sa.Column("proof_path", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("posted_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_fixes_run_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_fixes"),
    )
    op.create_index("ix_fixes_check_run_id", "fixes", ["check_run_id"], unique=False)
    op.create_index("ix_fixes_repository_id_pr_number", "fixes", ["repository_id", "pr_number"], unique=False)
    op.create_index("ix_fixes_run_id", "fixes", ["run_id"], unique=False)
    op.create_table(
        "feedback",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("fix_id", IDENTIFIER, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("actor_hash", sa.String(length=64), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("edit_distance", sa.Double(), nullable=True),
        sa.Column("human_patch", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["fix_id"], ["fixes.id"], name="fk_feedback_fix_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_fix_id", "feedback", ["fix_id"], unique=False)
    op.create_table(
        "trajectories",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("fix_id", IDENTIFIER, nullable=False),
        sa.Column("installation_id", sa.BigInteger(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("tree", sa.String(length=80), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["fix_id"], ["fixes.id"], name="fk_trajectories_fix_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_trajectories"),
        sa.UniqueConstraint("fix_id", name="uq_trajectories_fix_id"),
    )
    op.create_index("ix_trajectories_expires_at", "trajectories", ["expires_at"], unique=False)
    op.create_index("ix_trajectories_installation_id_tree", "trajectories", ["installation_id", "tree"], unique=False)
    op.create_index("ix_trajectories_repository_id", "trajectories", ["repository_id"], unique=False)


def downgrade() -> None:
    op.drop_table("trajectories")
    op.drop_table("feedback")
    op.drop_table("fixes")
    op.drop_table("runs")
    op.drop_table("repository_settings")
    op.drop_table("pull_heads")
    op.drop_table("locks")
    op.drop_table("jobs")
    op.drop_table("installations")
    op.drop_table("deliveries")
    op.drop_table("audit")
