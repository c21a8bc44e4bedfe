"""How the queues stand: for each stream what waits, what is pending and since when, and what became a dead letter."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from schemas.policy import Policy
from services.broker import DEAD_LETTERS, GROUP, each_entry, inbound_streams, notification_stream

LETTERS_COUNTED_MAX: Final = 100_000
"""Dead letters beyond this are not told apart by stream."""


@dataclass(frozen=True, slots=True)
class Queue:
    """One stream. What a stream without a group has not is None."""

    stream: str
    length: int
    lag: int | None
    pending: int | None
    oldest_pending_seconds: float | None
    consumers: int | None
    dead_letters: int
    last_read_seconds: float | None = None
    """How long ago the last of the consumers asked for entries; a dead one stays in the group for a while."""
    oldest_pending_deliveries: int | None = None
    """How often the oldest pending entry was handed out: what is held is handed out again and again."""

    def to_json(self) -> dict[str, object]:
        """Return the row as ``queues --json`` has it."""
        return asdict(self)


async def queues(
    redis: Redis, policies: Mapping[str, Policy], *, letters_counted_max: int = LETTERS_COUNTED_MAX
) -> list[Queue]:
    """Return a row for every stream: the inbound ones, the notifications, the dead letters. Raises what the broker raises."""
    letters = await _letters_by_stream(redis, letters_counted_max)
    now_ms = await _now_ms(redis)
    rows = [await _inbound(redis, stream.key, letters[stream.key], now_ms) for stream in inbound_streams(policies)]
    rows += [await _plain(redis, notification_stream(programme)) for programme in policies]
    rows.append(await _plain(redis, DEAD_LETTERS))
    return rows


async def _now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _inbound(redis: Redis, key: str, dead_letters: int, now_ms: int) -> Queue:
    length = int(await redis.xlen(key))
    group = await _group(redis, key)
    if group is None:
        # Nobody has read it yet: all of it waits.
        return Queue(key, length, length, None, None, None, dead_letters)
    summary = await redis.xpending(key, GROUP)
    pending, oldest, deliveries = int(summary["pending"]), None, None
    if pending:
        # An entry's id begins with the moment it was sent, in milliseconds.
        oldest = max(now_ms - int(summary["min"].split(b"-")[0]), 0) / 1000
        rows = await redis.xpending_range(key, GROUP, "-", "+", 1)
        deliveries = int(rows[0]["times_delivered"]) if rows else None
    lag = group.get("lag")
    consumers = await redis.xinfo_consumers(key, GROUP)
    last_read = min((int(one["idle"]) / 1000 for one in consumers), default=None)
    return Queue(
        key,
        length,
        None if lag is None else int(lag),
        pending,
        oldest,
        len(consumers),
        dead_letters,
        last_read,
        deliveries,
    )


async def _group(redis: Redis, key: str) -> Mapping[str, int] | None:
    try:
        groups: Iterable[Mapping[str, object]] = await redis.xinfo_groups(key)
    except ResponseError as error:
        if "no such key" in str(error):
            return None
        raise
    return next((group for group in groups if group["name"] == GROUP.encode()), None)  # type: ignore[return-value]  # of the broker's own shape


async def _plain(redis: Redis, key: str) -> Queue:
    length = int(await redis.xlen(key))
    return Queue(key, length, None, None, None, None, length if key == DEAD_LETTERS else 0)


async def _letters_by_stream(redis: Redis, at_most: int) -> Counter[str]:
    counted: Counter[str] = Counter()
    async for _, fields in each_entry(redis, DEAD_LETTERS):
        counted[fields.get(b"stream", b"").decode(errors="replace")] += 1
        if counted.total() >= at_most:
            break
    return counted
