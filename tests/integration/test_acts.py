"""Acting on dead letters: exactly those that were named, each written down before it is done, by whom and by which way."""

import hashlib

import asyncpg
import pytest
from line import dead_letters

from services.acts import AT_ONCE_MAX, Action, Actor, Through, carry_out, recent, user_of_the_system
from services.broker import DEAD_LETTERS
from services.letters import find_all, heads

STREAM = "voucher.issued:chengdu-2024"
CHEN = Actor("chen", Through.MONITOR)


@pytest.fixture(autouse=True)
async def migrated(template_database):
    """No ledger is opened: acts are beside it."""


async def letter(redis, event=b"garbage", stream=STREAM, reason="not_json"):
    fields = {"event": event, "stream": stream, "entry_id": "5-0", "reason": reason, "detail": "…", "failed_at": "2024"}
    return (await redis.xadd(DEAD_LETTERS, fields)).decode()


async def act(pool, redis, action, letter_ids, actor=CHEN):
    return [done async for some in carry_out(pool, redis, actor, action, letter_ids) for done in some]


async def test_a_replay_sends_these_and_no_others_and_says_who(pool, redis):
    first, kept, last = [await letter(redis, event) for event in (b"a", b"b", b"c")]
    assert await act(pool, redis, Action.REPLAY, [first, last]) == [first, last]
    assert [one["event"] for one in await dead_letters(redis)] == [b"b"]
    assert [fields[b"event"] for _, fields in await redis.xrange(STREAM)] == [b"a", b"c"]
    newest, oldest = await recent(pool, 10)
    assert (oldest.letter_id, newest.letter_id) == (first, last)
    assert (newest.who, newest.through, newest.action, newest.done) == ("chen", "monitor", "replay", True)
    assert (newest.stream, newest.entry_id, newest.reason) == (STREAM, "5-0", "not_json")
    assert newest.event_sha256 == hashlib.sha256(b"c").digest()
    assert kept not in {newest.letter_id, oldest.letter_id}


async def test_what_is_discarded_is_gone_and_written_down(pool, redis):
    letters = [await letter(redis) for _ in range(AT_ONCE_MAX + 5)]
    assert await act(pool, redis, Action.DISCARD, letters, Actor("root", Through.COMMAND_LINE)) == letters
    assert await dead_letters(redis) == []
    assert not await redis.exists(STREAM)
    acts = await recent(pool, 1_000)
    assert [one.letter_id for one in reversed(acts)] == letters
    assert {(one.who, one.through, one.action, one.done) for one in acts} == {("root", "command line", "discard", True)}


async def test_what_others_took_meanwhile_is_not_claimed(pool, redis, monkeypatch):
    taken, left = await letter(redis), await letter(redis)
    gone_before = "1-1"

    async def found_and_then_taken(client, letter_ids):
        found = await find_all(client, letter_ids)
        await client.xdel(DEAD_LETTERS, taken)
        return found

    monkeypatch.setattr("services.acts.find_all", found_and_then_taken)
    assert await act(pool, redis, Action.REPLAY, [gone_before, taken, left]) == [left]
    assert [(one.letter_id, one.done) for one in await recent(pool, 10)] == [(left, True), (taken, False)]
    assert await redis.xlen(STREAM) == 1


async def test_nothing_is_done_that_cannot_be_written_down(pool, redis, admin):
    await admin.execute("REVOKE INSERT ON act FROM voucher_ledger_service")
    kept = await letter(redis)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await act(pool, redis, Action.DISCARD, [kept])
    assert len(await dead_letters(redis)) == 1


async def test_an_act_that_was_cut_short_is_in_the_log_as_such(pool, redis, monkeypatch):
    done, failing = await letter(redis), await letter(redis, stream="voucher.issued:elsewhere")
    await redis.set("voucher.issued:elsewhere", "no stream")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await act(pool, redis, Action.REPLAY, [done, failing])
    assert [(one.letter_id, one.done) for one in await recent(pool, 10)] == [(failing, None), (done, True)]
    assert [one.to_json()["outcome"] for one in await recent(pool, 10)] == ["unknown", "done"]


async def test_the_log_stays(pool, redis, admin):
    await act(pool, redis, Action.DISCARD, [await letter(redis)])
    await admin.execute("INSERT INTO verification (programme, began_at, entries, ok) VALUES ('x', now(), 0, true)")
    for table, column in (("act", "who"), ("act_outcome", "done"), ("verification", "ok")):
        for change in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                await pool.execute(change)
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await admin.execute(change)
    assert len(await recent(pool, 10)) == 1


async def test_letters_are_listed_without_their_events(redis):
    big = await letter(redis, b"x" * 100_000, reason="invalid_data")
    small = await letter(redis)
    assert [(one.id, one.size, one.reason) for one in await heads(redis, None, 10)] == [
        (big, 100_000, "invalid_data"),
        (small, 7, "not_json"),
    ]
    assert [one.id for one in await heads(redis, big, 10)] == [small]
    assert [one.id for one in await heads(redis, None, 1)] == [big]
    assert await heads(redis, small, 10) == []


def test_the_user_of_the_system_has_a_name():
    assert user_of_the_system()
