"""The last event that a ledger has of each producer: from there on a producer sends again when the broker was lost.

Asked of a ledger of any size: what is recent is read from the head backwards, and what is older is looked up in the indexes that
there are. These have what was accepted: of a producer of whom nothing is recent, what was refused is not seen. The event named is
then an earlier one, which is right too: whatever is sent again counts once.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.ledger.database import Connection
from services.ledger.kept import origin

RECENT_ENTRIES: Final = 50_000
RECENT_PARKED: Final = 50_000
_CLOSURES_AT_ONCE: Final = 500

_HEAD = "SELECT position FROM head WHERE programme = $1"
_RECENT = """
SELECT kind, CASE WHEN kind = 'redeemed' THEN provider END AS provider, max(position) AS position FROM entry
WHERE programme = $1 AND position > $2 AND kind IN ('issued', 'redeemed') GROUP BY 1, 2"""
# No index has the redemptions of a provider: the newest is in the newest block in which it redeemed.
_REDEEMED = """
SELECT wanted.provider, newest.position FROM unnest($2::text[]) AS wanted (provider)
CROSS JOIN LATERAL (
  SELECT last FROM payable WHERE programme = $1 AND provider BETWEEN wanted.provider AND wanted.provider
  ORDER BY provider DESC, last DESC LIMIT 1) AS paid
CROSS JOIN LATERAL (SELECT first FROM block WHERE programme = $1 AND last = paid.last LIMIT 1) AS block
CROSS JOIN LATERAL (
  SELECT max(position) AS position FROM entry
  WHERE programme = $1 AND position BETWEEN block.first AND paid.last AND provider = wanted.provider
    AND kind = 'redeemed' AND accepted) AS newest"""
# From one quota to the next in the index: the position itself is in none that has issues alone.
_ISSUED = """
WITH RECURSIVE newest AS (
  (SELECT enterprise, period, position FROM entry WHERE programme = $1 AND kind = 'issued' AND accepted
   ORDER BY enterprise DESC, period DESC, position DESC LIMIT 1)
  UNION ALL
  SELECT next.* FROM newest CROSS JOIN LATERAL (
    SELECT enterprise, period, position FROM entry
    WHERE programme = $1 AND kind = 'issued' AND accepted AND (enterprise, period) < (newest.enterprise, newest.period)
    ORDER BY enterprise DESC, period DESC, position DESC LIMIT 1) AS next)
SELECT max(position) FROM newest"""
_CLOSURES = """
SELECT position, recorded_at, event FROM entry
WHERE programme = $1 AND kind = 'exhausted' AND accepted AND position < $2 ORDER BY position DESC LIMIT $3"""
_ENTRIES = "SELECT position, recorded_at, event FROM entry WHERE programme = $1 AND position = ANY($2::bigint[])"
_PARKED = """
SELECT DISTINCT ON (provider) provider, parked_at, event FROM (
  SELECT provider, parked_at, place, event FROM parked WHERE programme = $1
  ORDER BY parked_at DESC LIMIT $2) AS recent
WHERE provider = ANY($3::text[]) ORDER BY provider, parked_at DESC, place DESC"""


@dataclass(frozen=True, slots=True)
class LastEvent:
    """An event that the ledger has. ``occurred_at`` is as its producer wrote it; a redemption that waits has no position yet."""

    event_id: str
    occurred_at: str
    recorded_at: datetime
    position: int | None

    def to_json(self) -> dict[str, object]:
        """Return the event as JSON has it."""
        return {
            "event_id": self.event_id, "occurred_at": self.occurred_at, "recorded_at": self.recorded_at.isoformat(),
            "position": self.position, "parked": self.position is None,
        }  # fmt: skip


@dataclass(slots=True)
class LastEvents:
    """Of one programme: the authority's last issue and closure, and each provider's last redemption."""

    issued: LastEvent | None = None
    exhausted: LastEvent | None = None
    redeemed: dict[str, LastEvent] = field(default_factory=dict)


async def last_events(
    connection: Connection, programme: str, authority: str, providers: Collection[str]
) -> LastEvents:  # fmt: skip
    """Return the last events of a programme's producers; ``authority`` is the source of its own closures. None where there is none."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchval(_HEAD, programme) or 0
        issued, redeemed = await _positions(connection, programme, head, providers)
        wanted = [*redeemed.values(), *([] if issued is None else [issued])]
        rows = await connection.fetch(_ENTRIES, programme, wanted)
        entries = {row["position"]: _event(row["event"], row["recorded_at"], row["position"]) for row in rows}
        found = LastEvents(
            issued=None if issued is None else entries[issued],
            exhausted=await _closure(connection, programme, authority, head),
            redeemed={provider: entries[position] for provider, position in redeemed.items()},
        )
        for row in await connection.fetch(_PARKED, programme, RECENT_PARKED, list(providers)):
            known = found.redeemed.get(row["provider"])
            if known is None or row["parked_at"] > known.recorded_at:
                found.redeemed[row["provider"]] = _event(row["event"], row["parked_at"], None)
    return found


async def _positions(
    connection: Connection, programme: str, head: int, providers: Collection[str]
) -> tuple[int | None, dict[str, int]]:
    """Return the position of the last issue, and of each provider's last redemption."""
    recent = await connection.fetch(_RECENT, programme, head - RECENT_ENTRIES)
    issued = next((row["position"] for row in recent if row["kind"] == "issued"), None)
    redeemed = {row["provider"]: row["position"] for row in recent if row["provider"] in providers}
    if issued is None:
        issued = await connection.fetchval(_ISSUED, programme)
    older = [provider for provider in providers if provider not in redeemed]
    redeemed.update((row["provider"], row["position"]) for row in await connection.fetch(_REDEEMED, programme, older))
    return issued, redeemed


async def _closure(connection: Connection, programme: str, authority: str, head: int) -> LastEvent | None:
    """Return the last closure that the authority sent itself; most are the ledger's own."""
    before = head + 1
    while rows := await connection.fetch(_CLOSURES, programme, before, _CLOSURES_AT_ONCE):
        for row in rows:
            if origin(row["event"]).source == authority:
                return _event(row["event"], row["recorded_at"], row["position"])
        before = rows[-1]["position"]
    return None


def _event(event: bytes, recorded_at: datetime, position: int | None) -> LastEvent:
    of = origin(event)
    return LastEvent(of.id, of.time, recorded_at, position)
