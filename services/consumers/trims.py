"""Keeping the inbound streams short: what was acknowledged goes when it has been kept for as long as the settings say.

It stays for a while because a ledger that is restored from a backup reads again what it lost from here (docs/operations.md).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from redis.asyncio import Redis

from services.broker import GROUP, InboundStream
from services.consumers.rounds import attempt
from services.trimming import trim

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trimmer:
    """Trims the streams that a consumer reads. Several at once do no harm."""

    redis: Redis
    streams: Sequence[InboundStream]
    keep: timedelta
    every_seconds: float
    troubles: dict[str, str]

    async def run(self) -> None:
        """Trim in rounds until cancelled."""
        while True:
            for stream in self.streams:
                async with attempt(f"trimming {stream.key}", self.troubles):
                    await self.trim(stream)
            await asyncio.sleep(self.every_seconds)

    async def trim(self, stream: InboundStream) -> int:
        """Trim one stream; return how many entries went."""
        # By the broker's clock: an entry's id begins with the moment that it was sent, in milliseconds.
        seconds, _ = await self.redis.time()
        oldest_ms = int(seconds) * 1000 - self.keep // timedelta(milliseconds=1)
        trimmed = await trim(self.redis, stream.key, f"{max(oldest_ms, 0)}-0", group=GROUP)
        if trimmed:
            log.info("trimmed", stream=stream.key, entries=trimmed)
        return trimmed
