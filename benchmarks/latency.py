"""The bench `latency`: from XADD to the notification that a platform can read, while events come at a steady rate.

Open loop: every event has its moment in a schedule that waits for nobody, and its latency counts from that moment, so a stall is
seen by all events that fell into it. The driver is this process: one task sends what is due, one reads the notifications.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from benchmarks import backlog
from benchmarks.backlog import Line
from benchmarks.children import services
from benchmarks.programmes import Programme
from benchmarks.registry import Sample, contends
from benchmarks.results import percentile
from benchmarks.scale import Scale
from benchmarks.stage import Stage, programmes
from benchmarks.vouchers import issue, opened
from benchmarks.workload import Producer
from services import broker
from services.broker import FIELD, notification_stream

ENFORCES: Final = (
    "Everything that end_to_end enforces, and the notifier: each entry told once, in order, without a gap. `run redeemed` and "
    "`run notifier`, one process each; the driver shares their cores."
)
_TICK_SECONDS: Final = 0.001
_ID_IN_EVENT: Final = b'"id":"'
_ID_IN_NOTIFICATION: Final = b'"event":{"id":"'
_DRAINED_SECONDS: Final = 30
_SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def _id(raw: bytes, before: bytes) -> bytes:
    start = raw.index(before) + len(before)
    return raw[start : raw.index(b'"', start)]


async def _send(redis: Redis, key: str, events: Sequence[bytes], schedule: Sequence[float]) -> None:
    sent = 0
    while sent < len(events):
        due, now = sent, time.monotonic()
        while due < len(events) and schedule[due] <= now:
            due += 1
        if due > sent:
            async with redis.pipeline(transaction=False) as pipeline:
                for event in events[sent:due]:
                    pipeline.xadd(key, {FIELD: event})
                await pipeline.execute()
            sent = due
        await asyncio.sleep(_TICK_SECONDS)


async def _receive(redis: Any, key: str, after: bytes, scheduled: dict[bytes, float]) -> list[tuple[float, float]]:
    """Return of each event its moment and its latency, both in seconds."""
    found: list[tuple[float, float]] = []
    while len(found) < len(scheduled):
        answer = await redis.xread({key: after}, count=1_000, block=1_000)
        now = time.monotonic()
        for _, entries in answer:
            for entry_id, fields in entries:
                after = entry_id
                moment = scheduled[_id(fields[FIELD], _ID_IN_NOTIFICATION)]
                found.append((moment, now - moment))
    return found


async def _at_rate(place_url: str, producer: Producer, programme: Programme, scale: Scale, rate: int) -> list[Sample]:
    count = round(rate * (scale.latency_seconds + scale.latency_warm_seconds))
    events = list(producer.redemptions(producer.picks(count)))
    key, notified = f"voucher.redeemed:{programme.provider}", notification_stream(programme.code)
    async with contextlib.AsyncExitStack() as stack:
        sender, reader = broker.connect(place_url), broker.connect(place_url)
        for redis in (sender, reader):
            stack.push_async_callback(redis.aclose)
        newest: Any = await reader.xrevrange(notified, count=1)
        after = newest[0][0]
        began = time.monotonic() + 0.1
        schedule = [began + number / rate for number in range(count)]
        scheduled = dict(zip((_id(event, _ID_IN_EVENT) for event in events), schedule, strict=True))
        limit = scale.latency_seconds + scale.latency_warm_seconds + _DRAINED_SECONDS
        async with asyncio.timeout(limit), asyncio.TaskGroup() as group:
            receiving = group.create_task(_receive(reader, notified, after, scheduled))
            group.create_task(_send(sender, key, events, schedule))
    counts_from = began + scale.latency_warm_seconds
    latencies = sorted(latency for moment, latency in receiving.result() if moment >= counts_from)
    details = {"rate": rate, "events_timed": len(latencies), "note": f"{len(latencies):,} events"}
    return [
        Sample(percentile(latencies, share) * 1000, "ms", details, of=f"{name} at {rate}/s")
        for name, share in _SHARES.items()
    ]


@contends("latency", "XADD to notification", ENFORCES)
async def xadd_to_notification(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the percentiles at each rate, in ms; the services run on from rate to rate."""
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(stage.place())
        (programme,), folder = programmes(place)
        producer = Producer(programme, seed)
        async with opened(place.database_url, folder) as ledger:
            await issue(ledger, producer, scale.vouchers)
        redis = broker.connect(place.redis_url)
        stack.push_async_callback(redis.aclose)
        key = f"voucher.redeemed:{programme.provider}"
        await backlog.ensure_groups(redis, [key])
        children = await stack.enter_async_context(services(place, folder, {"redeemed": 1, "notifier": 1}))
        database = await asyncpg.connect(place.database_url)
        stack.callback(database.terminate)
        line = Line(redis, database, [key], children)
        while not await line.reading():
            line.check()
            await asyncio.sleep(_TICK_SECONDS)
        await line.wait_until_notified()
        samples = []
        for rate in scale.latency_rates:
            samples += await _at_rate(place.redis_url, producer, programme, scale, rate)
        line.check()
        await line.check_all_accepted(sum((await line.positions()).values()))
        return samples
