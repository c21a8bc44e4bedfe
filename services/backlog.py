"""How inbound streams stand, looked at for the metrics: two round trips to the broker, however many streams there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services import metrics
from services.broker import DEAD_LETTERS, GROUP, InboundStream

_BEFORE_THE_FIRST: Final = b"0-0"
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
        keys = [stream.key for stream in self.streams]
        async with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for key in keys:
                pipeline.xinfo_groups(key)
                pipeline.xpending(key, GROUP)
                pipeline.xlen(key)
            time, *answers = await pipeline.execute(raise_on_error=False)
        seconds, microseconds = _unless(time)
        now_ms = seconds * 1000 + microseconds // 1000
        # A stream that nobody has read yet has no group, or does not exist.
        groups = [_ours(_unless(answer, "no such key", ())) for answer in answers[0::3]]
        pending = [_unless(answer, "NOGROUP", {"pending": 0, "min": None}) for answer in answers[1::3]]
        lengths = [_unless(answer) for answer in answers[2::3]]
        async with self.redis.pipeline(transaction=False) as pipeline:
            for key, group in zip(keys, groups, strict=True):
                pipeline.xrange(key, min=f"({group['last-delivered-id'].decode()}", count=1)
            firsts = await pipeline.execute()
        return {
            key: _Stand(
                _lag(group, length), _age(first[0][0] if first else None, now_ms), held["pending"], _age(held["min"], now_ms)
            )
            for key, group, held, length, first in zip(keys, groups, pending, lengths, firsts, strict=True)
        }  # fmt: skip


def _unless(answer: Any, error: str | None = None, instead: Any = None) -> Any:
    """Return the broker's answer; something instead of it where it is this error. Raises any other."""
    if not isinstance(answer, RedisError):
        return answer
    if error is not None and error in str(answer):
        return instead
    raise answer


def _ours(groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the services' group; where there is none, as much of it as says that it was given nothing yet."""
    return next((one for one in groups if one["name"] == GROUP.encode()), {"last-delivered-id": _BEFORE_THE_FIRST})


def _lag(group: Mapping[str, Any], length: int) -> float:
    lag = group.get("lag", length)
    return nan if lag is None else float(lag)


def _age(entry_id: bytes | None, now_ms: int) -> float:
    """Return the seconds since an entry was sent: its id begins with that moment, in milliseconds."""
    return 0.0 if entry_id is None else max(now_ms - int(entry_id.split(b"-")[0]), 0) / 1000
