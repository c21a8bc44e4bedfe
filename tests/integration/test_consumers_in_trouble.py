"""The consumers when something around them fails: the database, the broker, another consumer, or an event that nobody foresaw."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from events_made import issue_event, raw, redemption_event, uscc
from eventually import eventually
from line import CHENGDU, dead_letters, entered, entries_of, pending, quick_settings, running, send, send_raw, settled

from services import broker
from services.broker import GROUP
from services.consumers import service
from services.embedded import Embedded
from services.ledger.migrate import migrate

ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture
def settings(database_url, redis_url):
    return quick_settings(database_url, redis_url)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Embedded]:
    """Servers of this module's own, to be killed; they keep what they said they keep."""
    embedded = Embedded(Path(tmp_path_factory.mktemp("o")), appendfsync="always")
    with embedded:
        yield embedded


@pytest_asyncio.fixture(loop_scope="session")
async def own_settings(own, monkeypatch) -> AsyncIterator[object]:
    """Settings of a consumer on them, with an empty ledger and an empty broker; it says at once when it holds."""
    monkeypatch.setattr(service, "_HELD_UNREADY_SECONDS", 0.2)
    own.postgres.start()
    own.valkey.start()
    await migrate(own.postgres.url)
    admin = await asyncpg.connect(own.postgres.url)
    await admin.execute("SET session_replication_role = replica")
    for table in ("entry", "block", "policy"):
        await admin.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL; DELETE FROM {table}")
        await admin.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_change")
        await admin.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate")
    await admin.execute("DELETE FROM head; DELETE FROM parked")
    await admin.close()
    client = broker.connect(own.valkey.url)
    await client.flushall()
    await client.aclose()
    yield quick_settings(own.postgres.url, own.valkey.url)


@contextlib.asynccontextmanager
async def connected(settings) -> AsyncIterator[tuple[broker.Redis, asyncpg.Connection]]:
    redis, admin = broker.connect(settings.redis_url), await asyncpg.connect(settings.database_url)
    try:
        yield redis, admin
    finally:
        await redis.aclose()
        admin.terminate()


async def test_while_the_database_is_away_the_batch_is_held_and_then_goes_on(own, own_settings):
    async with running("issued", own_settings) as consumer, connected(own_settings) as (redis, _):
        await send(redis, issue_event("V0"))
        await settled(redis, [ISSUED])
        await asyncio.to_thread(own.postgres.kill)
        await send(redis, issue_event("V1", enterprise=uscc(2)), issue_event("V2", enterprise=uscc(3)))
        await send_raw(redis, (ISSUED, b"garbage"))
        await eventually(lambda: not consumer.ready().ok)
        assert consumer.ready().because.startswith("holding: ")
        await eventually(lambda: pending(redis, ISSUED))
        assert await dead_letters(redis) == []
        await asyncio.to_thread(own.postgres.start)
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)
        assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]
    async with connected(own_settings) as (_, admin):
        assert [row["voucher_id"] for row in await entries_of(admin)] == ["V0", "V1", "V2"]


async def test_a_consumer_that_is_started_before_its_servers_waits_for_them(own, own_settings):
    async with connected(own_settings) as (redis, _):
        await send(redis, issue_event("V0"))
    await asyncio.to_thread(own.postgres.kill)
    await asyncio.to_thread(own.valkey.kill)
    consumer = service_of(own_settings)
    task = asyncio.create_task(enter(consumer))
    await asyncio.sleep(0)
    assert consumer.ready() == (False, "starting")
    await asyncio.to_thread(own.postgres.start)
    await asyncio.to_thread(own.valkey.start)
    stop = await asyncio.wait_for(task, 20)
    async with connected(own_settings) as (redis, admin):
        await entered(admin, 1)
        await settled(redis, [ISSUED])
    await stop()


def service_of(settings):
    from line import BUILD  # noqa: PLC0415

    return BUILD["issued"](settings)


async def enter(consumer):
    stack = contextlib.AsyncExitStack()
    await stack.enter_async_context(consumer.app.lifespan_context())
    await consumer.app.start()
    stack.push_async_callback(consumer.app.stop)
    return stack.aclose


