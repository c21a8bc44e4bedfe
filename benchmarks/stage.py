"""What the contenders run on: one PostgreSQL and one Valkey for the whole run, and an empty place on them for each sample."""

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from benchmarks.programmes import Programme, derive
from services import broker
from services.embedded import Embedded
from services.ledger.migrate import migrate

_TEMPLATE = "template_ledger"
_SEGMENTS = 60
"""Segments of 16 MB of the write-ahead log, a little less than what the server keeps for use again."""


@dataclass(frozen=True, slots=True)
class Place:
    """An empty database with the ledger's tables, and an empty broker."""

    database_url: str
    redis_url: str
    folder: Path
    """For what a sample writes: policy files, the services' logs."""


class Stage:
    """The servers of a run, as durable as in production: fsync, synchronous_commit, the append-only file every second."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, output: Path | None = None) -> None:
        self.folder = folder
        self.database_url = database_url
        self.redis_url = redis_url
        self.output = output
        """Where the bench `profile` leaves its graphs; nowhere when None."""
        self._numbers = itertools.count(1)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """Give a fresh place; its database is dropped afterwards, whoever is still connected."""
        name = await self._database()
        folder = self.folder / name
        folder.mkdir()
        redis = broker.connect(self.redis_url)
        try:
            await redis.flushall()
            yield Place(self._in(name), self.redis_url, folder)
        finally:
            with contextlib.suppress(OSError):
                await redis.flushall()
            await redis.aclose()
            # A drop makes PostgreSQL write a checkpoint: after a sample, never within one.
            await self._administer(f"DROP DATABASE {name} WITH (FORCE)")
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Give one more empty ledger for as long as a sample prepares itself."""
        name = await self._database()
        try:
            yield self._in(name)
        finally:
            await self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.asynccontextmanager
    async def bare(self) -> AsyncIterator[str]:
        """Give a database without any tables, for a peer to make its own."""
        name = f"bare_{next(self._numbers)}"
        await self._administer(f"CREATE DATABASE {name}")
        try:
            yield self._in(name)
        finally:
            await self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    async def _database(self) -> str:
        name = f"bench_{next(self._numbers)}"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return name

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _in(self, name: str) -> str:
        return make_url(self.database_url).set(database=name).render_as_string(hide_password=False)

    async def prepare(self) -> None:
        """Migrate the database that each place's is a copy of; make the log's segments, as a server that runs for a while has them."""
        connection = await asyncpg.connect(self.database_url)
        try:
            for _ in range(_SEGMENTS):
                await connection.execute("SELECT pg_logical_emit_message(false, 'bench', 'x'), pg_switch_wal()")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        await self._administer(f"CREATE DATABASE {_TEMPLATE}")
        await migrate(self._in(_TEMPLATE))


@contextlib.asynccontextmanager
async def staged(*, preload: Sequence[str] = (), output: Path | None = None) -> AsyncIterator[Stage]:
    """Start the servers, ``preload`` being PostgreSQL's shared_preload_libraries, and stop them at the end."""
    folder = Path(tempfile.mkdtemp(prefix="voucher-ledger-bench-"))
    # PostgreSQL may have to run as another user than ours, who has to get through to its part.
    folder.chmod(0o711)  # noqa: ASYNC240  nothing else is running
    try:
        embedded = Embedded(folder / "servers", durable=True, appendfsync="everysec")
        servers = embedded.start()
        try:
            stage = Stage(folder, servers.database_url, servers.redis_url, output)
            if preload:
                libraries = ", ".join(preload)
                await stage._administer(f"ALTER SYSTEM SET shared_preload_libraries = {libraries}")  # noqa: SLF001
                embedded.postgres.stop()
                embedded.postgres.start()
            await stage.prepare()
            yield stage
        finally:
            embedded.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def programmes(place: Place, count: int = 1, *, shared_provider: bool = False) -> tuple[list[Programme], Path]:
    """Write the policy files of a sample; return its programmes and the folder of the files."""
    folder = place.folder / "programmes"
    folder.mkdir()
    return derive(folder, count, shared_provider=shared_provider), folder
