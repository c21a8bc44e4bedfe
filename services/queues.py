"""How the queues stand: for each stream what waits, what is pending and since when, who reads it, and what became a dead letter.

All streams are asked in a few rounds of the broker's, however many they are: it may be asked every second.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from schemas.policy import Policy
from services.broker import DEAD_LETTERS, GROUP, each_entry, inbound_streams, notification_stream

LETTERS_COUNTED_MAX: Final = 100_000
"""Dead letters beyond this are not told apart by stream."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One consumer of a stream's group: how long ago it last asked for entries, and how many it holds."""

    name: str
    last_read_seconds: float
    pending: int


@dataclass(frozen=True, slots=True)
class Queue:
    """One stream. What a stream without a group has not is None."""

    stream: str
    length: int
    lag: int | None
    pending: int | None
    oldest_pending_seconds: float | None
    consumers: int | None
    dead_letters: int = 0
    last_read_seconds: float | None = None
    """How long ago the last of the consumers asked for entries; a dead one stays in the group for a while."""
    oldest_pending_deliveries: int | None = None
    """How often the oldest pending entry was handed out: what is held is handed out again and again."""
    oldest_waiting_seconds: float | None = None
    """How long ago the first entry that no consumer was handed yet was sent."""
    entered: int = 0
    """Entries that ever came onto the stream."""
    last_id: str = "0-0"
    """The id of the newest of them."""
    acknowledged: int | None = None
    """Entries that were ever done with; None where entries were taken off unread, so that the broker cannot tell."""
    readers: tuple[Reader, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the row as ``queues --json`` has it."""
        return {**asdict(self), "readers": [asdict(reader) for reader in self.readers]}


async def queues(
    redis: Redis,
    policies: Mapping[str, Policy],
    dead_letters: Mapping[str, int] | None = None,
    *,
    letters_counted_max: int = LETTERS_COUNTED_MAX,
) -> list[Queue]:
    """Return a row for every stream: the inbound ones, the notifications, the dead letters. Raises what the broker raises.

    ``dead_letters``, by stream, is counted on the broker where it is not given.
    """
    # What waits and what is pending first: what is not any more by then is counted where it has come to.
    rows = await inbound_queues(redis, [stream.key for stream in inbound_streams(policies)])
    plain = [*(notification_stream(programme) for programme in policies), DEAD_LETTERS]
    rows += map(_plain, await _told(redis, plain))
    letters = await _letters_by_stream(redis, letters_counted_max) if dead_letters is None else dead_letters
    return [
        row if row.stream == DEAD_LETTERS else replace(row, dead_letters=letters.get(row.stream, 0)) for row in rows
    ]


async def inbound_queues(redis: Redis, keys: Sequence[str]) -> list[Queue]:
    """Return a row for each of these inbound streams, without its dead letters. Raises what the broker raises."""
    now_ms = await _now_ms(redis)
    groups = dict(zip(keys, await _asked(redis, _about_group, keys), strict=True))
    read = {key: answers for key, answers in groups.items() if _group(answers[0]) is not None}
    last = {key: _last_delivered(answers[0]) for key, answers in read.items()}
    oldest = dict(
        zip(read, await _asked(redis, lambda pipe, key: _about_oldest(pipe, key, last[key]), read), strict=True)
    )
    return [
        _inbound(told, groups[told.key], oldest[told.key], now_ms) if told.key in read else _unread(told, now_ms)
        for told in await _told(redis, keys)
    ]


_Answers: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class _Told:
    """What every stream has."""

    key: str
    answers: _Answers

    @property
    def length(self) -> int:
        return int(self.answers[0])

    @property
    def entered(self) -> int:
        return int((self.answers[1] or {}).get("entries-added", self.length))

    @property
    def last_id(self) -> str:
        newest: bytes = (self.answers[1] or {}).get("last-generated-id", b"0-0")
        return newest.decode()


async def _told(redis: Redis, keys: Sequence[str]) -> list[_Told]:
    return [_Told(key, answers) for key, answers in zip(keys, await _asked(redis, _about_stream, keys), strict=True)]


def _age(entry_id: bytes, now_ms: int) -> float:
    """Return how long ago an entry was sent: its id begins with that moment, in milliseconds."""
    return max(now_ms - int(entry_id.split(b"-")[0]), 0) / 1000


async def _now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _asked(redis: Redis, ask: Callable[[Pipeline, str], int], keys: Iterable[str]) -> list[_Answers]:
    """Ask the same of every key in one round trip; what a stream that is not there, or has no group, has not is None."""
    async with redis.pipeline(transaction=False) as pipeline:
        counts = [ask(pipeline, key) for key in keys]
        answers = iter([_known(answer) for answer in await pipeline.execute(raise_on_error=False)] if counts else [])
    return [[next(answers) for _ in range(count)] for count in counts]


def _known(answer: object) -> object:
    if isinstance(answer, ResponseError) and ("no such key" in str(answer) or "NOGROUP" in str(answer)):
        return None
    if isinstance(answer, RedisError):
        raise answer
    return answer


def _about_stream(pipeline: Pipeline, key: str) -> int:
    pipeline.xlen(key)
    pipeline.xinfo_stream(key)
    return 2


def _about_group(pipeline: Pipeline, key: str) -> int:
    pipeline.xinfo_groups(key)
    pipeline.xpending(key, GROUP)
    pipeline.xinfo_consumers(key, GROUP)
    return 3


def _about_oldest(pipeline: Pipeline, key: str, last_delivered: str) -> int:
    pipeline.xrange(key, min=f"({last_delivered}", count=1)
    pipeline.xpending_range(key, GROUP, "-", "+", 1)
    return 2


def _group(groups: Iterable[Mapping[str, Any]] | None) -> Mapping[str, Any] | None:
    return next((group for group in groups or () if group["name"] == GROUP.encode()), None)


def _last_delivered(groups: Iterable[Mapping[str, Any]] | None) -> str:
    group = _group(groups)
    return "0-0" if group is None else group["last-delivered-id"].decode()


def _inbound(told: _Told, group_answers: _Answers, oldest: _Answers, now_ms: int) -> Queue:
    groups, summary, consumers = group_answers
    group, (waiting, first_pending) = _group(groups) or {}, oldest
    pending = int(summary["pending"]) if summary else 0
    lag, read = group.get("lag"), group.get("entries-read")
    if read is None and lag is not None:
        read = told.entered - int(lag)
    readers = tuple(
        Reader(one["name"].decode(errors="replace"), int(one["idle"]) / 1000, int(one["pending"]))
        for one in consumers or ()
    )
    return Queue(
        told.key,
        told.length,
        None if lag is None else int(lag),
        pending,
        _age(summary["min"], now_ms) if pending else None,
        len(readers),
        last_read_seconds=min((reader.last_read_seconds for reader in readers), default=None),
        oldest_pending_deliveries=int(first_pending[0]["times_delivered"]) if pending and first_pending else None,
        oldest_waiting_seconds=_age(waiting[0][0], now_ms) if waiting else None,
        entered=told.entered,
        last_id=told.last_id,
        acknowledged=None if read is None else int(read) - pending,
        readers=readers,
    )


def _unread(told: _Told, now_ms: int) -> Queue:
    """Nobody has read it yet: all of it waits."""
    first = (told.answers[1] or {}).get("first-entry")
    oldest = _age(first[0], now_ms) if first else None
    return Queue(
        told.key, told.length, told.length, None, None, None,
        oldest_waiting_seconds=oldest, entered=told.entered, last_id=told.last_id, acknowledged=0,
    )  # fmt: skip


def _plain(told: _Told) -> Queue:
    letters = told.length if told.key == DEAD_LETTERS else 0
    return Queue(
        told.key, told.length, None, None, None, None, dead_letters=letters, entered=told.entered, last_id=told.last_id
    )


async def _letters_by_stream(redis: Redis, at_most: int) -> Counter[str]:
    counted: Counter[str] = Counter()
    async for _, fields in each_entry(redis, DEAD_LETTERS):
        counted[fields.get(b"stream", b"").decode(errors="replace")] += 1
        if counted.total() >= at_most:
            break
    return counted