async def test_while_the_broker_is_away_nothing_is_lost_and_it_says_so(own, own_settings):
    async with running("issued", own_settings) as consumer:
        async with connected(own_settings) as (redis, _):
            await send(redis, issue_event("V0"))
            await settled(redis, [ISSUED])
        await asyncio.to_thread(own.valkey.kill)
        await eventually(lambda: not consumer.ready().ok)
        await asyncio.to_thread(own.valkey.start)
        async with connected(own_settings) as (redis, admin):
            await send(redis, issue_event("V1", enterprise=uscc(2)))
            await settled(redis, [ISSUED])
            await eventually(lambda: consumer.ready().ok)
            assert [row["voucher_id"] for row in await entries_of(admin)] == ["V0", "V1"]


async def test_a_broker_that_dies_between_commit_and_acknowledgement_makes_no_second_entry(own, own_settings):
    """The head is held until the broker is dead: then the batch commits, its acknowledgement fails, and it comes again."""
    async with running("issued", own_settings) as consumer:
        async with connected(own_settings) as (redis, admin):
            await send_raw(redis, (ISSUED, raw(issue_event("V0"))), (ISSUED, b"garbage"))
            async with held_head(admin):
                await send(redis, issue_event("V1", enterprise=uscc(2)))
                await send_raw(redis, (ISSUED, b"more garbage"))
                await eventually(lambda: pending(redis, ISSUED))
                await asyncio.to_thread(own.valkey.kill)
            await entered(admin, 2 if await committed(admin) == 2 else 1)
            await asyncio.to_thread(own.valkey.start)
        async with connected(own_settings) as (redis, admin):
            await settled(redis, [ISSUED])
            assert [row["voucher_id"] for row in await entries_of(admin)] == ["V0", "V1"]
            assert sorted(letter["event"] for letter in await dead_letters(redis)) == [b"garbage", b"more garbage"]
            await eventually(lambda: consumer.ready().ok)


async def committed(admin) -> int:
    await eventually(lambda: admin.fetchval("SELECT count(*) FROM entry"))
    return await admin.fetchval("SELECT count(*) FROM entry")


@contextlib.asynccontextmanager
async def held_head(admin, programme: str = CHENGDU) -> AsyncIterator[None]:
    """Hold the programme's head, so that whoever appends waits; over when a consumer waits for it and the block is left."""
    async with admin.transaction():
        await admin.execute("SELECT FROM head WHERE programme = $1 FOR UPDATE", programme)
        yield


async def test_what_a_dead_consumer_left_pending_is_taken_over(settings, redis, admin):
    await send(redis, *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(250)))
    await send_raw(redis, (ISSUED, b"garbage"))
    await redis.xgroup_create(ISSUED, GROUP, id="0")
    await redis.xreadgroup(GROUP, "a consumer that is dead now", {ISSUED: ">"}, count=1_000)
    settings = settings.model_copy(update={"batch_size": 40})
    async with running("issued", settings):
        await entered(admin, 250)
        await settled(redis, [ISSUED])
    assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]


async def test_a_batch_in_hand_is_not_taken_over_by_its_own_consumer_and_twice_over_counts_once(settings, redis, admin):
    """Two consumers hold the same batch while the head is held: one claims it of the other. It counts once, bad entries too."""
    first = settings.model_copy(update={"consumer_name": "first"})
    second = settings.model_copy(update={"consumer_name": "second"})
    async with running("issued", first):
        async with held_head(admin):
            await send(redis, issue_event("V0"))
            await send_raw(redis, (ISSUED, b"garbage"))
            await eventually(lambda: pending(redis, ISSUED))
            async with running("issued", second):
                await eventually(lambda: claimed_by(redis, b"second-claims"))
                await admin.execute("SELECT 1")
                break_out = asyncio.Event()
                break_out.set()
        await settled(redis, [ISSUED])
    assert len(await entries_of(admin)) == 1
    assert len(await dead_letters(redis)) == 1


async def claimed_by(redis, name: bytes) -> bool:
    return any(row["consumer"] == name for row in await redis.xpending_range(ISSUED, GROUP, "-", "+", 10))


