"""The bench `profiling`: where the time of a consumer goes, in Python (py-spy) and in PostgreSQL (pg_stat_statements, waits, WAL).

On servers of its own, since the extension has to be loaded when PostgreSQL starts.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import race
from benchmarks.children import Child
from benchmarks.race import Race
from benchmarks.registry import Sample, SkippedError, contends
from benchmarks.scale import BATCH, Scale
from benchmarks.stacks import py_spy, recording, shares
from benchmarks.stage import Place, Stage, staged

PYTHON: Final = (
    "`run redeemed`, one process, redemptions as in end_to_end; py-spy samples it, which costs a little itself."
)
POSTGRES: Final = "The same; pg_stat_statements counts, and pg_stat_activity is looked at every 10 ms."
_TOP: Final = 8
_TOLD_FROM: Final = 0.001
"""Of the whole: statements with less are not told."""
_LOOK_SECONDS: Final = 0.01
_TOLD_LENGTH: Final = 60
_REDEMPTIONS: Final = Race({"redeemed": 1})
_ISSUES: Final = Race({"issued": 1}, {"issued": 1.0})

_OWN: Final = ("pg_stat_", "LOCK TABLE", "FROM head")
"""In statements of the bench itself; the service's own look at a head is lost with them, which is too little to show."""

_STATEMENTS: Final = """
SELECT regexp_replace(query, '\\s+', ' ', 'g') AS query, calls, total_exec_time AS ms, wal_bytes
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC"""
_ACTIVITY: Final = """
SELECT state, coalesce(wait_event_type || ':' || wait_event, 'on a core') AS doing FROM pg_stat_activity
WHERE application_name = 'voucher-ledger' AND datname = current_database() AND state <> 'idle'"""
_SIZES: Final = """
SELECT pg_relation_size('entry') AS table_bytes, pg_indexes_size('entry') AS index_bytes,
       (SELECT count(*) FROM entry) AS entries"""


@contends("profiling", "Python functions (py-spy)", PYTHON, once=True)
async def python(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the share of each function in the consumer's processor time, and leave a flame graph in the folder asked for."""
    py_spy()
    with tempfile.TemporaryDirectory() as temporary:
        folder = stage.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        stacks = folder / "consumer.stacks.txt"

        @contextlib.asynccontextmanager
        async def count(_: Place, consumers: list[Child]) -> AsyncIterator[None]:
            async with recording(consumers[0].pid, stacks, "raw"):
                yield

        @contextlib.asynccontextmanager
        async def draw(_: Place, consumers: list[Child]) -> AsyncIterator[None]:
            async with recording(consumers[0].pid, folder / "consumer.flamegraph.svg", "flamegraph"):
                yield

        await _run(stage, scale, _REDEMPTIONS, seed, count)
        itself, below = shares(stacks.read_text(), _TOP)
        if stage.output is not None:
            await _run(stage, scale, _REDEMPTIONS, seed, draw)
    return [
        *(Sample(share * 100, "%", {}, of=f"itself: {name}") for name, share in itself.items()),
        *(Sample(share * 100, "%", {}, of=f"with what it calls: {name}") for name, share in below.items()),
    ]


@dataclass(slots=True)
class _Seen:
    waits: Counter[str] = field(default_factory=Counter)
    statements: list[Any] = field(default_factory=list)
    sizes: dict[str, Any] = field(default_factory=dict)
    from_position: int = 0


async def _position(database: "asyncpg.Connection[asyncpg.Record]") -> int:
    return int(await database.fetchval("SELECT sum(position)::bigint FROM head"))


async def _look(database: "asyncpg.Connection[asyncpg.Record]", seen: _Seen) -> None:
    # Counted from the third batch on: the first ones were held back until the streams were full.
    held_at = await _position(database)
    while await _position(database) < held_at + 3 * BATCH:  # noqa: ASYNC110  nothing tells of a position
        await asyncio.sleep(_LOOK_SECONDS)
    await database.execute("SELECT pg_stat_statements_reset()")
    seen.from_position = await _position(database)
    while True:
        seen.waits.update(f"{row['state']}, {row['doing']}" for row in await database.fetch(_ACTIVITY))
        await asyncio.sleep(_LOOK_SECONDS)


async def _postgres(scale: Scale, raced: Race, seed: int) -> Sequence[Sample]:
    seen = _Seen()

    @contextlib.asynccontextmanager
    async def look(place: Place, _: list[Child]) -> AsyncIterator[None]:
        database = await asyncpg.connect(place.database_url)
        try:
            try:
                await database.execute("CREATE EXTENSION pg_stat_statements")
            except asyncpg.PostgresError as error:
                raise SkippedError(f"this PostgreSQL has no pg_stat_statements: {error}") from error
            looking = asyncio.create_task(_look(database, seen))
            yield
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            seen.statements = await database.fetch(_STATEMENTS)
            seen.sizes = dict(await database.fetchrow(_SIZES) or {})
        finally:
            database.terminate()

    async with staged(preload=["pg_stat_statements"]) as stage:
        (rate,) = await _run(stage, scale, raced, seed, look)
    return [rate, *_told(seen)]


def _told(seen: _Seen) -> list[Sample]:
    entries = seen.sizes["entries"]
    events = max(entries - seen.from_position, 1)
    statements = [row for row in seen.statements if not any(word in row["query"] for word in _OWN)]
    total = sum(row["ms"] for row in statements) or 1
    samples = [
        Sample(
            row["ms"] / total * 100, "%",
            {"calls": row["calls"], "ms": row["ms"], "note": f"{row['calls']:,} calls, {row['ms'] * 1000 / events:.2f} µs an event"},
            of=f"statement: {row['query'][:_TOLD_LENGTH]}",
        )
        for row in statements[:_TOP]
        if row["ms"] > total * _TOLD_FROM
    ]  # fmt: skip
    looks = sum(seen.waits.values()) or 1
    samples += [
        Sample(count / looks * 100, "%", {}, of=f"sessions: {doing}") for doing, count in seen.waits.most_common(_TOP)
    ]
    wal = sum(int(row["wal_bytes"] or 0) for row in statements)
    return [
        *samples,
        Sample(wal / events, "bytes", {}, of="WAL an event"),
        Sample(seen.sizes["table_bytes"] / entries, "bytes", {}, of="table an entry"),
        Sample(seen.sizes["index_bytes"] / entries, "bytes", {}, of="indexes an entry"),
    ]


@contends("profiling", "PostgreSQL, redemptions", POSTGRES, once=True)
async def postgres_redemptions(_: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the share of each statement and each wait while redemptions are decided, and the bytes that an event takes."""
    return await _postgres(scale, _REDEMPTIONS, seed)


@contends("profiling", "PostgreSQL, issues", POSTGRES, quick=False, once=True)
async def postgres_issues(_: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the same while vouchers are issued."""
    return await _postgres(scale, _ISSUES, seed)


async def _run(stage: Stage, scale: Scale, raced: Race, seed: int, beside: race.Beside) -> list[Sample]:
    return await race.run(stage, raced, events=scale.profile_events, vouchers=scale.vouchers, seed=seed, beside=beside)
