"""How inbound streams stand, as the metrics tell it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Final, NamedTuple

from redis.asyncio import Redis

from services import metrics
from services.broker import DEAD_LETTERS, InboundStream
from services.queues import inbound_queues

_OF_STREAMS: Final = (
    metrics.STREAM_LAG, metrics.STREAM_WAITING_SECONDS, metrics.STREAM_PENDING, metrics.STREAM_PENDING_SECONDS,
)  # fmt: skip
_OF_THE_BROKER: Final = (metrics.BROKER_MEMORY, metrics.BROKER_MEMORY_MAX, metrics.DEAD_LETTERS_KEPT)


class _Stand(NamedTuple):
    """A stream's figures, in the order of its gauges."""

    lag: float
    waiting_seconds: float
    pending: float
    pending_seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """The streams of one process. What a look does not find out is not in the metrics, rather than what it was before."""

    redis: Redis
    streams: Sequence[InboundStream]

    def looks(self) -> tuple[metrics.Look, ...]:
        """Return the looks that the metrics are to take."""
        return metrics.Look("streams", self.at_streams), metrics.Look("broker", self.at_broker)

    async def at_streams(self) -> None:
        """Look at the streams and set their gauges. Raises what the broker raises."""
        found: dict[str, _Stand] = {}
        try:
            found = await self._stand()
        finally:
            for gauge in _OF_STREAMS:
                gauge.clear()
        for key, stand in found.items():
            for gauge, figure in zip(_OF_STREAMS, stand, strict=True):
                gauge.labels(key).set(figure)

    async def at_broker(self) -> None:
        """Look at the broker's memory and at the dead letters. Raises what the broker raises."""
        figures: tuple[float, ...] = (nan,) * len(_OF_THE_BROKER)
        try:
            memory, letters = await self.redis.info("memory"), await self.redis.xlen(DEAD_LETTERS)
            figures = memory["used_memory"], memory["maxmemory"], letters
        finally:
            for gauge, figure in zip(_OF_THE_BROKER, figures, strict=True):
                gauge.set(figure)

    async def _stand(self) -> dict[str, _Stand]:
        rows = await inbound_queues(self.redis, [stream.key for stream in self.streams])
        return {
            row.stream: _Stand(
                # Where entries were taken off unread the broker cannot tell.
                nan if row.lag is None else row.lag,
                row.oldest_waiting_seconds or 0,
                row.pending or 0,
                row.oldest_pending_seconds or 0,
            )
            for row in rows
        }