async def refuse_in_the_database(admin, voucher_id: str) -> None:
    await admin.execute(f"ALTER TABLE entry ADD CONSTRAINT a_mistake CHECK (voucher_id <> '{voucher_id}')")


async def test_an_event_that_cannot_be_decided_is_set_aside_alone_and_readiness_says_so(settings, redis, admin):
    await refuse_in_the_database(admin, "V3")
    events = [issue_event(f"V{number}", enterprise=uscc(number)) for number in range(7)]
    *_, culprit_id, _, _, _ = await send(redis, *events)
    async with running("issued", settings) as consumer:
        rows = await entered(admin, 6)
        await settled(redis, [ISSUED])
        assert consumer.ready() == (False, "1 undecidable events: see the dead letters")
    assert [row["voucher_id"] for row in rows] == ["V0", "V1", "V2", "V4", "V5", "V6"]
    (letter,) = await dead_letters(redis)
    assert (letter["reason"], letter["event"], letter["entry_id"].encode()) == ("undecidable", raw(events[3]), culprit_id)
    assert "a_mistake" in letter["detail"]


async def test_an_error_while_reading_an_entry_harms_that_entry_alone(settings, redis, admin, monkeypatch):
    from services.consumers import intake  # noqa: PLC0415

    read_entry = intake.read_entry

    def mistaken(stream, fields, serves):
        if b"V1" in fields[b"event"]:
            raise KeyError("a mistake of ours")
        return read_entry(stream, fields, serves)

    monkeypatch.setattr(intake, "read_entry", mistaken)
    await send(redis, *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(3)))
    async with running("issued", settings) as consumer:
        await entered(admin, 2)
        await settled(redis, [ISSUED])
        assert not consumer.ready().ok
    assert [letter["reason"] for letter in await dead_letters(redis)] == ["undecidable"]


async def test_ending_waits_goes_on_after_a_mistake_and_readiness_says_so(database_url, redis_url, redis, admin):
    settings = quick_settings(database_url, redis_url, wait_hours=0)
    await refuse_in_the_database(admin, "V0")
    async with running("redeemed", settings) as consumer:
        await send(redis, redemption_event("V0"))
        await eventually(lambda: not consumer.ready().ok)
        assert "a_mistake" in consumer.ready().because
        await admin.execute("ALTER TABLE entry DROP CONSTRAINT a_mistake")
        await entered(admin, 1)
        await eventually(lambda: consumer.ready().ok)


async def test_claiming_goes_on_after_a_mistake_and_readiness_says_so(settings, redis, admin, monkeypatch):
    from services.consumers.intake import Intake  # noqa: PLC0415

    take, failing = Intake.take, True

    async def mistaken(self, stream, entries):
        if failing:
            raise ZeroDivisionError("a mistake of ours")
        await take(self, stream, entries)

    monkeypatch.setattr(Intake, "take", mistaken)
    async with running("issued", settings) as consumer:
        await send(redis, issue_event("V0"))
        await eventually(lambda: not consumer.ready().ok)
        assert "a mistake of ours" in consumer.ready().because
        assert await pending(redis, ISSUED) == 1
        failing = False
        await entered(admin, 1)
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)


async def test_a_full_broker_keeps_what_cannot_be_set_aside(settings, redis, admin):
    """With no memory left no letter can be kept: then its entry may not be acknowledged either."""
    async with running("issued", settings) as consumer:
        await eventually(lambda: consumer.ready().ok)
        await send_raw(redis, (ISSUED, raw(issue_event("V0"))), (ISSUED, b"garbage"))
        await settled(redis, [ISSUED])
        await redis.xgroup_setid(ISSUED, GROUP, id="0")
        await redis.delete("dead-letter")
        await redis.config_set("maxmemory", 1)
        try:
            await eventually(lambda: pending(redis, ISSUED))
            await asyncio.sleep(0.3)
            assert await pending(redis, ISSUED)
        finally:
            await redis.config_set("maxmemory", 0)
        await settled(redis, [ISSUED])
    assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]
    assert len(await entries_of(admin)) == 1
