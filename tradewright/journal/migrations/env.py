"""Runs migrations on the connection, and in the transaction, that the journal hands over."""

from alembic import context

from tradewright.journal.table import metadata

# Only while Alembic runs: a collector of doctests imports this file without it
if hasattr(context, "config"):
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
