"""Waiting until nothing is left to do, once nothing fails any more."""

import asyncio
import contextlib
import time

from redis.asyncio import Redis

from chaos.messages import Message
from chaos.producers import Producers
from chaos.programmes import PROGRAMMES
from chaos.servers import FAILURES, Servers
from chaos.watching import Platform
from services.broker import GROUP, notification_stream

SETTLED_WITHIN_SECONDS = 120
_LOOK_EVERY_SECONDS = 0.2


async def settle(servers: Servers, producers: Producers, messages: list[Message], platform: Platform) -> int:
    """Return when everything is decided and told, or fail with what is not.

    What the broker was killed with in its hands, and has lost, is published again first, as its producers would: how much that was is
    returned.
    """
    async with servers.client() as client:
        lost = await producers.find_lost(client)
    await producers.publish_again(lost)
    streams = {message.stream for message in messages}
    # What the last entries bring about, the closing of a quota say, has come round when nothing is left twice.
    for _ in range(2):
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while left := await _left(servers, streams):
            assert time.monotonic() < deadline, f"not settled within {SETTLED_WITHIN_SECONDS} s: {left}"
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
    await platform.read()
    return len(lost)


async def _left(servers: Servers, streams: set[str]) -> dict[str, object]:
    """Return what is left to do."""
    with contextlib.suppress(*FAILURES):
        async with servers.administrator() as connection, servers.client() as client:
            left: dict[str, object] = {stream: await _left_on(client, stream) for stream in sorted(streams)}
            left["parked"] = await connection.fetchval("SELECT count(*) FROM parked")
            for programme in PROGRAMMES:
                position = await connection.fetchval("SELECT position FROM head WHERE programme = $1", programme)
                left[f"told of {programme}"] = (position or 0) - await client.xlen(notification_stream(programme))
            return {what: much for what, much in left.items() if much}
    return {"servers": "do not answer"}


async def _left_on(client: Redis, stream: str) -> str:
    for group in await client.xinfo_groups(stream):
        if group["name"] == GROUP.encode() and (group["lag"], group["pending"]) == (0, 0):
            return ""
        return f"{group['lag']} waiting, {group['pending']} pending"
    return "no group"
