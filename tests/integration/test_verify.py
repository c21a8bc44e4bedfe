"""Verifying: a ledger with everything in it passes, and whatever is changed behind its back is named by its position.

The tests' own copy of the ledger has no trigger, no constraint and no index left: who changes rows behind a ledger's back has
those out of the way. Each change is rolled back when it was looked at.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest
import pytest_asyncio
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
from sqlalchemy.engine import make_url

from schemas.codes import Code
from services.ledger import chain, tables
from services.ledger import rows as rows_module
from services.ledger.append import Ledger, Limits, ProgrammeUnknownError
from services.ledger.database import connect
from services.ledger.entry import Decision
from services.ledger.read import programmes
from services.ledger.verify import Verification, verify

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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stored(servers, template_database) -> AsyncIterator[asyncpg.Connection]:
    """Make the ledger that the changes are made to; return a connection that has power over it."""
    administrator = await asyncpg.connect(servers.database_url)
    await administrator.execute(f"CREATE DATABASE tampered TEMPLATE {template_database}")
    url = make_url(servers.database_url).set(database="tampered").render_as_string()
    pool = await connect(url)
    await make_ledger(pool)
    await pool.close()
    connection = await asyncpg.connect(url)
    await take_protection_away(connection)
    yield connection
    await connection.close()
    await administrator.execute("DROP DATABASE tampered WITH (FORCE)")
    await administrator.close()


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


async def test_a_ledger_with_everything_in_it_passes(stored):
    rows = await stored.fetch("SELECT code FROM entry WHERE programme = $1 ORDER BY position", CHENGDU)
    assert [row["code"] for row in rows] == CODES
    blocks = await stored.fetch("SELECT first FROM block WHERE programme = $1 ORDER BY last", CHENGDU)
    assert [row["first"] for row in blocks] == FIRSTS
    told = []
    assert await verify(stored, CHENGDU, lambda done, of: told.append((done, of))) == Verification(CHENGDU, LAST, True)
    assert told == [(first - 1, LAST) for first in [*FIRSTS[1:], LAST + 1]]
    assert await verify(stored, GUIZHOU) == Verification(GUIZHOU, 2, True)
    assert await verify(stored, EMPTY) == Verification(EMPTY, 0, True)
    assert await programmes(stored) == [CHENGDU, GUIZHOU, EMPTY]
    with pytest.raises(ProgrammeUnknownError):
        await verify(stored, "nowhere-2024")


@pytest.mark.parametrize("chunk", [1, 2, 7])
async def test_rows_may_come_in_chunks_of_any_size(stored, monkeypatch, chunk):
    monkeypatch.setattr(rows_module, "CHUNK", chunk)
    assert await verify(stored, CHENGDU) == Verification(CHENGDU, LAST, True)
    for position in range(1, LAST + 1):
        assert (
            await first_bad(stored, f"DELETE FROM entry WHERE programme = '{CHENGDU}' AND position = {position}")
            == position
        )


# ---- Any column of any row -------------------------------------------------------------------------------------------


def others_for(kind: str) -> list[str]:
    """Return expressions that turn the column ``{}`` of a type into something else, some of it beyond any calendar or sense."""
    return {
        "text": ["{} || 'x'", "''", "'x'", "NULL", "left({}, -1)", "upper({}) || ' '"],
        "bytea": ["{} || '\\x00'", "''", "NULL", "set_bit({}, 0, 1 - get_bit({}, 0))", "substr({}, 2)"],
        "bigint": ["{} + 1", "{} - 1", "-1", "NULL", "9223372036854775807", "-9223372036854775808"],
        "integer": ["{} + 1", "{} - 1", "0", "NULL", "2147483647"],
        "boolean": ["NOT {}", "NULL"],
        "timestamp with time zone": [
            "{} + interval '1 microsecond'", "{} - interval '1 microsecond'", "'infinity'", "'-infinity'", "NULL",
            "'294276-12-31'", "'4713-01-01 BC'",
        ],
        "date": ["{} + 1", "{} - 1", "'infinity'", "'-infinity'", "NULL", "'2024-02-29'", "'5874897-12-31'", "'4713-01-01 BC'"],
    }[kind]  # fmt: skip


async def changes_of(connection: asyncpg.Connection, table: str, column: str) -> list[tuple[str, asyncpg.Record]]:
    """Return every change of one column of one of Chengdu's rows that makes a difference, with the row as it was."""
    kind = await connection.fetchval(
        "SELECT data_type FROM information_schema.columns WHERE table_name = $1 AND column_name = $2", table, column
    )
    rows = await connection.fetch(f"SELECT ctid::text AS place, * FROM {table} WHERE programme = $1", CHENGDU)
    changes = []
    for row in rows:
        if table == "entry" and row["position"] not in TRIED:
            continue
        for other in others_for(kind):
            expression = other.replace("{}", column)
            # An absent value, too, can be changed; so that it can be, it is taken as one of its kind.
            given = (
                expression.replace(column, f"coalesce({column}, {_one_of(kind)})")
                if row[column] is None
                else expression
            )
            where = f"ctid = '{row['place']}' AND {column} IS DISTINCT FROM {given}"
            changes.append((f"UPDATE {table} SET {column} = {given} WHERE {where}", row))
    return changes


