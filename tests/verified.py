"""What a test leaves behind is verified: every ledger in its database."""

import asyncpg

from services.ledger.verify import verify


async def verify_all(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Verify every ledger of the database; fail with the first that is not right."""
    for row in await connection.fetch("SELECT programme FROM head"):
        found = await verify(connection, row["programme"])
        assert found.ok, found


async def verify_all_of(database_url: str) -> None:
    """Do the same by a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        await verify_all(connection)
    finally:
        await connection.close()
