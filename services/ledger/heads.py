"""A programme's head: the one moving row. Whoever has locked it decides, in the order of the positions."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from services.ledger.batch import Block
from services.ledger.database import Connection

_READ = "SELECT position, hash, recorded_at, policy, parked FROM head WHERE programme = $1"
_LOCK = _READ + " FOR UPDATE"
_MOVE = """
WITH block AS (
  INSERT INTO block (programme, first, last, recorded_at, policy, issued, root, previous, hash)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)),
payable AS (
  INSERT INTO payable (programme, last, provider, payable)
  SELECT $1, $3, new.provider, new.payable FROM unnest($11::text[], $12::bigint[]) AS new (provider, payable))
UPDATE head SET position = $3, hash = $9, recorded_at = $4, parked = $10 WHERE programme = $1"""
_PARK = "UPDATE head SET parked = $2 WHERE programme = $1"


class ProgrammeUnknownError(LookupError):
    """No ledger of this programme is open here."""


class Head(NamedTuple):
    """Where a programme's ledger stands, the policy in force, and how many redemptions wait beside it."""

    position: int
    hash: bytes
    recorded_at: datetime
    policy: bytes
    parked: int


async def read(connection: Connection, programme: str) -> Head:
    """Return the head as it stands. Raises ProgrammeUnknownError."""
    return await _fetch(connection, _READ, programme)


async def lock(connection: Connection, programme: str) -> Head:
    """Return the head once it is ours until the transaction ends. Raises ProgrammeUnknownError."""
    return await _fetch(connection, _LOCK, programme)


async def move(connection: Connection, block: Block, payables: Mapping[str, int], parked: int) -> None:
    """Write a block and move its programme's head to its end.

    ``payables`` is what each provider that redeemed in the block is owed after it, in fen; ``parked`` how many redemptions wait then.
    """
    await connection.execute(_MOVE, *block, parked, list(payables), list(payables.values()))


async def park(connection: Connection, programme: str, parked: int) -> None:
    """Let the head say how many redemptions wait, where nothing was appended."""
    await connection.execute(_PARK, programme, parked)


async def _fetch(connection: Connection, query: str, programme: str) -> Head:
    row = await connection.fetchrow(query, programme)
    if row is None:
        raise ProgrammeUnknownError(f"the database has no ledger of {programme!r}: was it opened?")
    return Head(*row)