def _one_of(kind: str) -> str:
    some = {"text": "'a'", "bytea": "'a'", "bigint": "1", "integer": "1", "date": "'2024-05-06'"}
    return some.get(kind, "now()") + f"::{kind}"


@pytest.mark.parametrize("column", tables.Entry.__table__.columns.keys())
async def test_a_change_of_any_column_of_any_entry_is_named(stored, column):
    tried = 0
    for statement, row in await changes_of(stored, "entry", column):
        async with changed(stored):
            if await stored.execute(statement) == "UPDATE 0":
                continue
            tried += 1
            expected = row["position"]
            if column == "position":
                moved = await stored.fetchval("SELECT position FROM entry WHERE leaf = $1", row["leaf"])
                expected = min(row["position"] if moved is None else moved, expected)
            found = await verify(stored, CHENGDU)
            assert found.first_bad_position == expected, (statement, found)
    assert tried >= len(TRIED)


@pytest.mark.parametrize("column", tables.Block.__table__.columns.keys())
async def test_a_change_of_any_column_of_any_block_is_named(stored, column):
    tried = 0
    for statement, row in await changes_of(stored, "block", column):
        async with changed(stored):
            if await stored.execute(statement) == "UPDATE 0":
                continue
            tried += 1
            found = await verify(stored, CHENGDU)
            assert found.first_bad_position == row["first"], (statement, found)
    assert tried >= len(FIRSTS)


@pytest.mark.parametrize("column", tables.PayableRow.__table__.columns.keys())
async def test_a_change_of_any_column_of_any_payable_is_named(stored, column):
    firsts = {row["last"]: row["first"] for row in await stored.fetch(PAID, CHENGDU)}
    assert len(firsts) > 1
    for statement, row in await changes_of(stored, "payable", column):
        async with changed(stored):
            if await stored.execute(statement) == "UPDATE 0":
                continue
            expected = firsts[row["last"]]
            if column == "last":  # it may stand at a block before its own now
                moved = await stored.fetchval(
                    "SELECT last FROM payable WHERE programme = $1 AND provider = $2 AND payable = $3",
                    CHENGDU, row["provider"], row["payable"],
                )  # fmt: skip
                at = [first for first in FIRSTS if moved is not None and first <= max(moved, 1)]
                expected = min(expected, at[-1]) if at else expected
            found = await verify(stored, CHENGDU)
            assert found.first_bad_position == expected, (statement, found)


@pytest.mark.parametrize("column", tables.PolicyRow.__table__.columns.keys())
async def test_a_change_of_any_column_of_any_policy_is_named_where_it_was_first_used(stored, column):
    first_used = {1: 1, 2: FIRSTS[REVISED_BEFORE]}
    for statement, row in await changes_of(stored, "policy", column):
        async with changed(stored):
            if await stored.execute(statement) == "UPDATE 0":
                continue
            found = await verify(stored, CHENGDU)
            assert found.first_bad_position == first_used[row["revision"]], (statement, found)


