"""What the last verifications of a ledger came to: a note beside the evidence, for those who ask when somebody last looked."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.ledger.verify import Verification

_KEEP = """
INSERT INTO verification (programme, began_at, entries, ok, first_bad_position, reason) VALUES ($1, $2, $3, $4, $5, $6)"""
_NEWEST = """
SELECT newest.* FROM unnest($1::text[]) AS wanted (programme) CROSS JOIN LATERAL (
  SELECT programme, began_at, ended_at, entries, ok, first_bad_position, reason FROM verification
  WHERE programme = wanted.programme ORDER BY number DESC LIMIT 1) AS newest"""


@dataclass(frozen=True, slots=True)
class Verified:
    """A verification that was done, and when."""

    programme: str
    began_at: datetime
    ended_at: datetime
    entries: int
    ok: bool
    first_bad_position: int | None
    reason: str | None


async def keep(pool: "asyncpg.Pool[asyncpg.Record]", found: Verification, began_at: datetime) -> None:
    """Keep what a verification that ends now came to."""
    await pool.execute(
        _KEEP, found.programme, began_at, found.entries, found.ok, found.first_bad_position, found.reason
    )


async def newest(pool: "asyncpg.Pool[asyncpg.Record]", programmes: list[str]) -> dict[str, Verified]:
    """Return the newest verification of each programme that ever had one."""
    return {row["programme"]: Verified(*row) for row in await pool.fetch(_NEWEST, programmes)}
