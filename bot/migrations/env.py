"""Run by alembic: migrates over the connection, and inside the transaction, that ``bot.database.migrate`` hands over."""

from alembic import context

from bot.models import Model

# SQLite can roll back DDL as PostgreSQL can; alembic only does not assume it.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Model.metadata,
    transactional_ddl=True,
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
