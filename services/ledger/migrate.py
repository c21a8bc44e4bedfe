"""Bringing the database's tables up to date. Run by an administrator's login before the services start."""

# alembic and SQLAlchemy's engines take longer to import than most commands take to run: they are imported where they are used.
# ruff: noqa: PLC0415

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

_ONE_AT_A_TIME: Final = 0x766C_6D69
"""The advisory lock that lets two starts at once migrate one after the other."""


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def newest_revision() -> str:
    """Return the revision that this version of the code needs."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise AssertionError("the package comes with its migrations")
    return head


def _upgrade(connection: "Connection") -> None:
    from alembic import command
    from sqlalchemy import text

    # A table that is in use is waited for briefly, not at the price of everyone behind us in its queue.
    connection.execute(text("SET lock_timeout = '5s'"))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def migrate(database_url: str) -> str:
    """Bring the tables up to date, and return the revision they are at. Raises what the driver raises."""
    from sqlalchemy import text

    engine = _engine(database_url)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_advisory_lock({_ONE_AT_A_TIME})"))
            await connection.commit()
            await connection.run_sync(_upgrade)
            await connection.commit()
        return newest_revision()
    finally:
        await engine.dispose()


async def current_revision(database_url: str) -> str | None:
    """Return the revision that the database is at, None before the first. Raises what the driver raises."""
    from alembic.runtime.migration import MigrationContext

    engine = _engine(database_url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    finally:
        await engine.dispose()


def _engine(database_url: str) -> "AsyncEngine":
    from sqlalchemy.engine import make_url
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    return create_async_engine(make_url(database_url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)


def migrate_now(database_url: str) -> str:
    """Do the same from code that does not run a loop."""
    return asyncio.run(migrate(database_url))
