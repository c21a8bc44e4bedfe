"""Verifying: what is changed by someone who knows how the hashes are made, and makes them anew."""

import asyncpg
import pytest
from tampered import CHENGDU, LAST, changed, copy_of, first_bad, of

from services.ledger import chain
from services.ledger.entry import Decision
from services.ledger.verify import Verification, verify


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
