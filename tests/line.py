"""The line from the streams to the ledger and on to the platforms, run inside the test: services started, fed, and looked at."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import asyncpg
from events_made import Wire, raw
from eventually import eventually
from redis.asyncio import Redis

from schemas.decoding import decode
from services.broker import DEAD_LETTERS, FIELD, GROUP, each_entry, notification_stream
from services.consumers import exhausted, issued, redeemed
from services.consumers.reading import stream_key_of
from services.consumers.service import Consumer, served_policies
from services.notifier import Notifier
from services.settings import Settings

CHENGDU = "chengdu-2024"
BUILD: Mapping[str, Callable[[Settings], Consumer]] = {
    "issued": issued.build, "redeemed": redeemed.build, "exhausted": exhausted.build,
}  # fmt: skip


def quick_settings(database_url: str, redis_url: str, **changes: Any) -> Settings:
    """Return settings under which everything that waits waits briefly."""
    return Settings(**{
        "database_url": database_url, "redis_url": redis_url, "programmes": frozenset({CHENGDU}), "readers": 1,
        "block_ms": 50, "claim_idle_seconds": 0.5, "claim_every_seconds": 0.1, "expire_every_seconds": 0.1,
        "retry_seconds_max": 0.2, "graceful_seconds": 2, "database_connections_max": 3, **changes,
    })  # fmt: skip


@contextlib.asynccontextmanager
async def running(name: str, settings: Settings) -> AsyncIterator[Consumer]:
    """Run a consumer as its process would, but for the signals."""
    consumer = BUILD[name](settings)
    async with consumer.app.lifespan_context():
        await consumer.app.start()
        try:
            yield consumer
        finally:
            await consumer.app.stop()


@contextlib.asynccontextmanager
async def notifying(settings: Settings) -> AsyncIterator[Notifier]:
    notifier = Notifier(settings, served_policies(settings))
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError), results[0]


async def send(redis: Redis, *events: Wire) -> list[bytes]:
    """Send events to their streams, in their order; return their entries' ids."""
    return await send_raw(redis, *((stream_key_of(decode(raw(event))), raw(event)) for event in events))


async def send_raw(redis: Redis, *entries: tuple[str, bytes]) -> list[bytes]:
    """Send bytes to streams, whatever they are."""
    async with redis.pipeline(transaction=False) as pipeline:
        for stream, data in entries:
            pipeline.xadd(stream, {FIELD: data})
        return await pipeline.execute()


async def entries_of(admin: "asyncpg.Connection", programme: str = CHENGDU) -> list[asyncpg.Record]:
    return await admin.fetch("SELECT * FROM entry WHERE programme = $1 ORDER BY position", programme)


async def entered(admin: "asyncpg.Connection", count: int, seconds: float = 20) -> list[asyncpg.Record]:
    """Wait for so many entries, and return them."""
    rows = await eventually(lambda: _at_least(admin, count), seconds, f"{count} entries")
    assert len(rows) == count
    return rows


async def _at_least(admin: "asyncpg.Connection", count: int) -> list[asyncpg.Record]:
    rows = await entries_of(admin)
    return rows if len(rows) >= count else []


async def settled(redis: Redis, streams: Iterable[str], seconds: float = 20) -> None:
    """Wait until every entry of the streams was delivered and acknowledged."""
    for stream in streams:
        await eventually(lambda: _is_done(redis, stream), seconds, f"nothing waits on {stream}")  # noqa: B023  awaited within


async def _is_done(redis: Redis, stream: str) -> bool:
    for group in await redis.xinfo_groups(stream):
        if group["name"] == GROUP.encode():
            return group["lag"] == 0 and group["pending"] == 0
    return False


async def pending(redis: Redis, stream: str) -> int:
    return (await redis.xpending(stream, GROUP))["pending"]


async def dead_letters(redis: Redis) -> list[dict[str, Any]]:
    """Return the dead letters; their bytes as bytes, all else as text."""
    return [
        {name.decode(): value if name == FIELD else value.decode() for name, value in fields.items()}
        async for _, fields in each_entry(redis, DEAD_LETTERS)
    ]


async def notifications(redis: Redis, programme: str = CHENGDU) -> list[tuple[bytes, Wire]]:
    """Return what platforms were told, with the ids."""
    return [(id_, json.loads(fields[FIELD])) async for id_, fields in each_entry(redis, notification_stream(programme))]