@pytest.mark.parametrize("column", tables.Head.__table__.columns.keys())
async def test_a_change_of_any_column_of_the_head_is_named(stored, column):
    for statement, _ in await changes_of(stored, "head", column):
        async with changed(stored):
            if await stored.execute(statement) == "UPDATE 0":
                continue
            expected = LAST
            if column == "position":
                at = await stored.fetchval("SELECT position FROM head WHERE programme = $1", CHENGDU)
                expected = max(0, min(at or 0, LAST)) + 1
            found = await verify(stored, CHENGDU)
            assert found.first_bad_position == expected, (statement, found)


async def test_the_head_of_a_ledger_without_entries_is_verified_too(stored):
    for statement in (
        "UPDATE head SET hash = '\\x01'",
        "UPDATE head SET revision = revision + 1",
        "UPDATE head SET policy = '\\x01'",
        "UPDATE policy SET content = content || ' '",
        "DELETE FROM policy",
        "DELETE FROM head",
    ):
        assert await first_bad(stored, f"{statement} WHERE programme = '{EMPTY}'", programme=EMPTY) == 0
    assert await first_bad(stored, f"UPDATE head SET position = 3 WHERE programme = '{EMPTY}'", programme=EMPTY) == 1


# ---- Rows taken away, put in, changed with each other ----------------------------------------------------------------


def of(table: str, condition: str = "true") -> str:
    return f"DELETE FROM {table} WHERE programme = '{CHENGDU}' AND {condition}"


async def test_rows_that_are_missing_are_named(stored):
    for position in (1, 2, 3, 10, LAST - 1, LAST):
        assert await first_bad(stored, of("entry", f"position = {position}")) == position
    for first in FIRSTS:
        assert await first_bad(stored, of("block", f"first = {first}")) == first
        both = of("entry", f"position >= {first}"), of("block", f"first >= {first}")
        assert await first_bad(stored, *both) == first
    for first, last in pairwise(FIRSTS):
        both = of("entry", f"position >= {first} AND position < {last}"), of("block", f"first = {first}")
        assert await first_bad(stored, *both) == first
    assert await first_bad(stored, of("entry")) == await first_bad(stored, of("block")) == 1
    assert await first_bad(stored, of("policy", "revision = 1")) == 1
    assert await first_bad(stored, of("policy", "revision = 2")) == FIRSTS[REVISED_BEFORE]
    assert await first_bad(stored, of("head")) == LAST
    assert await first_bad(stored, of("head"), of("block"), of("entry")) == 1
    assert await first_bad(stored, of("head"), of("block"), of("entry"), of("payable")) == 0
    for row in await stored.fetch(PAID, CHENGDU):
        assert await first_bad(stored, of("payable", f"last = {row['last']}")) == row["first"]


