"""The line from the streams to the ledger and on to the platforms, run inside the test: services started, fed, and looked at."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any
from unittest import mock

import asyncpg
import structlog
from events_made import Wire, raw
from eventually import eventually
from redis.asyncio import Redis

from schemas.decoding import decode
from services import logs
from services.broker import DEAD_LETTERS, FIELD, GROUP, each_entry, notification_stream
from services.consumers import exhausted, issued, redeemed
from services.consumers.service import Consumer
from services.notifier import Notifier
from services.placing import stream_key_of
from services.served import served_policies
from services.settings import Settings
from services.tasks import end

CHENGDU = "chengdu-2024"
BUILD: Mapping[str, Callable[[Settings], Consumer]] = {
    "issued": issued.build, "redeemed": redeemed.build, "exhausted": exhausted.build,
}  # fmt: skip

_PLAIN = [structlog.processors.add_log_level, structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer()]


def quick_settings(database_url: str, redis_url: str, **changes: Any) -> Settings:
    """Return settings under which everything that waits waits briefly."""
    return Settings(**{
        "database_url": database_url, "redis_url": redis_url, "programmes": frozenset({CHENGDU}), "readers": 1,
        "block_ms": 50, "claim_idle_seconds": 0.5, "claim_every_seconds": 0.1, "expire_every_seconds": 0.1,
        "retry_seconds_max": 0.2, "graceful_seconds": 2, "database_connections_max": 3, **changes,
    })  # fmt: skip


@contextlib.asynccontextmanager
async def running(name: str, settings: Settings) -> AsyncIterator[Consumer]:
    """Run a consumer as its process would, but for the signals and the logs, which are the test's."""
    consumer = BUILD[name](settings)
    async with contextlib.AsyncExitStack() as stack:
        structlog.configure(processors=_PLAIN)
        with mock.patch.object(logs, "set_up"):
            await stack.enter_async_context(consumer.app.lifespan_context())
        await consumer.app.start()
        stack.push_async_callback(consumer.app.stop)
        yield consumer


@contextlib.asynccontextmanager
async def notifying(settings: Settings) -> AsyncIterator[Notifier]:
    notifier = Notifier(settings, served_policies(settings))
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        await end(task)
        assert task.cancelled(), task.exception()


async def send(redis: Redis, *what: Wire | tuple[str, bytes]) -> list[bytes]:
    """Send events to their streams, or bytes to a stream; return the entries' ids. Whoever waits for them reads all at once."""
    async with redis.pipeline(transaction=True) as pipeline:
        for one in what:
            stream, data = one if isinstance(one, tuple) else (stream_key_of(decode(raw(one))), raw(one))
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


@contextlib.asynccontextmanager
async def held_head(database_url: str, programme: str = CHENGDU) -> AsyncIterator[None]:
    """Hold the programme's head: whoever appends waits for as long."""
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM head WHERE programme = $1 FOR UPDATE", programme)
            yield
    finally:
        await holder.close()


async def dead_letters(redis: Redis) -> list[dict[str, Any]]:
    """Return the dead letters; their bytes as bytes, all else as text."""
    return [
        {name.decode(): value if name == FIELD else value.decode() for name, value in fields.items()}
        async for _, fields in each_entry(redis, DEAD_LETTERS)
    ]


async def notifications(redis: Redis, programme: str = CHENGDU) -> list[tuple[bytes, Wire]]:
    """Return what platforms were told, with the ids."""
    return [(id_, json.loads(fields[FIELD])) async for id_, fields in each_entry(redis, notification_stream(programme))]
