"""What a programme's page asks of the ledger and the read model: each by an index or a few rows, whatever the ledger's size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from schemas.policy import Policy
from services.ledger import queries, read
from services.ledger.policies import Policies
from services.ledger.read import Pool, snapshot
from services.ledger.statements import BudgetAccount, EntryRow
from services.readmodel.activity import refusals

LAST_ENTRIES: Final = 15
PARKED_SHOWN: Final = 10

_LAST: Final = (
    f"SELECT {queries.ENTRY_COLUMNS} FROM entry WHERE programme = $1 AND position > $2 ORDER BY position DESC LIMIT $3"
)
_PARKED: Final = """
SELECT voucher_id, provider, parked_at FROM parked WHERE programme = $1 ORDER BY parked_at, place LIMIT $2"""
_PARKED_COUNT: Final = "SELECT parked FROM head WHERE programme = $1"
_OVER_TIME: Final = """
SELECT hour, (sum(granted) FILTER (WHERE kind = 'issued'))::bigint AS issued,
       (sum(amount) FILTER (WHERE kind = 'redeemed' AND code = ''))::bigint AS redeemed
FROM readmodel.activity WHERE programme = $1 GROUP BY hour ORDER BY hour"""
_BEHIND: Final = """
SELECT head.position - coalesce(cursor.position, 0) FROM head LEFT JOIN readmodel.cursor ON cursor.programme = head.programme
WHERE head.programme = $1"""


@dataclass(frozen=True, slots=True)
class Parked:
    """A redemption that waits for its voucher."""

    voucher_id: str
    provider: str
    parked_at: datetime


@dataclass(frozen=True, slots=True)
class Hour:
    """What was issued and redeemed in all, in fen, at the end of an hour."""

    begins: datetime
    issued: int
    redeemed: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A programme as of a moment. ``redeemed`` in fen; ``behind`` is how many entries the figures by time lack yet."""

    policy: Policy
    position: int
    head_hash: bytes
    budgets: tuple[BudgetAccount, ...]
    redeemed: int
    hours: tuple[Hour, ...]
    refused_today: Mapping[str, int]
    """How often each code was the reason of a refusal today, the most frequent first."""
    parked: tuple[Parked, ...]
    parked_count: int
    last: tuple[EntryRow, ...]
    behind: int


async def facts(pool: Pool, programme: str, policies: Policies, now: datetime | None = None) -> Facts:
    """Return what the programme's page shows. Raises ProgrammeUnknownError."""
    async with snapshot(pool) as connection:
        stands = await read.stand(connection, programme, policies)
        payables = await read.payable_accounts(connection, programme)
        last = await connection.fetch(_LAST, programme, stands.position - LAST_ENTRIES, LAST_ENTRIES)
        parked = await connection.fetch(_PARKED, programme, PARKED_SHOWN)
        parked_count = await connection.fetchval(_PARKED_COUNT, programme)
        hours = await connection.fetch(_OVER_TIME, programme)
        behind = await connection.fetchval(_BEHIND, programme)
    today = (now or datetime.now(UTC)).astimezone(stands.policy.period.zone)
    return Facts(
        policy=stands.policy,
        position=stands.position,
        head_hash=stands.head_hash,
        budgets=stands.budgets,
        redeemed=sum(account.amount for account in payables),
        hours=_hours(hours),
        refused_today=await refusals(pool, programme, today.replace(hour=0, minute=0, second=0, microsecond=0)),
        parked=tuple(Parked(*row) for row in parked),
        parked_count=parked_count,
        last=tuple(EntryRow(*row) for row in last),
        behind=behind,
    )


async def redeemed(pool: Pool, programme: str) -> int:
    """Return what was redeemed of a programme in all, in fen."""
    async with pool.acquire() as connection:
        return sum(account.amount for account in await read.payable_accounts(connection, programme))


def _hours(rows: "Sequence[asyncpg.Record]") -> tuple[Hour, ...]:
    hours, issued, redeemed = [], 0, 0
    for row in rows:
        issued += row["issued"] or 0
        redeemed += row["redeemed"] or 0
        hours.append(Hour(row["hour"], issued, redeemed))
    return tuple(hours)
