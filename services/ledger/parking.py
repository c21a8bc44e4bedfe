"""Redemptions that came before their voucher: kept beside the ledger, in the transaction that would have decided them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import asyncpg

from schemas.decoding import decode
from schemas.events import VoucherIssued, VoucherRedeemed
from services.ledger.database import Connection
from services.ledger.entry import Inbound, inbound

_KNOWN = """
SELECT wanted.key, known.event FROM unnest($2::bytea[]) AS wanted (key)
CROSS JOIN LATERAL (SELECT event FROM parked WHERE key = wanted.key AND programme = $1 LIMIT 1) AS known"""
_OF_VOUCHERS = """
SELECT waiting.event FROM unnest($2::text[]) AS wanted (voucher_id)
CROSS JOIN LATERAL (
  SELECT event, parked_at, place FROM parked WHERE voucher_id = wanted.voucher_id AND programme = $1 OFFSET 0) AS waiting
ORDER BY waiting.parked_at, waiting.place"""
_ANY_SINCE = "SELECT 1 FROM parked WHERE programme = $1 AND parked_at <= $2 LIMIT 1"
_SINCE = "SELECT event FROM parked WHERE programme = $1 AND parked_at <= $2 ORDER BY parked_at, place LIMIT $3"
_PARK = """
INSERT INTO parked (programme, key, voucher_id, provider, event, parked_at, place)
SELECT $1, new.key, new.voucher_id, new.provider, new.event, $6, new.place
FROM unnest($2::bytea[], $3::text[], $4::text[], $5::bytea[]) WITH ORDINALITY AS new (key, voucher_id, provider, event, place)"""
_UNPARK = (
    "DELETE FROM parked USING unnest($2::bytea[]) AS wanted (key) WHERE parked.key = wanted.key AND programme = $1"
)


async def known_events(connection: Connection, programme: str, events: Sequence[Inbound]) -> dict[bytes, bytes]:
    """Return, of the events that wait already, the bytes they came in, by key."""
    rows = await connection.fetch(_KNOWN, programme, [event.key for event in events])
    return {row["key"]: row["event"] for row in rows}


async def for_vouchers_of(connection: Connection, programme: str, events: Sequence[Inbound]) -> list[Inbound]:
    """Return the parked redemptions of the vouchers that the events would issue, the longest parked first."""
    issued = list({item.event.data.voucher_id for item in events if isinstance(item.event, VoucherIssued)})
    if not issued:
        return []
    return _read(await connection.fetch(_OF_VOUCHERS, programme, issued))


async def any_since(connection: Connection, programme: str, before: datetime) -> bool:
    """Whether any redemption was parked at or before the moment."""
    return await connection.fetchval(_ANY_SINCE, programme, before) is not None


async def since(connection: Connection, programme: str, before: datetime, limit: int) -> list[Inbound]:
    """Return the redemptions parked at or before the moment, the longest parked first."""
    return _read(await connection.fetch(_SINCE, programme, before, limit))


async def park(connection: Connection, programme: str, events: Collection[Inbound], parked_at: datetime) -> None:
    """Keep redemptions until their voucher comes or their wait is over."""
    if not events:
        return
    data = [item.event.data for item in events if isinstance(item.event, VoucherRedeemed)]
    await connection.execute(
        _PARK, programme, [item.key for item in events], [one.voucher_id for one in data],
        [one.provider for one in data], [item.raw for item in events], parked_at,
    )  # fmt: skip


async def unpark(connection: Connection, programme: str, keys: Sequence[bytes]) -> None:
    """Let go of redemptions that were decided."""
    if keys:
        await connection.execute(_UNPARK, programme, keys)


def _read(rows: Iterable[asyncpg.Record]) -> list[Inbound]:
    return [inbound(decode(row["event"]), row["event"]) for row in rows]
