"""The consumers while PostgreSQL or Valkey is away: what they have in hand is held, nothing is lost, and they say so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import pytest_asyncio
from events_made import issue_event, uscc
from eventually import eventually
from line import (
    CHENGDU,
    dead_letters,
    entries_of,
    held_head,
    notifications,
    notifying,
    pending,
    quick_settings,
    running,
    send,
    settled,
)

from services import broker
from services.consumers import service
from services.embedded import Embedded
from services.ledger.migrate import migrate
from services.settings import Settings

ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Embedded]:
    """Servers to be killed, of this module's own; they keep what they acknowledged."""
    embedded = Embedded(tmp_path_factory.mktemp("o"), appendfsync="always")
    embedded.start()
    yield embedded
    embedded.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def settings(own: Embedded, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings for an empty ledger and an empty broker on them; who holds says so at once, who reads tries again soon."""
    monkeypatch.setattr(service, "_HELD_UNREADY_SECONDS", 0.2)
    pause = "faststream.redis.subscriber.usecases.stream_subscriber.CONSUME_ERROR_BACKOFF_SECONDS"
    monkeypatch.setattr(pause, 0.2)
    own.postgres.start()
    own.valkey.start()
    administrator = await asyncpg.connect(own.postgres.url.replace("/ledger?", "/postgres?"))
    await administrator.execute("DROP DATABASE ledger WITH (FORCE)")
    await administrator.execute("CREATE DATABASE ledger")
    await administrator.close()
    await migrate(own.postgres.url)
    client = broker.connect(own.valkey.url)
    await client.flushall()
    await client.aclose()
    return quick_settings(own.postgres.url, own.valkey.url)


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[tuple[broker.Redis, asyncpg.Connection]]:
    redis, admin = broker.connect(settings.redis_url), await asyncpg.connect(settings.database_url)
    try:
        yield redis, admin
    finally:
        await redis.aclose()
        admin.terminate()


async def vouchers(admin: asyncpg.Connection) -> list[str]:
    return [row["voucher_id"] for row in await entries_of(admin)]


async def test_while_the_database_is_away_the_batch_is_held_and_then_goes_on(own, settings):
    async with running("issued", settings) as consumer, connected(settings) as (redis, _):
        await send(redis, issue_event("V0"))
        await settled(redis, [ISSUED])
        await asyncio.to_thread(own.postgres.kill)
        await send(
            redis, issue_event("V1", enterprise=uscc(2)), issue_event("V2", enterprise=uscc(3)), (ISSUED, b"garbage")
        )
        await eventually(lambda: consumer.ready().because.startswith("holding: "))
        assert not consumer.ready().ok
        assert await pending(redis, ISSUED) == 3
        assert await dead_letters(redis) == []
        await asyncio.to_thread(own.postgres.start)
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)
        assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]
    async with connected(settings) as (_, admin):
        assert await vouchers(admin) == ["V0", "V1", "V2"]


async def test_while_the_broker_is_away_nothing_is_lost_and_it_says_so(own, settings):
    async with running("issued", settings) as consumer:
        async with connected(settings) as (redis, _):
            await send(redis, issue_event("V0"))
            await settled(redis, [ISSUED])
        await asyncio.to_thread(own.valkey.kill)
        await eventually(lambda: not consumer.ready().ok)
        await asyncio.to_thread(own.valkey.start)
        async with connected(settings) as (redis, admin):
            await send(redis, issue_event("V1", enterprise=uscc(2)))
            await settled(redis, [ISSUED])
            await eventually(lambda: consumer.ready().ok)
            assert await vouchers(admin) == ["V0", "V1"]


async def test_a_broker_that_dies_between_commit_and_acknowledgement_makes_nothing_double(own, settings):
    """The head is held until the broker is dead: the batch then commits, cannot be acknowledged, and comes once more."""
    async with running("issued", settings) as consumer:
        async with connected(settings) as (redis, admin):
            async with held_head(settings.database_url):
                await send(redis, issue_event("V0"), (ISSUED, b"garbage"))
                await eventually(lambda: pending(redis, ISSUED))
                await asyncio.to_thread(own.valkey.kill)
            await eventually(lambda: vouchers(admin))
        await asyncio.to_thread(own.valkey.start)
        async with connected(settings) as (redis, admin):
            await send(redis, issue_event("V1", enterprise=uscc(2)))
            await settled(redis, [ISSUED])
            assert await vouchers(admin) == ["V0", "V1"]
            assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage"]
            await eventually(lambda: consumer.ready().ok)


async def test_a_consumer_that_is_started_before_its_servers_waits_for_them(own, settings):
    async with connected(settings) as (redis, _):
        await send(redis, issue_event("V0"))
    await asyncio.to_thread(own.valkey.kill)
    await asyncio.to_thread(own.postgres.kill)
    life = running("issued", settings)
    starting = asyncio.create_task(life.__aenter__())
    try:
        for server in (own.postgres, own.valkey):
            # Long enough for it to have tried, and to have failed, before each of them is there.
            done, _ = await asyncio.wait([starting], timeout=0.4)
            assert not done
            await asyncio.to_thread(server.start)
        consumer = await asyncio.wait_for(starting, 20)
        async with connected(settings) as (redis, admin):
            await settled(redis, [ISSUED])
            assert await vouchers(admin) == ["V0"]
        assert consumer.ready().ok
    finally:
        await life.__aexit__(None, None, None)


@pytest.mark.parametrize("away", ["postgres", "valkey"])
async def test_a_consumer_that_holds_ends_in_time_and_leaves_its_batch_to_others(own, settings, away):
    loop = asyncio.get_running_loop()
    settings = settings.model_copy(update={"graceful_seconds": 0.5})
    async with contextlib.AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(running("issued", settings))
        async with connected(settings) as (redis, _):
            if away == "postgres":
                await asyncio.to_thread(own.postgres.kill)
                await send(redis, issue_event("V0"))
                await eventually(lambda: pending(redis, ISSUED))
            else:
                async with held_head(settings.database_url):
                    await send(redis, (ISSUED, b"garbage"), issue_event("V0"))
                    await eventually(lambda: pending(redis, ISSUED))
                    await asyncio.to_thread(own.valkey.kill)
            await eventually(lambda: not consumer.ready().ok)
        began = loop.time()
        await stack.aclose()
        assert loop.time() - began < 10
    getattr(own, away).start()
    async with connected(settings) as (redis, admin):
        assert await pending(redis, ISSUED) >= 1
        async with running("issued", settings):
            await settled(redis, [ISSUED])
        assert await vouchers(admin) == ["V0"]
        assert len(await dead_letters(redis)) == (away == "valkey")


@pytest.mark.parametrize("away", ["postgres", "valkey"])
async def test_a_notifier_goes_on_after_its_servers_were_away(own, settings, away):
    async with notifying(settings) as notifier, running("issued", settings):
        async with connected(settings) as (redis, admin):
            await send(redis, *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(20)))
            await eventually(lambda: told(redis, 20))
        await asyncio.to_thread(getattr(own, away).kill)
        await eventually(lambda: not notifier.ready().ok)
        await asyncio.to_thread(getattr(own, away).start)
        async with connected(settings) as (redis, admin):
            await send(redis, *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(20, 40)))
            await eventually(lambda: told(redis, 40))
            await eventually(lambda: notifier.ready().ok)
            assert [row["voucher_id"] for row in await entries_of(admin)] == [f"V{number}" for number in range(40)]


async def told(redis, count: int) -> bool:
    ids = [id_ for id_, _ in await notifications(redis)]
    assert ids == [f"{position}-0".encode() for position in range(1, len(ids) + 1)]
    return len(ids) == count
