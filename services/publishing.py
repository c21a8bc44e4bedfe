"""Putting events onto their streams, and knowing when the broker has them on its disk."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.broker import FIELD

_NOT_SAID: Final = ("unknown command", "NOPERM", "no permissions")
"""What a server answers that does not know WAITAOF (it came with Redis 7.2), or does not let us ask."""


class Sent(NamedTuple):
    """The ids of entries in the order they were sent; ``durable`` is None where the broker cannot say whether they are on its disk."""

    entry_ids: list[str]
    durable: bool | None


async def publish(redis: Redis, events: Sequence[tuple[str, bytes]], wait_seconds: float) -> Sent:
    """Put each event onto its stream, and wait so long at the most until the broker has them on its disk.

    Raises what the broker raises. Then some may have been sent: sending all of them again is always right.
    """
    if not events:
        return Sent([], None)
    async with redis.pipeline(transaction=False) as pipeline:
        for stream, raw in events:
            pipeline.xadd(stream, {FIELD: raw})
        # On the connection that they were sent on: it asks for what was written by it.
        pipeline.execute_command("WAITAOF", 1, 0, max(int(wait_seconds * 1000), 1))
        *added, waited = await pipeline.execute(raise_on_error=False)
    for one in added:
        if isinstance(one, Exception):
            raise one
    return Sent([one.decode() for one in added], _is_durable(waited))


def _is_durable(waited: object) -> bool | None:
    if isinstance(waited, ResponseError):
        # It says so too when its append-only file is off.
        return None if any(text in str(waited) for text in _NOT_SAID) else False
    if isinstance(waited, Exception):
        raise waited
    return isinstance(waited, list) and int(waited[0]) >= 1
