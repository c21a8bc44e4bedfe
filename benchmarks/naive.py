"""The bench `naive`: the same stream and the same rules, one message, one SQLModel transaction."""

import contextlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks import backlog
from benchmarks.backlog import Line, UnfitError
from benchmarks.children import running
from benchmarks.naive_tables import METADATA, process
from benchmarks.programmes import Programme
from benchmarks.registry import EVENTS_PER_SECOND, Sample, contends
from benchmarks.scale import Scale
from benchmarks.stage import Stage, programmes
from benchmarks.workload import Producer, read
from schemas.events import ISSUED
from schemas.policy import Policy
from services import broker
from services.programmes import load_policies

ENFORCES: Final = (
    "The same rules by the same `decide`, balances under row locks, no event twice, synchronous commit before the ack; "
    "no order of entries, no hash chain, no append-only table, no provider's payable, no parking, no dead letters."
)


async def _tables(database_url: str, programme: Programme, policy: Policy, vouchers: int, seed: int) -> Producer:
    producer = Producer(programme, seed)
    engine = create_async_engine(make_url(database_url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        async with AsyncSession(engine) as session, session.begin():
            for issued in read(producer.issues(vouchers), ISSUED):
                await process(session, policy, issued)
    finally:
        await engine.dispose()
    return producer


async def _run(ways: int, issues: bool, stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    events = scale.naive_single if ways == 1 else scale.naive_many
    vouchers = min(scale.vouchers, 1_000)
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(stage.place())
        (programme,), folder = programmes(place)
        bare = await stack.enter_async_context(stage.bare())
        producer = await _tables(bare, programme, load_policies(folder)[programme.code], vouchers, seed)
        stream = f"voucher.issued:{programme.code}" if issues else f"voucher.redeemed:{programme.provider}"
        made = producer.issues(events) if issues else producer.redemptions(producer.picks(events))
        redis = broker.connect(place.redis_url)
        stack.push_async_callback(redis.aclose)
        await backlog.ensure_groups(redis, [stream])
        await backlog.preload(redis, {stream: list(made)})
        task = {
            "programmes_folder": str(folder), "database_url": bare, "redis_url": place.redis_url, "stream": stream, "ways": ways,
        }  # fmt: skip
        child = await stack.enter_async_context(
            running("naive", ("benchmarks.naive_consumer", json.dumps(task)), place.folder / "naive.log")
        )
        database = await asyncpg.connect(bare)
        stack.callback(database.terminate)
        line = Line(redis, database, [stream], [child])
        began, acked = await line.wait_for_acked(stream, events // 10)
        ended = await line.wait_until_acked()
        refused = await database.fetchval("SELECT count(*) FROM movement WHERE NOT accepted")
        written = await database.fetchval("SELECT count(*) FROM movement")
        if refused or written != events + vouchers:
            raise UnfitError(f"{written} written, {refused} refused, {events + vouchers} were to be accepted")
    details = {"events_timed": events - acked, "ledger_entries_at_end": events + vouchers, "batch": 1, "ways": ways}
    return [Sample((events - acked) / (ended - began), EVENTS_PER_SECOND, details)]


contends("naive", "one message one transaction, 1-way", ENFORCES)(partial(_run, 1, False))
contends("naive", "one message one transaction, 10-way", ENFORCES)(partial(_run, 10, False))
contends("naive", "issues, one message one transaction, 10-way", ENFORCES, quick=False)(partial(_run, 10, True))
