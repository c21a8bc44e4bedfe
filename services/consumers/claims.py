"""Crash recovery: batches that a consumer took and never acknowledged are taken over by another, some at a time.

FastStream reads new entries only; nothing is delivered a second time unless someone claims it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.broker import AWAY, GROUP, InboundStream
from services.consumers.intake import Intake, RawEntry

log = structlog.get_logger()

_FROM_THE_START: Final = b"0-0"
FORGOTTEN_AFTER_MS: Final = 3_600_000
"""A consumer with nothing pending that was not seen for an hour is taken off its group."""


@dataclass(slots=True)
class Claimer:
    """Takes over what others, or an earlier life of this process, left pending."""

    redis: Redis
    intake: Intake
    streams: Sequence[InboundStream]
    consumer: str
    idle_seconds: float
    every_seconds: float
    batch_size: int
    in_flight: set[tuple[str, bytes]] = field(default_factory=set)

    async def run(self) -> None:
        """Look for abandoned batches until cancelled."""
        while True:
            for stream in self.streams:
                try:
                    await self.take_over(stream)
                    await self._forget_gone(stream)
                except AWAY as error:
                    log.warning("claiming waits for the broker", stream=stream.key, because=str(error))
                except ResponseError as error:
                    log.warning("claiming is not possible", stream=stream.key, because=str(error))
            await asyncio.sleep(self.every_seconds)

    async def take_over(self, stream: InboundStream) -> int:
        """Take over all that is pending too long on one stream; return how many entries that was."""
        cursor, taken = _FROM_THE_START, 0
        while True:
            cursor, claimed, *_ = await self.redis.xautoclaim(
                stream.key, GROUP, self.consumer, int(self.idle_seconds * 1000), start_id=cursor, count=self.batch_size
            )
            entries = [
                RawEntry(entry_id, fields)
                for entry_id, fields in claimed
                if (stream.key, entry_id) not in self.in_flight
            ]  # fmt: skip
            if entries:
                log.info("taken over", stream=stream.key, entries=len(entries))
                await self.intake.take(stream, entries)
                await self.redis.xack(stream.key, GROUP, *(entry.id for entry in entries))
                taken += len(entries)
            if cursor == _FROM_THE_START:
                return taken

    async def _forget_gone(self, stream: InboundStream) -> None:
        for consumer in await self.redis.xinfo_consumers(stream.key, GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > FORGOTTEN_AFTER_MS:
                await self.redis.xgroup_delconsumer(stream.key, GROUP, consumer["name"])
