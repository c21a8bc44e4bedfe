"""The migrations: from nothing, again, two at once, by an owner who is no superuser, and the same as the tables say."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from events_made import as_inbound, issue_event, redemption_event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from services.embedded import Embedded, Servers
from services.embedded.binaries import POSTGRES_BIN
from services.ledger import tables
from services.ledger.append import Ledger
from services.ledger.database import connect
from services.ledger.migrate import current_revision, migrate, newest_revision
from services.ledger.verify import verify

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
TABLES = {"alembic_version", "block", "entry", "head", "parked", "policy"}


@pytest.fixture(
    params=[
        "newest",
        pytest.param(
            "oldest",
            marks=pytest.mark.skipif(
                not (POSTGRES_15 / "postgres").exists(), reason=f"no PostgreSQL 15 in {POSTGRES_15}"
            ),
        ),
    ],
    scope="module",
)
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers on which nothing was migrated, so that there are no roles either: roles belong to a server, not to a database."""
    before = os.environ.get(POSTGRES_BIN)
    if request.param == "oldest":
        os.environ[POSTGRES_BIN] = str(POSTGRES_15)
    try:
        with Embedded(tmp_path_factory.mktemp("m"), durable=False) as started:
            yield started
    finally:
        os.environ.pop(POSTGRES_BIN, None)
        if before is not None:
            os.environ[POSTGRES_BIN] = before


@pytest.fixture
async def superuser(fresh: Servers) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh.database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def empty(fresh: Servers, superuser: asyncpg.Connection) -> AsyncIterator[str]:
    """An empty database of a login that may make roles but is no superuser, on a server that has no roles of the ledger."""
    await superuser.execute("CREATE ROLE deployer LOGIN CREATEROLE")
    await superuser.execute("CREATE DATABASE deployed OWNER deployer")
    yield make_url(fresh.database_url).set(username="deployer", database="deployed").render_as_string()
    await superuser.execute("DROP DATABASE deployed WITH (FORCE)")
    for role in ("voucher_ledger_owner", "voucher_ledger_service", "deployer"):
        await superuser.execute(f"DROP ROLE IF EXISTS {role}")


async def tables_in(database_url: str) -> set[str]:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    return {row["tablename"] for row in rows}


async def differences(database_url: str) -> list[object]:
    """Return what alembic would have to change for the database to be as the tables say."""

    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, SQLModel.metadata))

    url = make_url(database_url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    return found


async def test_from_nothing_and_again_by_an_owner_who_is_no_superuser(empty):
    assert await current_revision(empty) is None
    assert await migrate(empty) == newest_revision()
    assert await tables_in(empty) == TABLES
    assert await migrate(empty) == newest_revision()
    assert await current_revision(empty) == newest_revision()


async def test_two_at_once_and_then_it_works(empty, policies):
    assert await asyncio.gather(migrate(empty), migrate(empty)) == [newest_revision()] * 2
    pool = await connect(empty)
    ledger = Ledger(pool, policies)
    await ledger.open()
    await ledger.append("chengdu-2024", [as_inbound(redemption_event("V-1")), as_inbound(issue_event("V-1"))])
    assert await verify(pool, "chengdu-2024") == await verify(pool, "chengdu-2024")
    assert (await verify(pool, "chengdu-2024")).entries == 2
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute("DELETE FROM entry")
    await pool.close()


async def test_two_databases_of_one_server_at_once(empty, superuser):
    await superuser.execute("CREATE DATABASE another OWNER deployer")
    another = make_url(empty).set(database="another").render_as_string()
    try:
        assert await asyncio.gather(migrate(empty), migrate(another)) == [newest_revision()] * 2
        assert await tables_in(another) == TABLES
    finally:
        await superuser.execute("DROP DATABASE another WITH (FORCE)")


async def test_the_database_is_as_the_tables_say(empty):
    await migrate(empty)
    assert set(SQLModel.metadata.tables) == {model.__tablename__ for model in _models()} == TABLES - {"alembic_version"}
    assert await differences(empty) == []


def _models() -> list[type[SQLModel]]:
    return [tables.Entry, tables.Block, tables.PolicyRow, tables.Head, tables.ParkedRow]


async def test_indexes_and_constraints_are_as_the_tables_say(empty):
    """What alembic does not compare: partial indexes' conditions, checks, collations, the room left on the head's page."""
    await migrate(empty)
    migrated = await asyncpg.connect(empty)
    said = await _described(migrated, "public")
    url = make_url(empty).set(drivername="postgresql+asyncpg").render_as_string()
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"server_settings": {"search_path": "said"}})
    await migrated.execute("CREATE SCHEMA said")
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    await engine.dispose()
    assert await _described(migrated, "said") == said
    await migrated.close()


async def _described(connection: asyncpg.Connection, schema: str) -> list[tuple[object, ...]]:
    rows = await connection.fetch(
        """
        SELECT relation.relname, relation.reloptions::text, attribute.attname, attribute.attnotnull,
               format_type(attribute.atttypid, attribute.atttypmod), collation.collname
        FROM pg_class AS relation JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid AND attnum > 0
        LEFT JOIN pg_collation AS collation ON collation.oid = attribute.attcollation
        WHERE relation.relnamespace = $1::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
        UNION ALL SELECT indexrelid::regclass::text, NULL, replace(pg_get_indexdef(indexrelid), $1 || '.', ''), NULL, NULL, NULL
        FROM pg_index JOIN pg_class AS relation ON relation.oid = indrelid
        WHERE relnamespace = $1::regnamespace AND relname <> 'alembic_version'
        UNION ALL SELECT conname, NULL, pg_get_constraintdef(oid), NULL, NULL, NULL
        FROM pg_constraint WHERE connamespace = $1::regnamespace AND contype = 'c'
        ORDER BY 1, 3
        """.replace("indexrelid::regclass::text", "(SELECT relname FROM pg_class WHERE oid = indexrelid)::text"),
        schema,
    )
    return [tuple(row) for row in rows]
