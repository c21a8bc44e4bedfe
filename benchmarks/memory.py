"""The bench `memory`: what a consumer's process holds once every live voucher has been redeemed on."""

import contextlib
from collections.abc import Sequence
from typing import Final

import asyncpg

from benchmarks import backlog
from benchmarks.backlog import Line
from benchmarks.children import services
from benchmarks.registry import Sample, SkippedError, contends
from benchmarks.scale import Scale
from benchmarks.stage import Stage, programmes
from benchmarks.vouchers import issue, opened
from benchmarks.workload import Producer
from services import broker
from services.ledger.append import Limits

ENFORCES: Final = (
    "One `run redeemed` with default settings, after a redemption on each of its live vouchers; RSS as Linux tells it."
)
_WAVE: Final = 100_000
"""Events in the streams at a time: the broker's memory is not what is measured."""
_MIB: Final = 2**20


@contends("memory", "consumer", ENFORCES, once=True)
async def consumer(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the memory of a consumer with all vouchers in its book, and before it had any, in MiB."""
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(stage.place())
        (programme,), folder = programmes(place)
        producer = Producer(programme, seed)
        async with opened(place.database_url, folder, Limits(vouchers_max=1_000)) as ledger:
            await issue(ledger, producer, scale.memory_vouchers)
        redis = broker.connect(place.redis_url)
        stack.push_async_callback(redis.aclose)
        database = await asyncpg.connect(place.database_url)
        stack.callback(database.terminate)
        key = f"voucher.redeemed:{programme.provider}"
        await backlog.ensure_groups(redis, [key])
        children = await stack.enter_async_context(services(place, folder, {"redeemed": 1}))
        line = Line(redis, database, [key], children)
        await backlog.preload(redis, {key: list(producer.redemptions([0]))})
        await line.wait_until_acked()
        empty = children[0].memory_bytes()
        for first in range(1, scale.memory_vouchers, _WAVE):
            wave = range(first, min(first + _WAVE, scale.memory_vouchers))
            await backlog.preload(redis, {key: list(producer.redemptions(wave))})
            await line.wait_until_acked()
            await redis.xtrim(key, maxlen=0, approximate=False)
        await line.check_all_accepted(2 * scale.memory_vouchers)
        held, highest = children[0].memory_bytes(), children[0].memory_bytes("VmHWM")
    if empty is None or held is None or highest is None:
        raise SkippedError("this system has no /proc to read a process's memory from")
    details = {
        "vouchers": scale.memory_vouchers,
        "bytes_per_voucher": round((held - empty) / scale.memory_vouchers),
        "highest_mib": round(highest / _MIB, 1),
        "note": f"{scale.memory_vouchers:,} vouchers, {round((held - empty) / scale.memory_vouchers)} bytes each",
    }
    return [
        Sample(held / _MIB, "MiB", details, of="RSS"),
        Sample(highest / _MIB, "MiB", details, of="RSS, highest"),
        Sample(empty / _MIB, "MiB", {}, of="RSS, one voucher"),
    ]
