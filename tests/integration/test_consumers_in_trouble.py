"""The consumers when another consumer dies, an event is our mistake, or a broker refuses: nothing is lost, and readiness says so."""

import asyncio
import contextlib
import gc
import weakref

import pytest
from events_made import issue_event, raw, redemption_event, uscc
from eventually import eventually
from line import (
    CHENGDU,
    dead_letters,
    entered,
    entries_of,
    held_head,
    pending,
    quick_settings,
    running,
    send,
    settled,
)

from services.broker import GROUP, issued_streams
from services.consumers import holding, intake, service
from services.consumers.claims import Claimer
from services.consumers.intake import UNDECIDABLE_MAX, Intake, RawEntry

ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture
def settings(database_url, redis_url, monkeypatch):
    monkeypatch.setattr(service, "_HELD_UNREADY_SECONDS", 0.2)
    return quick_settings(database_url, redis_url)


def issues(count: int) -> list[dict]:
    return [issue_event(f"V{number}", enterprise=uscc(number)) for number in range(count)]


# ---- Batches that a consumer left --------------------------------------------------------------------------------------


async def test_what_a_dead_consumer_left_pending_is_taken_over(settings, redis, admin):
    await send(redis, *issues(250), (ISSUED, b"garbage"))
    await redis.xgroup_create(ISSUED, GROUP, id="0")
    await redis.xreadgroup(GROUP, "a consumer that is dead now", {ISSUED: ">"}, count=1_000)
    settings = settings.model_copy(update={"batch_size": 40})
    async with running("issued", settings):
        await entered(admin, 250)
        await settled(redis, [ISSUED])
    assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]


async def test_what_was_handed_out_often_is_taken_over_in_ever_smaller_parts(settings, redis, admin, monkeypatch):
    """Whatever ends the process each time, it takes no more and no more neighbours along."""
    await send(redis, *issues(64))
    await redis.xgroup_create(ISSUED, GROUP, id="0")
    await redis.xreadgroup(GROUP, "a consumer that is dead now", {ISSUED: ">"}, count=1_000)
    take, parts = Intake.take, []

    async def deadly(self, stream, entries):
        if any(b'"V5"' in entry.fields[b"event"] for entry in entries):
            parts.append(len(entries))
            raise ZeroDivisionError("as if the process had ended")
        await take(self, stream, entries)

    monkeypatch.setattr(Intake, "take", deadly)
    async with running("issued", settings.model_copy(update={"batch_size": 64, "claim_idle_seconds": 0.3})):
        rows = await entered(admin, 63, seconds=60)
        await eventually(lambda: parts[-1] == 1)
        await eventually(lambda: only_one_pending(redis))
    assert "V5" not in {row["voucher_id"] for row in rows}
    assert parts[: parts.index(1)] == sorted(parts[: parts.index(1)], reverse=True)


async def only_one_pending(redis) -> bool:
    return await pending(redis, ISSUED) == 1


async def test_a_batch_that_is_decided_while_the_broker_hands_it_over_is_not_decided_again(
    redis, policies, monkeypatch
):
    (stream,) = issued_streams({CHENGDU: policies[CHENGDU]})
    await send(redis, issue_event("V0"))
    await redis.xgroup_create(ISSUED, GROUP, id="0")
    ((_, read),) = await redis.xreadgroup(GROUP, "me-0", {ISSUED: ">"})
    claimer = Claimer(redis, None, "me-claims", idle_seconds=0, every_seconds=1, batch_size=10)
    claimer.in_hand.append((ISSUED, [RawEntry(*entry) for entry in read]))
    claim = redis.xautoclaim

    async def claimed_while_its_reader_comes_to_an_end(*arguments, **named):
        answer = await claim(*arguments, **named)
        claimer.in_hand.clear()
        return answer

    monkeypatch.setattr(redis, "xautoclaim", claimed_while_its_reader_comes_to_an_end)
    assert await claimer.take_over(stream) == 0


async def test_a_batch_that_two_consumers_have_in_hand_counts_once(settings, redis, admin):
    """One waits for the head for so long that the other claims its batch; the bad entry is one dead letter too."""
    patient = settings.model_copy(update={"claim_every_seconds": 60, "claim_idle_seconds": 0.1})
    consumers = {}
    async with contextlib.AsyncExitStack() as stack:
        for name in ("first", "second"):
            named = patient.model_copy(update={"consumer_name": name})
            consumers[name] = await stack.enter_async_context(running("issued", named))
        async with held_head(settings.database_url):
            await send(redis, issue_event("V0"), (ISSUED, b"garbage"))
            (reader,) = await eventually(lambda: holders(redis))
            other = "second" if reader == b"first-0" else "first"
            taking = asyncio.create_task(take_over(consumers[other]))
            await eventually(lambda: in_hand_of(redis, f"{other}-claims"))
        await taking
        await settled(redis, [ISSUED])
    assert len(await entries_of(admin)) == 1
    assert len(await dead_letters(redis)) == 1


