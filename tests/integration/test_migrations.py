"""The migrations: from nothing, again, two at once, by an owner who is no superuser, and the same as the tables say."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from events_made import as_inbound, issue_event, providers_of, redemption_event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from services.embedded import Embedded, Servers
from services.embedded.binaries import POSTGRES_BIN
from services.ledger import tables, tables_beside
from services.ledger.append import Ledger
from services.ledger.database import connect
from services.ledger.migrate import current_revision, migrate, newest_revision
from services.ledger.verify import verify

POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
TABLES = {
    "act", "act_outcome", "alembic_version", "block", "entry", "head", "parked", "payable", "policy", "verification",
}  # fmt: skip

DESCRIBED = """
WITH relation AS (
  SELECT oid, relname::text, reloptions::text FROM pg_class
  WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND relname <> 'alembic_version')
SELECT relname, attname::text AS part, concat_ws(
  ' ', reloptions, attnum, format_type(atttypid, atttypmod), attnotnull, (SELECT collname FROM pg_collation AS c WHERE c.oid = attcollation)
) AS says
FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0
UNION ALL
SELECT relname, '', replace(pg_get_indexdef(indexrelid), $1 || '.', '') FROM relation JOIN pg_index ON indrelid = relation.oid
UNION ALL
SELECT relname, conname::text, pg_get_constraintdef(pg_constraint.oid) FROM relation JOIN pg_constraint ON conrelid = relation.oid
WHERE contype = 'c'
ORDER BY 1, 2, 3"""
"""What a schema's tables are, in all that the ledger's depend on."""


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
    """Make an empty database of a login that may make roles but is no superuser, on a server without the ledger's roles."""
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


async def test_a_ledger_with_keys_of_before_is_refused_and_left_as_it_was(empty, monkeypatch):
    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
    await migrate(empty)
    monkeypatch.undo()
    connection = await asyncpg.connect(empty)
    await connection.execute(
        "INSERT INTO entry (programme, position, recorded_at, kind, accepted, key, period, event, leaf)"
        " VALUES ('x', 1, now(), 'exhausted', true, '\\x00', '2024', '{}', '\\x00')"
    )
    with pytest.raises(DBAPIError, match=r"written by version 0\.1.*begin a new one in another database"):
        await migrate(empty)
    assert await current_revision(empty) == "0001"
    assert await connection.fetchval("SELECT count(*) FROM entry") == 1
    await connection.close()


async def test_a_ledger_without_payables_is_given_them(empty, policies, superuser):
    """As version 0.2 wrote it: what is in the table by now comes out the same when it is made of the entries."""
    await migrate(empty)
    pool = await connect(empty)
    ledger = Ledger(pool, policies)
    await ledger.open()
    providers = providers_of("chengdu-2024")
    await ledger.append("chengdu-2024", [as_inbound(issue_event(f"V-{number}")) for number in range(3)])
    for at in range(0, 12, 3):
        uses = [redemption_event(f"V-{n % 3}", n, provider=providers[n % 2], amount="10.00") for n in range(at, at + 3)]
        await ledger.append("chengdu-2024", [as_inbound(use) for use in uses])
    payables = "SELECT * FROM payable ORDER BY last, provider"
    written = await pool.fetch(payables)
    owner = await asyncpg.connect(empty)
    for statement in (
        "DROP TABLE act_outcome, act, verification",
        "DROP TABLE payable",
        "DROP INDEX parked_provider",
        "DROP INDEX entry_use",
        "CREATE INDEX entry_use ON entry (voucher_id, programme, position) WHERE kind = 'redeemed' AND accepted",
        "CREATE INDEX entry_payable ON entry (provider, programme, position) WHERE kind = 'redeemed' AND accepted",
        "DROP SCHEMA readmodel CASCADE",
        "UPDATE alembic_version SET version_num = '0002'",
    ):
        await owner.execute(statement)
    await owner.close()
    await migrate(empty)
    assert await pool.fetch(payables) == written
    assert len(written) == 8
    assert (await verify(pool, "chengdu-2024")).ok
    await pool.close()


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
    """The roles are the server's, so both make them at the same moment; each in a process of its own, as deployments are."""
    await superuser.execute("CREATE DATABASE another OWNER deployer")
    another = make_url(empty).set(database="another").render_as_string()
    try:
        assert await asyncio.gather(in_a_process(empty), in_a_process(another)) == [0, 0]
        assert await tables_in(empty) == await tables_in(another) == TABLES
    finally:
        await superuser.execute("DROP DATABASE another WITH (FORCE)")


async def in_a_process(database_url: str) -> int:
    script = "import sys; from services.ledger.migrate import migrate_now; migrate_now(sys.argv[1])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, database_url)
    return await process.wait()


async def test_the_database_is_as_the_tables_say(empty):
    await migrate(empty)
    assert set(SQLModel.metadata.tables) == {model.__tablename__ for model in _models()} == TABLES - {"alembic_version"}
    assert await differences(empty) == []


def _models() -> list[type[SQLModel]]:
    return [
        tables.Entry, tables.Block, tables.PayableRow, tables.PolicyRow, tables.Head, tables.ParkedRow,
        tables_beside.ActRow, tables_beside.ActOutcomeRow, tables_beside.VerificationRow,
    ]  # fmt: skip


async def test_indexes_and_constraints_are_as_the_tables_say(empty):
    """What alembic does not compare: partial indexes' conditions, checks, collations, the room left on the head's page."""
    await migrate(empty)
    migrated = await asyncpg.connect(empty)
    said = await _described(migrated, "public")
    assert len(said) > 60
    url = make_url(empty).set(drivername="postgresql+asyncpg").render_as_string()
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"server_settings": {"search_path": "said"}})
    await migrated.execute("CREATE SCHEMA said")
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    await engine.dispose()
    assert await _described(migrated, "said") == said
    await migrated.close()


async def _described(connection: asyncpg.Connection, schema: str) -> list[tuple[object, ...]]:
    rows = await connection.fetch(DESCRIBED, schema)
    return [tuple(row) for row in rows]
