"""Using embedded servers in their own tests: writing to both, reading what is kept, and keepers that are killed."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import redis
import redis.asyncio

from services.embedded import Embedded, Servers

KEEPER = """
import sys, time
from pathlib import Path
from services.embedded import Embedded
embedded = Embedded(Path(sys.argv[1]), durable=False)
embedded.start()
print(embedded.postgres.pid, embedded.valkey.pid, flush=True)
time.sleep(60)
"""

Make = Callable[..., Embedded]


@contextlib.contextmanager
def keeper_of(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that starts the servers of a home, killed at the latest when the test is over."""
    with subprocess.Popen([sys.executable, "-c", KEEPER, str(path)], stdout=subprocess.PIPE, text=True) as keeper:
        try:
            yield keeper
        finally:
            keeper.kill()


@contextlib.contextmanager
def another_program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as program:
        try:
            yield program
        finally:
            program.kill()


@contextlib.asynccontextmanager
async def database(servers: Servers):
    connection = await asyncpg.connect(servers.database_url)
    try:
        yield connection
    finally:
        connection.terminate()


@contextlib.contextmanager
def broker(servers: Servers) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


async def write(servers: Servers, number: int) -> None:
    async with database(servers) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (number int PRIMARY KEY)")
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
    with broker(servers) as client:
        client.xadd("kept", {"number": number})


async def read(servers: Servers) -> tuple[list[int], list[int]]:
    """All rows and all messages."""
    async with database(servers) as connection:
        rows = [row["number"] for row in await connection.fetch("SELECT number FROM kept ORDER BY number")]
    with broker(servers) as client:
        return rows, [int(fields["number"]) for _, fields in client.xrange("kept")]


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def names_in(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}