async def holders(redis) -> set[bytes]:
    rows = await redis.xpending_range(ISSUED, GROUP, "-", "+", 10)
    return {row["consumer"] for row in rows} if len(rows) == 2 else set()


async def in_hand_of(redis, name: str) -> bool:
    return await holders(redis) == {name.encode()}


async def take_over(consumer) -> None:
    (stream,) = consumer.streams
    await eventually(lambda: consumer._claimer.take_over(stream))


async def test_a_consumer_not_seen_for_long_is_taken_off_its_group_unless_something_is_pending_with_it(settings, redis):
    await redis.xgroup_create(ISSUED, GROUP, id="0", mkstream=True)
    await send(redis, issue_event("V0"))
    await redis.xreadgroup(GROUP, "left something", {ISSUED: ">"})
    await redis.xgroup_createconsumer(ISSUED, GROUP, "left nothing")
    patient = settings.model_copy(update={"claim_every_seconds": 60, "claim_idle_seconds": 60})
    async with running("issued", patient) as consumer:
        (stream,) = consumer.streams
        await eventually(lambda: consumer._claimer.forget_gone(stream, after_ms=100))
        names = {row["name"] for row in await redis.xinfo_consumers(ISSUED, GROUP)}
        assert b"left nothing" not in names
        assert b"left something" in names


# ---- Mistakes of ours ------------------------------------------------------------------------------------------------


async def refuse_in_the_database(admin, condition: str) -> None:
    await admin.execute(f"ALTER TABLE entry ADD CONSTRAINT a_mistake CHECK ({condition})")


async def test_an_event_that_cannot_be_decided_is_set_aside_alone_and_readiness_says_so(settings, redis, admin):
    await refuse_in_the_database(admin, "voucher_id <> 'V3'")
    events = issues(7)
    ids = await send(redis, *events)
    async with running("issued", settings) as consumer:
        rows = await entered(admin, 6)
        await settled(redis, [ISSUED])
        assert consumer.ready() == (False, "1 undecidable events: see the dead letters")
    assert [row["voucher_id"] for row in rows] == ["V0", "V1", "V2", "V4", "V5", "V6"]
    (letter,) = await dead_letters(redis)
    assert (letter["reason"], letter["event"], letter["entry_id"].encode()) == ("undecidable", raw(events[3]), ids[3])
    assert "a_mistake" in letter["detail"]


async def test_a_release_that_can_decide_little_holds_the_batch_instead_of_emptying_the_queue(
    settings, redis, admin, monkeypatch
):
    monkeypatch.setattr(service, "_HELD_UNREADY_SECONDS", 0)
    monkeypatch.setattr(intake, "PAUSE_SECONDS_FIRST", 10)  # what is mended is mended between two tries
    await refuse_in_the_database(admin, "voucher_id IN ('V0', 'V30')")
    await send(redis, *issues(3 * UNDECIDABLE_MAX + 1))
    async with running("issued", settings) as consumer:
        await eventually(lambda: "is this release broken?" in consumer.ready().because)
        assert await dead_letters(redis) == []
        assert await pending(redis, ISSUED) == 31
        await admin.execute("ALTER TABLE entry DROP CONSTRAINT a_mistake")
        await entered(admin, 31)
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)
    assert await dead_letters(redis) == []


async def test_mistakes_are_counted_over_batches_so_that_small_ones_do_not_empty_the_queue_either(
    settings, redis, admin
):
    await refuse_in_the_database(admin, "false")
    settings = settings.model_copy(update={"batch_size": 4, "claim_idle_seconds": 60})
    await send(redis, *issues(40))
    async with running("issued", settings) as consumer:
        await eventually(lambda: "is this release broken?" in consumer.ready().because)
        assert len(await dead_letters(redis)) == 8
        assert await pending(redis, ISSUED) == 4
        assert len(await redis.xrange(ISSUED)) == 40


async def test_a_right_that_was_taken_away_holds_the_batch(settings, redis, admin):
    async with running("issued", settings) as consumer:
        await admin.execute("REVOKE INSERT ON entry FROM voucher_ledger_service")
        await send(redis, *issues(3))
        await eventually(lambda: consumer.ready().because.startswith("holding: InsufficientPrivilegeError"))
        assert await pending(redis, ISSUED) == 3
        await admin.execute("GRANT INSERT ON entry TO voucher_ledger_service")
        await entered(admin, 3)
        await settled(redis, [ISSUED])
    assert await dead_letters(redis) == []


