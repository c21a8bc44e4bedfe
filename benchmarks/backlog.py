"""Events waiting in streams, and watching a group work them off."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from redis.asyncio import Redis

from benchmarks.children import Child
from services.broker import DEAD_LETTERS, FIELD, GROUP, notification_stream

_AT_ONCE = 500
_LOOK_SECONDS = 0.02


class UnfitError(RuntimeError):
    """A sample did not do what it says it measures: events were refused, parked or lost."""


async def preload(redis: Redis, streams: Mapping[str, Sequence[bytes]]) -> None:
    """Put the events onto their streams, in turns, so that all streams fill alike."""
    turns = max(len(events) for events in streams.values())
    for first in range(0, turns, _AT_ONCE):
        for key, events in streams.items():
            async with redis.pipeline(transaction=False) as pipeline:
                for event in events[first : first + _AT_ONCE]:
                    pipeline.xadd(key, {FIELD: event})
                await pipeline.execute()


async def ensure_groups(redis: Redis, keys: Iterable[str]) -> None:
    """Make the group of each stream from its beginning, as the services would."""
    for key in keys:
        await redis.xgroup_create(key, GROUP, id="0", mkstream=True)


@dataclass(frozen=True, slots=True)
class Line:
    """Some streams that processes work off, a ledger that they append to, and the processes."""

    redis: Any
    """A client that gives bytes; its own types leave open what it gives."""
    database: "asyncpg.Connection[asyncpg.Record]"
    keys: Sequence[str]
    children: Sequence[Child]

    def check(self) -> None:
        """Raise ChildError when a process ended."""
        for child in self.children:
            child.check()

    async def positions(self) -> dict[str, int]:
        """Return where each programme's ledger stands."""
        return {
            row["programme"]: row["position"]
            for row in await self.database.fetch("SELECT programme, position FROM head")
        }  # fmt: skip

    async def is_acked(self) -> bool:
        """Whether nothing waits and nothing is pending any more."""
        for key in self.keys:
            for group in await self.redis.xinfo_groups(key):
                if group["pending"] or group["lag"] != 0:
                    return False
        return True

    async def reading(self) -> set[bytes]:
        """Return the processes that read (their consumers' names before the reader's number)."""
        found = set()
        for key in self.keys:
            for consumer in await self.redis.xinfo_consumers(key, GROUP):
                found.add(consumer["name"].rpartition(b"-")[0])
        return found

    async def wait_until_acked(self) -> float:
        """Return the moment (``time.monotonic``) at which the last event was found acknowledged."""
        while not await self.is_acked():
            self.check()
            await asyncio.sleep(_LOOK_SECONDS)
        return time.monotonic()

    async def wait_for_acked(self, key: str, at_least: int) -> tuple[float, int]:
        """Return the moment at which so many of a stream's events were found acknowledged, and how many they were."""
        while True:
            moment = time.monotonic()
            (group,) = await self.redis.xinfo_groups(key)
            acked = (group["entries-read"] or 0) - group["pending"]
            if acked >= at_least:
                return moment, acked
            self.check()
            await asyncio.sleep(_LOOK_SECONDS)

    async def wait_for_positions(self, at_least: int) -> tuple[float, int]:
        """Return the moment at which the positions were found to sum up to so many, and what they summed up to."""
        while True:
            moment, stands_at = time.monotonic(), sum((await self.positions()).values())
            if stands_at >= at_least:
                return moment, stands_at
            self.check()
            await asyncio.sleep(_LOOK_SECONDS)

    async def wait_until_notified(self) -> float:
        """Return the moment at which the platforms' streams were found to stand where the ledgers do."""
        positions = await self.positions()
        while True:
            moment = time.monotonic()
            stand_at = [await self._notified(programme) for programme in positions]
            if stand_at == list(positions.values()):
                return moment
            self.check()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _notified(self, programme: str) -> int:
        last = await self.redis.xrevrange(notification_stream(programme), count=1)
        return int(last[0][0].partition(b"-")[0]) if last else 0

    async def check_all_accepted(self, entries: int) -> None:
        """Raise UnfitError unless the ledgers have so many entries, all accepted, and nothing parked or dead-lettered."""
        found = await self.database.fetchrow(
            "SELECT count(*) AS entries, count(*) FILTER (WHERE NOT accepted) AS refused,"
            " (SELECT count(*) FROM parked) AS parked FROM entry"
        )
        if found is None:
            raise AssertionError("a count is a row")
        letters = await self.redis.xlen(DEAD_LETTERS)
        if (found["entries"], found["refused"], found["parked"], letters) != (entries, 0, 0, 0):
            raise UnfitError(f"{dict(found)}, {letters} dead letters; {entries} entries were to be accepted")
