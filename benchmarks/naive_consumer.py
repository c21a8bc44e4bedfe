"""What one would otherwise write, its half at the broker: a FastStream subscriber of single messages, 1-way or many-way."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks import startline
from benchmarks.naive_tables import process
from schemas.decoding import decode
from services.broker import FIELD, GROUP
from services.cli.running import fast_loop
from services.cli.supervise import end_with_parent
from services.ledger.entry import inbound
from services.programmes import load_policies

_READ_AT_ONCE = 100


async def _parser(raw: Any, original: Any) -> Any:
    message = await original({**raw, "data": {}})
    message.body = raw["data"][FIELD]
    return message


async def _decoder(message: Any) -> bytes:
    return bytes(message.body)


async def consume(task: dict[str, Any]) -> None:
    """Take the stream's messages one by one, so many at a time, each in a transaction of its own, until told to end."""
    policies = load_policies(Path(task["programmes_folder"]))
    ways = int(task["ways"])
    url = make_url(task["database_url"]).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, pool_size=ways, max_overflow=0)
    broker = RedisBroker(
        task["redis_url"], apply_types=False, logger=logging.getLogger("naive"), log_level=logging.DEBUG
    )

    async def handle(raw: bytes) -> None:
        event = decode(raw)
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            await process(session, policies[event.data.programme], inbound(event, raw))

    stream = StreamSub(
        task["stream"], group=GROUP, consumer="naive-0", max_records=_READ_AT_ONCE, polling_interval=1_000
    )
    broker.subscriber(
        stream=stream, parser=_parser, decoder=_decoder, no_reply=True, max_workers=ways,
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )(handle)  # fmt: skip
    watcher = asyncio.create_task(end_with_parent())
    try:
        await FastStream(broker, logger=None).run()
    finally:
        watcher.cancel()
        await engine.dispose()


if __name__ == "__main__":
    with fast_loop() as _runner:
        _runner.run(consume(startline.task()))
