"""Alembic's entry: runs on the connection, and in the transaction, that the store hands over."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can roll table changes back too; Alembic assumes otherwise unless told.
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
