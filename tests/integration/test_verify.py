"""Verifying: a ledger with everything in it passes, and whatever is changed behind its back is named by its position."""

import asyncio
from itertools import pairwise

import asyncpg
import pytest
from events_made import as_inbound, issue_event, redemption_event
from tampered import (
    CHENGDU,
    CODES,
    EMPTY,
    FIRSTS,
    GUIZHOU,
    LAST,
    PAID,
    REVISED_BEFORE,
    TRIED,
    changed,
    copy_of,
    first_bad,
    of,
)

from services.ledger import rows as rows_module
from services.ledger import tables
from services.ledger.append import Ledger, ProgrammeUnknownError
from services.ledger.read import programmes
from services.ledger.verify import Verification, verify


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
