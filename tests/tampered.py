"""A ledger with everything in it, its protection taken away, and changes behind its back that are undone when they were looked at.

The tests' own copy of the ledger has no trigger, no constraint and no index left: who changes rows behind a ledger's back has
those out of the way.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
from events_made import (
    ENTERPRISE,
    OTHER_ENTERPRISE,
    Wire,
    as_inbound,
    exhausted_event,
    issue_event,
    policy_with,
    redemption_event,
    shipped,
)

from schemas.codes import Code
from services.ledger.append import Ledger, Limits
from services.ledger.verify import verify

CHENGDU, GUIZHOU, EMPTY = "chengdu-2024", "guizhou-2024", "hangzhou-2023"

BATCHES: list[list[Wire]] = [
    [
        issue_event("V-1"), redemption_event("V-1"), redemption_event("V-2"), redemption_event("V-9"), issue_event("V-1"),
    ],
    [issue_event("V-2", amount="850000.00")],
    [
        issue_event("V-3"), redemption_event("V-1", 2, amount="90000.01"),
        issue_event("V-4", enterprise="91510107MA0000000X"), redemption_event("V-1", 3, amount="90000.00"),
    ],
    [issue_event("V-5", time="2024-05-07T10:00:00+08:00")],
    [exhausted_event(ENTERPRISE), issue_event("V-6", amount="10000.00")],
    [
        issue_event("V-7", amount="200000.00", enterprise=OTHER_ENTERPRISE, data__valid_until="2024-05-31"),
        redemption_event("V-7"), redemption_event("V-7", 2, time="2024-05-30T10:00:00+08:00"),
        redemption_event("V-7", 3, time="2024-05-30T10:00:00+08:00", data__item="goods"),
    ],
    [],
    [
        exhausted_event(), issue_event("V-8", enterprise=OTHER_ENTERPRISE),
        exhausted_event("nobody"), exhausted_event(OTHER_ENTERPRISE, period="2025"),
    ],
]  # fmt: skip
"""Chengdu's batches; one with no events ends the waits that are over."""

REVISED_BEFORE = 3
"""With this batch the second revision is in force, which clamps."""

CODES = [
    None, None, None, None, Code.EXCEEDS_ANNUAL_CAP, Code.EXCEEDS_VOUCHER_BALANCE, Code.ENTERPRISE_INVALID, None,
    Code.CLAMPED_TO_CAP, None, Code.QUOTA_CLOSED, None, Code.VOUCHER_EXPIRED, None, Code.ITEM_NOT_COVERED,
    Code.VOUCHER_UNKNOWN, None, Code.QUOTA_CLOSED, Code.ENTERPRISE_INVALID, None,
]  # fmt: skip
LAST = len(CODES)
TRIED = range(1, LAST + 1)
"""Entries of every kind and outcome: enough of them to change every column of."""
FIRSTS = [1, 3, 5, 9, 10, 12, 16, 17]
"""Where the blocks begin."""

PAID = "SELECT DISTINCT block.first, last FROM payable JOIN block USING (programme, last) WHERE programme = $1"
"""The blocks in which something was redeemed."""


async def make_ledger(pool: asyncpg.Pool) -> None:
    """Decide all batches."""
    now = datetime(2024, 5, 6, 4, tzinfo=UTC)
    policies = {CHENGDU: policy_with(), GUIZHOU: shipped()[GUIZHOU], EMPTY: shipped()[EMPTY]}
    ledger = Ledger(pool, policies, Limits(wait=timedelta(hours=1)), clock=lambda: now)
    await ledger.open()
    for number, events in enumerate(BATCHES):
        now += timedelta(minutes=10, microseconds=1)
        if number == REVISED_BEFORE:
            await Ledger(pool, {CHENGDU: policy_with(revision=2, caps__0__on_cap="clamp")}).open()
        if events:
            await ledger.append(CHENGDU, [as_inbound(event) for event in events])
        else:
            assert await ledger.expire_parked(CHENGDU) == 1
    for event in (issue_event("V-1", programme=GUIZHOU), redemption_event("V-1", programme=GUIZHOU)):
        await ledger.append(GUIZHOU, [as_inbound(event)])


async def take_protection_away(connection: asyncpg.Connection) -> None:
    """Leave the tables without triggers, checks and unique indexes."""
    for table in ("entry", "block", "payable", "policy", "head"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        columns = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1", table
        )
        names = await connection.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('c', 'p')", table
        )
        for (name,) in names:
            await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        for (column,) in columns:
            await connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
    for index in ("entry_key", "entry_claim", "entry_issue"):
        await connection.execute(f"DROP INDEX {index}")


@contextlib.asynccontextmanager
async def changed(connection: asyncpg.Connection, *statements: str) -> AsyncIterator[None]:
    """Make changes; undo them in the end."""
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        for statement in statements:
            await connection.execute(statement)
        yield
    finally:
        await transaction.rollback()


async def first_bad(connection: asyncpg.Connection, *statements: str, programme: str = CHENGDU) -> int | None:
    """Return the position that is named after the changes; None where nothing was found."""
    async with changed(connection, *statements):
        found = await verify(connection, programme)
    assert found.ok == (found.first_bad_position is None) == (found.reason is None)
    return found.first_bad_position


def of(table: str, condition: str = "true") -> str:
    """Return a statement that takes away Chengdu's rows."""
    return f"DELETE FROM {table} WHERE programme = '{CHENGDU}' AND {condition}"


async def copy_of(connection: asyncpg.Connection, table: str, condition: str, **changes: str) -> str:
    """Return a statement that puts in a copy of one of Chengdu's rows, with some columns as the expressions say."""
    rows = await connection.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = $1", table)
    columns = [row["column_name"] for row in rows]
    values = ", ".join(changes.get(column, column) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE programme = '{CHENGDU}' AND {condition}"
