"""A process of the bench `apply`: appends a programme's redemptions through ``Ledger.append``, or copies the very same rows."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import startline
from benchmarks.programmes import Programme
from benchmarks.results import percentile
from benchmarks.scale import BATCH
from benchmarks.vouchers import check, issue, opened
from benchmarks.workload import Producer, read
from schemas.events import REDEEMED
from services.cli.running import fast_loop
from services.ledger import chain
from services.ledger.database import connect
from services.ledger.entry import Inbound

_ROWS: Final = f"SELECT {', '.join(chain.COLUMNS)} FROM entry WHERE programme = $1 AND position BETWEEN $2 AND $3 ORDER BY position"

Batches = list[list[Inbound]]


async def _timed(batches: int, write: Callable[[int], Awaitable[object]]) -> dict[str, Any]:
    startline.wait_for_start()
    began, times = time.monotonic(), []
    for number in range(batches):
        at = time.monotonic()
        await write(number)
        times.append(time.monotonic() - at)
    return {"began": began, "ended": time.monotonic(), "batch_p99_ms": percentile(sorted(times), 0.99) * 1000}


async def apply(task: dict[str, Any]) -> dict[str, Any]:
    """Append decoded redemptions in batches; the vouchers are issued, and the events decoded, before the clock runs."""
    producer = Producer(Programme(**task["programme"]), task["seed"])
    async with opened(task["database_url"], Path(task["programmes_folder"])) as ledger:
        batches = await _prepare(ledger, producer, task)

        async def write(number: int) -> None:
            check(await ledger.append(producer.programme.code, batches[number]))

        return await _timed(len(batches), write)


async def copy(task: dict[str, Any]) -> dict[str, Any]:
    """Copy the rows that ``apply`` writes into an entry table of the same state, one commit a batch, and nothing else."""
    producer = Producer(Programme(**task["programme"]), task["seed"])
    async with opened(task["source_url"], Path(task["programmes_folder"])) as ledger:
        for batch in await _prepare(ledger, producer, task):
            check(await ledger.append(producer.programme.code, batch))
        issued = await _exported(ledger.pool, producer.programme.code, 1, task["vouchers"])
        first = range(task["vouchers"] + 1, task["vouchers"] + task["events"] + 1, BATCH)
        rows = [await _exported(ledger.pool, producer.programme.code, at, at + BATCH - 1) for at in first]
    pool = await connect(task["database_url"], connections_max=1)
    async with pool.acquire() as connection:
        await copy_rows(connection, issued)
        return await _timed(len(rows), lambda number: copy_rows(connection, rows[number]))


async def _prepare(ledger: Any, producer: Producer, task: dict[str, Any]) -> Batches:
    await issue(ledger, producer, task["vouchers"])
    picks = producer.picks(task["events"])
    return [
        read(producer.redemptions(picks[first : first + BATCH]), REDEEMED) for first in range(0, task["events"], BATCH)
    ]


async def _exported(pool: "asyncpg.Pool[asyncpg.Record]", programme: str, first: int, last: int) -> bytes:
    parts: list[bytes] = []

    async def take(part: bytes) -> None:
        parts.append(part)

    await pool.copy_from_query(_ROWS, programme, first, last, output=take, format="binary")
    return b"".join(parts)


async def copy_rows(connection: Any, rows: bytes) -> None:
    """Copy rows in the binary form into the table of entries, in a transaction of their own."""

    async def source() -> AsyncIterator[bytes]:
        yield rows

    await connection.copy_to_table("entry", source=source(), columns=chain.COLUMNS, format="binary")


if __name__ == "__main__":
    _task = startline.task()
    with fast_loop() as _runner:
        startline.tell(_runner.run(apply(_task) if _task["mode"] == "apply" else copy(_task)))