async def test_an_error_while_reading_an_entry_harms_that_entry_alone(settings, redis, admin, monkeypatch):
    read_entry = intake.read_entry

    def mistaken(stream, fields, *rest):
        if b"V1" in fields[b"event"]:
            raise KeyError("a mistake of ours")
        return read_entry(stream, fields, *rest)

    monkeypatch.setattr(intake, "read_entry", mistaken)
    await send(redis, *issues(3))
    async with running("issued", settings) as consumer:
        await entered(admin, 2)
        await settled(redis, [ISSUED])
        assert not consumer.ready().ok
    assert [letter["reason"] for letter in await dead_letters(redis)] == ["undecidable"]


async def test_ending_waits_goes_on_after_a_mistake_and_readiness_says_so(settings, redis, admin):
    await refuse_in_the_database(admin, "voucher_id <> 'V0'")
    async with running("redeemed", settings.model_copy(update={"wait_hours": 0})) as consumer:
        await send(redis, redemption_event("V0"))
        await eventually(lambda: "a_mistake" in consumer.ready().because)
        assert not consumer.ready().ok
        await admin.execute("ALTER TABLE entry DROP CONSTRAINT a_mistake")
        await entered(admin, 1)
        await eventually(lambda: consumer.ready().ok)


async def test_claiming_goes_on_after_a_mistake_and_readiness_says_so(settings, redis, admin, monkeypatch):
    take, failing = Intake.take, True

    async def mistaken(self, stream, entries):
        if failing:
            raise ZeroDivisionError("a mistake of ours")
        await take(self, stream, entries)

    monkeypatch.setattr(Intake, "take", mistaken)
    async with running("issued", settings) as consumer:
        await send(redis, issue_event("V0"))
        await eventually(lambda: "ZeroDivisionError" in consumer.ready().because)
        assert await pending(redis, ISSUED) == 1
        failing = False
        await entered(admin, 1)
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)


# ---- A broker that refuses -------------------------------------------------------------------------------------------


async def test_a_consumer_that_starts_while_the_broker_is_full_waits_until_there_is_room(settings, redis, admin):
    await send(redis, issue_event("V0"))
    await redis.config_resetstat()
    await redis.config_set("maxmemory", 1)
    life = running("issued", settings)
    starting = asyncio.create_task(life.__aenter__())
    try:
        await eventually(lambda: refused(redis))
        await redis.config_set("maxmemory", 0)
        await asyncio.wait_for(starting, 20)
        await settled(redis, [ISSUED])
        assert len(await entries_of(admin)) == 1
    finally:
        await redis.config_set("maxmemory", 0)
        await life.__aexit__(None, None, None)


async def refused(redis) -> bool:
    return "errorstat_OOM" in await redis.info("errorstats")


async def test_a_full_broker_keeps_what_cannot_be_set_aside(settings, redis, admin):
    """With no memory left no letter can be kept: then its entry may not be acknowledged either."""
    async with running("issued", settings) as consumer:
        async with held_head(settings.database_url):
            await send(redis, (ISSUED, raw(issue_event("V0"))), (ISSUED, b"garbage"))
            await eventually(lambda: pending(redis, ISSUED))
            await redis.config_set("maxmemory", 1)
        try:
            await eventually(lambda: consumer.ready().because.startswith("holding: OutOfMemoryError"))
            assert await pending(redis, ISSUED) == 2
        finally:
            await redis.config_set("maxmemory", 0)
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)
    assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]
    assert len(await entries_of(admin)) == 1


@pytest.mark.parametrize("refusal", ["the group is gone", "not a stream"])
async def test_a_reader_that_cannot_read_ends_its_app_as_failed(settings, redis, refusal):
    """So that whoever keeps the process starts it again, which makes the group anew; and not by asking for ever."""
    async with running("issued", settings) as consumer:
        if refusal == "not a stream":
            async with redis.pipeline() as pipeline:
                pipeline.delete(ISSUED)
                pipeline.set(ISSUED, "text")
                await pipeline.execute()
        else:
            await redis.flushall()
        await eventually(lambda: consumer.app.stopping)
        assert consumer.failed
        assert not consumer.ready().ok


async def test_what_was_held_for_no_time_is_let_go_of_at_once():
    """Nothing is left for the garbage collector, which would stop the consumer to find it."""

    class Outcome:
        pass

    async def act():
        outcome = Outcome()
        seen.append(weakref.ref(outcome))
        return outcome

    seen = []
    held = holding.Holding(holding.Health(), retry_seconds_max=1)
    gc.disable()
    try:
        outcome = await held.until_done(act)
        assert seen[0]() is outcome
        del outcome
        assert seen[0]() is None
    finally:
        gc.enable()
