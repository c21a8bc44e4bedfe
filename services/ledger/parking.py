"""Redemptions that came before their voucher: kept beside the ledger, in the transaction that would have decided them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import asyncpg

from schemas.decoding import decode
from schemas.events import VoucherIssued, VoucherRedeemed
from services.ledger.database import Connection
from services.ledger.entry import Inbound, inbound
from services.ledger.room import Room

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
# No more are counted than matter. A range of one name and its order, so that no other index serves.
_COUNTS = """
SELECT wanted.provider, waiting.count FROM unnest($2::text[]) AS wanted (provider)
CROSS JOIN LATERAL (
  SELECT count(*) AS count FROM (
    SELECT FROM parked WHERE provider BETWEEN wanted.provider AND wanted.provider AND programme = $1
    ORDER BY provider LIMIT $3) AS counted) AS waiting"""
_PARK = """
INSERT INTO parked (programme, key, voucher_id, provider, event, parked_at, place)
SELECT $1, new.key, new.voucher_id, new.provider, new.event, $6, new.place
FROM unnest($2::bytea[], $3::text[], $4::text[], $5::bytea[]) WITH ORDINALITY AS new (key, voucher_id, provider, event, place)"""
_UNPARK = (
    "DELETE FROM parked USING unnest($2::bytea[]) AS wanted (key) WHERE parked.key = wanted.key AND programme = $1"
)


async def room(
    connection: Connection, programme: str, parked: int, events: Sequence[Inbound], parked_max: int, each_max: int
) -> Room:
    """Return what room there is for the events' redemptions, where ``parked`` of the programme wait."""
    found = Room(parked_max - parked, each_max)
    # Nobody has more waiting than wait in all: mostly there is nothing to be counted.
    if parked + len(events) > each_max:
        providers = list({item.event.data.provider for item in events if isinstance(item.event, VoucherRedeemed)})
        rows = await connection.fetch(_COUNTS, programme, providers, each_max)
        found.waiting.update((row["provider"], row["count"]) for row in rows)
    return found


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