async def copy_of(connection: asyncpg.Connection, table: str, condition: str, **changes: str) -> str:
    """Return a statement that puts in a copy of one of Chengdu's rows, with some columns as the expressions say."""
    rows = await connection.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = $1", table)
    columns = [row["column_name"] for row in rows]
    values = ", ".join(changes.get(column, column) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE programme = '{CHENGDU}' AND {condition}"


async def test_rows_that_were_put_in_are_named(stored):
    for position in (LAST + 1, LAST + 2, 10**15):
        statement = await copy_of(stored, "entry", "position = 5", position=str(position))
        assert await first_bad(stored, statement) == LAST + 1
    for position in (0, -7):
        assert (
            await first_bad(stored, await copy_of(stored, "entry", "position = 5", position=str(position))) == position
        )
    assert await first_bad(stored, await copy_of(stored, "entry", "position = 5", position="7")) == 7
    strange = await copy_of(stored, "entry", "position = 5", programme="'nowhere-2024'")
    assert await first_bad(stored, strange, programme="nowhere-2024") == 1
    for first, last, expected in (
        (5, 5, 5),
        (5, 100, 5),
        (9, 9, 9),
        (2, 2, 2),
        (LAST + 1, LAST + 1, LAST + 1),
        (0, 0, 1),
    ):
        statement = await copy_of(stored, "block", "first = 5", first=str(first), last=str(last))
        assert await first_bad(stored, statement) == expected, (first, last)
    assert await first_bad(stored, await copy_of(stored, "policy", "revision = 1", digest="'\\x01'")) == LAST


async def test_rows_that_were_swapped_are_named(stored):
    for one, other in ((1, 2), (2, 3), (5, 6), (LAST - 1, LAST)):
        swap = f"UPDATE entry SET position = {one + other} - position WHERE programme = '{CHENGDU}' AND position IN ({one}, {other})"
        assert await first_bad(stored, swap) == one
        swap = f"""
        UPDATE entry SET event = other.event FROM entry AS other
        WHERE entry.programme = '{CHENGDU}' AND other.programme = '{CHENGDU}'
        AND entry.position IN ({one}, {other}) AND other.position = {one + other} - entry.position"""
        assert await first_bad(stored, swap) == one
    swap = f"""
    UPDATE block SET first = other.first, last = other.last FROM block AS other
    WHERE block.programme = '{CHENGDU}' AND other.programme = '{CHENGDU}'
    AND block.first IN (3, 5) AND other.first = 8 - block.first"""
    assert await first_bad(stored, swap) == 3


# ---- Changes by someone who knows how the hashes are made ------------------------------------------------------------


async def rehash(connection: asyncpg.Connection) -> None:
    """Make every leaf, root and hash of Chengdu's what the changed columns say, and the head too."""
    previous, moment = chain.GENESIS, None
    for block in await connection.fetch("SELECT * FROM block WHERE programme = $1 ORDER BY last", CHENGDU):
        rows = await connection.fetch(
            "SELECT * FROM entry WHERE programme = $1 AND position BETWEEN $2 AND $3 ORDER BY position",
            CHENGDU, block["first"], block["last"],
        )  # fmt: skip
        leaves = [leaf_of(row) for row in rows]
        for row, leaf in zip(rows, leaves, strict=True):
            await connection.execute(
                "UPDATE entry SET leaf = $3 WHERE programme = $1 AND position = $2", CHENGDU, row["position"], leaf
            )
        fields = {name: block[name] for name in ("programme", "first", "last", "recorded_at", "policy", "issued")}
        root, moment = chain.merkle_root(leaves), block["recorded_at"]
        hashed = chain.block_hash(**fields, root=root, previous=previous)
        await connection.execute(
            "UPDATE block SET root = $3, previous = $4, hash = $5 WHERE programme = $1 AND last = $2",
            CHENGDU, block["last"], root, previous, hashed,
        )  # fmt: skip
        previous, last = hashed, block["last"]
    await connection.execute(
        "UPDATE head SET hash = $2, position = $3, recorded_at = $4 WHERE programme = $1",
        CHENGDU,
        previous,
        last,
        moment,
    )


def leaf_of(row: asyncpg.Record) -> bytes:
    decision = Decision(**{name: row[name] for name in Decision.__slots__})
    programme, moment = chain.encoded_programme(row["programme"]), chain.encoded_moment(row["recorded_at"])
    return chain.leaf_of(chain.encode(programme, row["position"], moment, row["key"], decision, row["event"]))


async def found_after_rehash(connection: asyncpg.Connection, *statements: str) -> Verification:
    async with changed(connection, *statements):
        await rehash(connection)
        return await verify(connection, CHENGDU)


async def test_hashes_made_anew_without_a_change_are_the_same(stored):
    assert (await found_after_rehash(stored)).ok


def set_entry(position: int, what: str) -> str:
    return f"UPDATE entry SET {what} WHERE programme = '{CHENGDU}' AND position = {position}"


@pytest.mark.parametrize(
    ("position", "what"),
    [
        (1, "granted = granted - 1"),
        (1, "quota_used = quota_used + 1"),
        (1, "budget_remaining = budget_remaining + 1"),
        (1, "quota_limit = quota_limit + 1"),
        (1, "valid_until = '2024-12-31'"),
        (1, "claim = NULL"),
        (1, "provider = 'x'"),
        (2, "payable = payable + 1"),
        (2, "voucher_remaining = voucher_remaining + 1"),
        (2, "amount = amount + 1"),
        (2, "enterprise = 'x'"),
        (2, "key = '\\x00112233445566778899aabbccddeeff'"),
        (2, "event = convert_to(replace(convert_from(event, 'UTF8'), '10000.00', '10000.01'), 'UTF8')"),
        (5, "accepted = true, code = NULL, granted = amount, voucher_remaining = amount"),
        (7, "code = 'exceeds_budget'"),
        (9, "period = '2025'"),
        (10, "enterprise = NULL"),
        (11, "event = 'not json'"),
        (11, "kind = 'lost'"),
        (16, "code = 'voucher_expired'"),
        (16, "recorded_at = recorded_at + interval '1 microsecond'"),
    ],
)
async def test_a_wrong_entry_is_named_however_right_its_hashes_are(stored, position, what):
    found = await found_after_rehash(stored, set_entry(position, what))
    assert found.first_bad_position == position, found


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (3, "issued = '{\"2024\":95000001}'"),
        (3, "recorded_at = recorded_at + interval '1 microsecond'"),
        (5, "policy = (SELECT digest FROM policy WHERE revision = 2)"),
        (12, "policy = (SELECT digest FROM policy WHERE revision = 1 AND programme = 'chengdu-2024')"),
        (16, "policy = '\\x01'"),
    ],
)
async def test_a_wrong_block_is_named_however_right_its_hashes_are(stored, first, what):
    found = await found_after_rehash(
        stored, f"UPDATE block SET {what} WHERE programme = '{CHENGDU}' AND first = {first}"
    )
    assert found.first_bad_position == first, found


