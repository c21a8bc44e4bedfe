"""Alembic's entry: the connection comes from ``services.ledger.migrate``, never from a file."""

from alembic import context
from sqlmodel import SQLModel

from services.ledger import tables, tables_beside

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()

__all__ = ["tables", "tables_beside"]
