"""Those who watch a campaign from outside: one who looks at the heads all the time, and a platform that reads notifications.

What they have once seen must still be so in the end: a committed entry does not go away, and a platform that goes on from the last
position it read is told of every entry once.
"""

import asyncio
import contextlib
import time

import asyncpg

from chaos.programmes import PROGRAMMES
from chaos.servers import FAILURES, Servers
from services.broker import FIELD, entries_between, notification_stream

_LOOK_EVERY_SECONDS = 0.05
_READ_EVERY_SECONDS = 0.2


class Watcher:
    """Looks at the heads of the ledgers."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.seen: dict[tuple[str, int], bytes] = {}
        """The hash that a programme's head had at a position."""
        self.moved: list[float] = []
        """When a head was seen to have moved, by the monotonic clock."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(*FAILURES):
                async with self._servers.administrator() as connection:
                    while True:
                        self._look(await connection.fetch("SELECT programme, position, hash FROM head"))
                        await asyncio.sleep(_LOOK_EVERY_SECONDS)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    def _look(self, rows: list[asyncpg.Record]) -> None:
        before = len(self.seen)
        for row in rows:
            where = row["programme"], row["position"]
            assert self.seen.setdefault(where, row["hash"]) == row["hash"], f"{where} had another hash before"
        if len(self.seen) > before:
            self.moved.append(time.monotonic())


class Platform:
    """Reads every programme's notifications, each time after the last one it has."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.told: dict[str, list[tuple[bytes, bytes]]] = {programme: [] for programme in PROGRAMMES}
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            with contextlib.suppress(*FAILURES):
                await self.read()
            await asyncio.sleep(_READ_EVERY_SECONDS)

    async def read(self) -> None:
        """Read what there is. Raises what the broker raises."""
        async with self._reading, self._servers.client() as client:
            for programme, told in self.told.items():
                after = f"({told[-1][0].decode()}" if told else "-"
                found = await entries_between(client, notification_stream(programme), after)
                told.extend((id_, fields[FIELD]) for id_, fields in found)