async def test_time_that_runs_back_is_named_however_right_its_hashes_are(stored):
    moment = "recorded_at = '2024-05-06T04:10:00Z'"
    statements = [f"UPDATE {table} SET {moment} WHERE {column} >= 17 AND programme = '{CHENGDU}'"
                  for table, column in (("entry", "position"), ("block", "first"))]  # fmt: skip
    found = await found_after_rehash(stored, *statements)
    assert (found.first_bad_position, found.reason) == (17, "the block was recorded before the block before it")


async def test_an_event_taken_in_twice_is_named_however_right_its_hashes_are(stored):
    entry = await copy_of(stored, "entry", f"position = {LAST}", position=str(LAST + 1))
    block = await copy_of(stored, "block", f"last = {LAST}", first=str(LAST + 1), last=str(LAST + 1))
    found = await found_after_rehash(stored, entry, block)
    assert found.first_bad_position == LAST + 1
    assert "twice" in found.reason


async def test_the_end_cut_off_with_its_hashes_made_right_is_told_by_nothing_but_the_head(stored):
    """What verify cannot see by itself: who keeps a hash of the head elsewhere sees it."""
    cut = [of("entry", "position >= 17"), of("block", "first >= 17")]
    assert await first_bad(stored, *cut) == 17
    assert (await found_after_rehash(stored, *cut)).ok


# ---- While others write ----------------------------------------------------------------------------------------------


async def test_a_ledger_that_is_written_to_meanwhile_is_verified_as_of_one_moment(ledger, pool, monkeypatch):
    monkeypatch.setattr(rows_module, "CHUNK", 3)  # so that others write between one chunk and the next
    await ledger.append(CHENGDU, [as_inbound(issue_event("V", amount="10000.00"))])
    writing = asyncio.create_task(_write(ledger))
    seen = set()
    while not writing.done():
        found = await verify(pool, CHENGDU)
        assert found.ok, found
        seen.add(found.entries)
    await writing
    assert len(seen) > 3


async def _write(ledger: Ledger) -> None:
    for n in range(60):
        await ledger.append(CHENGDU, [as_inbound(redemption_event("V", n, amount="0.01"))])
