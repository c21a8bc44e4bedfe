"""Crash recovery: batches that a consumer took and never acknowledged are taken over by another, some at a time.

FastStream reads new entries only; nothing is delivered a second time unless someone claims it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis.asyncio import Redis

from services.broker import GROUP, InboundStream
from services.consumers.intake import Intake, RawEntry
from services.consumers.rounds import attempt

log = structlog.get_logger()

_FROM_THE_START: Final = b"0-0"
DELIVERIES_AT_FULL_SIZE: Final = 3
"""What was handed out oftener is taken over in ever smaller parts: an entry that ends the process each time is alone at last."""
FORGOTTEN_AFTER_MS: Final = 3_600_000
"""A consumer with nothing pending that was not seen for an hour is taken off its group."""

# Looked and taken off in one step: what a consumer had pending would be gone with it.
_FORGET: Final = """
local forgotten = 0
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #row, 2 do consumer[row[i]] = row[i + 1] end
  if consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
    forgotten = forgotten + 1
  end
end
return forgotten"""


@dataclass(slots=True)
class Claimer:
    """Takes over what others, or an earlier life of this process, left pending."""

    redis: Redis
    intake: Intake
    consumer: str
    idle_seconds: float
    every_seconds: float
    batch_size: int
    in_hand: list[tuple[str, Sequence[RawEntry]]] = field(default_factory=list)
    """The batches that this process is at, by their streams: they are not abandoned, however long they take."""

    async def run(self, stream: InboundStream) -> None:
        """Look for abandoned batches of a stream until cancelled. Each has rounds of its own: where one is held, the others go on."""
        while True:
            async with attempt(f"claiming on {stream.key}", self.intake.health.troubles):
                await self.take_over(stream)
                await self.forget_gone(stream)
            await asyncio.sleep(self.every_seconds)

    async def take_over(self, stream: InboundStream) -> int:
        """Take over all that is pending too long on one stream; return how many entries that was."""
        cursor, taken, idle_ms = _FROM_THE_START, 0, int(self.idle_seconds * 1000)
        while True:
            ours = self._ours(stream)
            count = await self._at_once(stream, ours, cursor, idle_ms)
            cursor, claimed, *_ = await self.redis.xautoclaim(
                stream.key, GROUP, self.consumer, idle_ms, start_id=cursor, count=count
            )
            if claimed:
                # Also such as were in hand before, and are decided by now: they are about to be acknowledged.
                ours |= self._ours(stream)
            entries = [RawEntry(entry_id, fields) for entry_id, fields in claimed if entry_id not in ours]
            if entries:
                log.info("taken over", stream=stream.key, entries=len(entries))
                await self.intake.take(stream, entries)
                await self.redis.xack(stream.key, GROUP, *(entry.id for entry in entries))
                taken += len(entries)
            if cursor == _FROM_THE_START:
                return taken

    async def _at_once(self, stream: InboundStream, ours: set[bytes], first: bytes, idle_ms: int) -> int:
        """Return how many entries to take over at once, by how often the first of them was handed out before."""
        rows = await self.redis.xpending_range(stream.key, GROUP, first.decode(), "+", 1, idle=idle_ms)
        if not rows or rows[0]["message_id"] in ours:
            return self.batch_size
        oftener = max(int(rows[0]["times_delivered"]) - DELIVERIES_AT_FULL_SIZE, 0)
        return max(self.batch_size >> oftener, 1)

    def _ours(self, stream: InboundStream) -> set[bytes]:
        return {entry.id for key, batch in self.in_hand for entry in batch if key == stream.key}

    async def forget_gone(self, stream: InboundStream, after_ms: int = FORGOTTEN_AFTER_MS) -> int:
        """Take consumers off the group that were not seen for long and have nothing pending; return how many."""
        script = self.redis.register_script(_FORGET)
        return int(await script(keys=[stream.key], args=[GROUP, after_ms]))
