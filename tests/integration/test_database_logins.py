"""Who may do what in the database: its logins on a real PostgreSQL, as a deployment makes them."""

import asyncpg
import pytest

from services.ledger.migrate import migrate


async def test_the_database_knows_passwords_by_their_scram_verifier_only(deployed):
    superuser = await asyncpg.connect(deployed.database_url.replace("voucher_ledger@", "postgres@"))
    try:
        rows = await superuser.fetch(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL"
        )
    finally:
        await superuser.close()
    assert {row["rolname"] for row in rows} == {"voucher_ledger", "voucher_ledger_migration"}
    assert all(row["rolpassword"].startswith("SCRAM-SHA-256$") for row in rows)


async def test_the_services_login_appends_and_no_more(migrated):
    connection = await asyncpg.connect(migrated.database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM entry") >= 0
        for statement in (
            "CREATE TABLE mine (a int)", "CREATE TEMPORARY TABLE mine (a int)", "CREATE ROLE mine", "DROP TABLE entry",
            "UPDATE entry SET amount = 1", "DELETE FROM block", "TRUNCATE policy", "DELETE FROM head",
            "ALTER TABLE entry DISABLE TRIGGER no_change", "SET ROLE voucher_ledger_owner",
            "GRANT voucher_ledger_owner TO voucher_ledger",
        ):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_migrations_login_is_no_superuser_and_migrating_again_changes_nothing(migrated):
    assert await migrate(migrated.migration_database_url)
    connection = await asyncpg.connect(migrated.migration_database_url)
    try:
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        owners = await connection.fetch(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('entry', 'block', 'head')"
        )
        assert [row["tableowner"] for row in owners] == ["voucher_ledger_owner"]
    finally:
        await connection.close()
