"""The producers: publish the history, each stream in its order, and write down what the broker answered.

Whatever was not answered is published again until it is, as producers are told to do. The first try may have arrived as well.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, OutOfMemoryError, RedisError

from chaos.messages import Message

_TIMEOUT_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_LOOKED_FOR_AT_ONCE = 500


@dataclass(slots=True)
class Sent:
    """What became of publishing one message: the ids that it was answered with, and how often nothing was answered."""

    began_at: datetime | None = None
    ids: list[bytes] = field(default_factory=list)
    lost: set[bytes] = field(default_factory=set)
    """Answered, and then gone when the broker was killed."""
    unanswered: int = 0
    refused: int = 0


class Producers:
    """All producers, on one line to the broker."""

    def __init__(self, redis_url: str, messages: Sequence[Message]) -> None:
        # Nothing is sent a second time but by us, who count it.
        self._client: Redis = Redis.from_url(
            redis_url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0), protocol=2,
        )  # fmt: skip
        self._messages = messages
        self.sent = [Sent() for _ in messages]

    async def publish(self) -> None:
        """Publish the history, each message at its moment or as soon after it as the broker lets us."""
        began = asyncio.get_running_loop().time()
        by_stream: dict[str, list[int]] = {}
        for number, message in enumerate(self._messages):
            by_stream.setdefault(message.stream, []).append(number)
        async with asyncio.TaskGroup() as group:
            for numbers in by_stream.values():
                group.create_task(self._publish(numbers, began))

    async def publish_again(self, numbers: Iterable[int]) -> None:
        """Publish some messages once more."""
        await self._publish(numbers, float("-inf"))

    async def find_lost(self, client: Redis) -> list[int]:
        """Mark what was answered and is not there any more; return the messages of which nothing is left."""
        streams = {message.stream for message in self._messages}
        first = {stream: await _first_kept(client, stream) for stream in streams}
        asked = [
            (number, id_)
            for number, (message, sent) in enumerate(zip(self._messages, self.sent, strict=True))
            for id_ in sent.ids
            if id_ not in sent.lost and _parts(id_) >= first[message.stream]
        ]
        for at in range(0, len(asked), _LOOKED_FOR_AT_ONCE):
            some = asked[at : at + _LOOKED_FOR_AT_ONCE]
            async with client.pipeline(transaction=False) as pipeline:
                for number, id_ in some:
                    pipeline.xrange(self._messages[number].stream, id_, id_)
                found = await pipeline.execute()
            for (number, id_), there in zip(some, found, strict=True):
                if not there:
                    self.sent[number].lost.add(id_)
        return [number for number, sent in enumerate(self.sent) if sent.lost.issuperset(sent.ids)]

    async def __aenter__(self) -> Self:
        """Connect with the first command."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _publish(self, numbers: Iterable[int], began: float) -> None:
        loop = asyncio.get_running_loop()
        for number in numbers:
            early = began + self._messages[number].at - loop.time()
            if early > 0:
                await asyncio.sleep(early)
            while not await self._send(number):  # noqa: ASYNC110  nothing tells when the broker is back
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _send(self, number: int) -> bool:
        message, sent = self._messages[number], self.sent[number]
        sent.began_at = sent.began_at or datetime.now(UTC)
        try:
            id_ = await self._client.xadd(message.stream, {message.field: message.data})
        except (OutOfMemoryError, BusyLoadingError):
            sent.refused += 1
        except (RedisError, OSError):
            sent.unanswered += 1
        else:
            sent.ids.append(cast("bytes", id_))
            return True
        return False


async def _first_kept(client: Redis, stream: str) -> tuple[int, int]:
    """Return the id of the first entry that is left where a stream was trimmed; what came before was not lost."""
    info = await client.xinfo_stream(stream)
    if info["entries-added"] == info["length"]:
        return 0, 0
    return _parts(info["first-entry"][0] if info["first-entry"] else info["last-generated-id"])


def _parts(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
