"""The two servers of a campaign, and what can be done to them: killed, frozen, made to refuse what is written.

The campaign itself reaches them without any line in between. What it does here it takes back, however long the server is away.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.broker import connect, notification_stream
from services.embedded import Embedded, Postgres, Valkey, processes
from services.embedded.postgres import PORT
from services.ledger.database import SERVICE_ROLE
from services.ledger.migrate import migrate

_PATIENCE_SECONDS = 60
_PAUSE_SECONDS = 0.1

FAILURES: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, RedisError, OSError, asyncio.TimeoutError,
)  # fmt: skip
"""What a client of either server meets while it is away."""


class Server:
    """One of the two, in this campaign's hands."""

    def __init__(self, server: Postgres | Valkey, socket: Path) -> None:
        self._server = server
        self.socket = socket
        self._changing = asyncio.Lock()

    async def kill(self, away_seconds: float) -> None:
        """Kill it with all its children, and start it again when it was away for so long."""
        async with self._changing:
            await asyncio.to_thread(self._server.kill)
            await asyncio.sleep(away_seconds)
            await asyncio.to_thread(self._server.start)

    async def freeze(self, seconds: float) -> None:
        """Stop it where it is, with its children; then let it go on."""
        async with self._changing:
            pid = self._server.pid
            if pid is None:
                return
            stopped = [pid, *(row.pid for row in processes.table() if row.parent == pid)]
            _signal(stopped, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                _signal(stopped, signal.SIGCONT)


class Servers:
    """Both, started; ``database_url`` and ``redis_url`` lead straight to them."""

    def __init__(self, home: Path, appendfsync: Literal["always", "everysec"]) -> None:
        self._embedded = Embedded(home, durable=True, appendfsync=appendfsync)
        self.database_url = self.redis_url = ""
        run = home.resolve() / "run"
        self.database = Server(self._embedded.postgres, run / f".s.PGSQL.{PORT}")
        self.broker = Server(self._embedded.valkey, run / "valkey.sock")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them, with an empty ledger."""
        started = await asyncio.to_thread(self._embedded.start)
        try:
            self.database_url, self.redis_url = started.database_url, started.redis_url
            await migrate(self.database_url)
            yield
        finally:
            await asyncio.to_thread(self._embedded.stop)

    @contextlib.asynccontextmanager
    async def administrator(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Connect to the database as who may do anything."""
        # A session of its own says that it may write: the database may have been made to refuse.
        connection = await asyncpg.connect(
            self.database_url, timeout=5, command_timeout=30, server_settings={"default_transaction_read_only": "off"}
        )
        try:
            yield connection
        finally:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Connect to the broker as who may do anything."""
        client = connect(self.redis_url)
        try:
            yield client
        finally:
            await client.aclose()

    async def tell_database(self, *statements: str) -> None:
        """Have the statements done; try until it is there."""

        async def tell() -> None:
            async with self.administrator() as connection:
                for statement in statements:
                    await connection.execute(statement)

        await _until_done(tell)

    async def limit_memory(self, size: int) -> None:
        """Let the broker take no more than so many bytes, 0 for no limit; try until it is there."""

        async def tell() -> None:
            async with self.client() as client:
                await client.config_set("maxmemory", size)

        await _until_done(tell)

    @contextlib.asynccontextmanager
    async def database_read_only(self) -> AsyncIterator[None]:
        """Have the database refuse every write, as one does that was demoted."""
        setting = "default_transaction_read_only"
        await self.tell_database(f"ALTER SYSTEM SET {setting} = on", "SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await self.tell_database(f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")

    @contextlib.asynccontextmanager
    async def right_revoked(self) -> AsyncIterator[None]:
        """Take from the services the right to append."""
        await self.tell_database(f"REVOKE INSERT ON entry FROM {SERVICE_ROLE}")
        try:
            yield
        finally:
            await self.tell_database(f"GRANT INSERT ON entry TO {SERVICE_ROLE}")

    @contextlib.asynccontextmanager
    async def broker_full(self) -> AsyncIterator[None]:
        """Have the broker refuse whatever takes memory."""
        await self.limit_memory(1)
        try:
            yield
        finally:
            await self.limit_memory(0)

    async def delete_notifications(self, programme: str) -> None:
        """Delete a programme's stream of notifications; try until it is gone."""

        async def delete() -> None:
            async with self.client() as client:
                await client.delete(notification_stream(programme))

        await _until_done(delete)

    @contextlib.asynccontextmanager
    async def heads_held(self) -> AsyncIterator[None]:
        """Hold every programme's head; whoever appends waits. It is let go of early when the database fails meanwhile."""
        async with contextlib.AsyncExitStack() as stack:
            with contextlib.suppress(*FAILURES):
                connection = await stack.enter_async_context(self.administrator())
                await connection.execute("BEGIN")  # undone with the connection
                await connection.execute("SELECT FROM head FOR UPDATE")
            yield

    async def end_sessions(self) -> None:
        """End every session of the services, whatever it is at."""
        await self.tell_database(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'voucher-ledger'"
        )


async def _until_done(act: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await act()
        except FAILURES:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
