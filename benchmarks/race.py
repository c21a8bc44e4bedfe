"""The services on a backlog: events wait in the streams, all processes stand ready, and the clock runs until the last is acked.

Excluded: filling the streams, starting the processes, the first tenth of the events. The processes are started first; then a lock
on the entries' table holds them back while the streams are filled, and when it goes all begin at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import backlog, machine
from benchmarks.backlog import Line
from benchmarks.children import Child, services
from benchmarks.programmes import Programme
from benchmarks.registry import EVENTS_PER_SECOND, Sample
from benchmarks.stage import Place, Stage, programmes
from benchmarks.vouchers import issue, opened
from benchmarks.workload import Ids, Producer
from services import broker

_LOOK_SECONDS: Final = 0.01
_SETTLED_SECONDS: Final = 0.2
"""After a process's first reader, for its others."""
_SHARES_OF_A_MIX: Final = {"redeemed": 0.69, "issued": 0.30, "exhausted": 0.01}


@dataclass(frozen=True, slots=True)
class Race:
    """What waits in the streams, and who works it off: processes by service."""

    processes: Mapping[str, int]
    shares: Mapping[str, float] = field(default_factory=lambda: {"redeemed": 1.0})
    programmes: int = 1
    shared_provider: bool = False
    hot: bool = False
    ids: Ids = "uuid7"
    notifier: bool = False

    @classmethod
    def of_a_mix(cls, *, notifier: bool = False) -> "Race":
        """Return a race of all three kinds, each with a process of its own."""
        return cls(dict.fromkeys(_SHARES_OF_A_MIX, 1), _SHARES_OF_A_MIX, notifier=notifier)


Beside = Callable[[Place, list[Child]], contextlib.AbstractAsyncContextManager[None]]
"""Something to be done while the clock runs: from the place and the consumers' processes."""


def _streams(race: Race, producers: Mapping[str, Producer], events: int) -> dict[str, list[bytes]]:
    """Return the events by the key of their stream; programmes that share a stream take turns on it."""
    streams: dict[str, list[list[bytes]]] = {}
    for producer in producers.values():
        programme = producer.programme
        for kind, share in race.shares.items():
            count = round(events * share / race.programmes)
            match kind:
                case "redeemed":
                    key = f"voucher.redeemed:{programme.provider}"
                    made = producer.redemptions(producer.picks(count, hot=race.hot))
                case "issued":
                    key, made = f"voucher.issued:{programme.code}", producer.issues(count)
                case _:
                    key, made = f"quota.exhausted:{programme.code}", producer.closures(count)
            streams.setdefault(key, []).append(list(made))
    return {key: [event for turn in zip(*parts, strict=True) for event in turn] for key, parts in streams.items()}


async def _prepared(
    race: Race, found: list[Programme], folder: Path, place: Place, vouchers: int, seed: int
) -> dict[str, Producer]:
    producers = {programme.code: Producer(programme, seed, race.ids) for programme in found}
    async with opened(place.database_url, folder) as ledger:
        for producer in producers.values():
            await issue(ledger, producer, vouchers // race.programmes)
    return producers


@contextlib.asynccontextmanager
async def held_back(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Let nobody write an entry until the connection that this gives has committed."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("BEGIN; LOCK TABLE entry IN SHARE MODE")
        yield connection
    finally:
        connection.terminate()


async def ready(line: Line, processes: int, *, notifier: bool = False) -> None:
    """Wait until so many processes stand ready to read, and with ``notifier`` until all is notified."""
    while len(await line.reading()) < processes:
        line.check()
        await asyncio.sleep(_LOOK_SECONDS)
    await asyncio.sleep(_SETTLED_SECONDS)
    if notifier:
        await line.wait_until_notified()


def _cpu(children: list[Child]) -> float | None:
    used = [child.cpu_seconds() for child in children]
    return None if any(seconds is None for seconds in used) else sum(seconds or 0 for seconds in used)


async def run(
    stage: Stage, race: Race, *, events: int, vouchers: int, seed: int, beside: Beside | None = None
) -> list[Sample]:
    """Run the race once; return its rate in events a second. Raises UnfitError, ChildError."""
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(stage.place())
        found, folder = programmes(place, race.programmes, shared_provider=race.shared_provider)
        producers = await _prepared(race, found, folder, place, vouchers, seed)
        streams = _streams(race, producers, events)
        waiting = sum(map(len, streams.values()))
        redis = broker.connect(place.redis_url)
        stack.push_async_callback(redis.aclose)
        await backlog.ensure_groups(redis, streams)
        database = await asyncpg.connect(place.database_url)
        stack.callback(database.terminate)
        blocks_before = await database.fetchval("SELECT count(*) FROM block")

        counts = {**race.processes, **({"notifier": 1} if race.notifier else {})}
        children = await stack.enter_async_context(services(place, folder, counts))
        consumers = [child for child in children if not child.name.startswith("notifier")]
        line = Line(redis, database, list(streams), children)
        issued = sum((await line.positions()).values())
        await ready(line, len(consumers), notifier=race.notifier)
        async with (
            held_back(place.database_url) as gate,
            beside(place, consumers) if beside else contextlib.nullcontext(),
        ):
            await backlog.preload(redis, streams)
            await gate.execute("COMMIT")
            began, stood_at = await line.wait_for_positions(issued + waiting // 10)
            busy, cpu = machine.busy_seconds(), _cpu(consumers)
            await line.wait_for_positions(issued + waiting)
            ended = await line.wait_until_acked()
            cpu_after, busy_after = _cpu(consumers), machine.busy_seconds()
        counted = issued + waiting - stood_at
        details: dict[str, Any] = {
            "events_timed": counted,
            "events_waiting": waiting,
            "ledger_entries_at_end": issued + waiting,
            "processes": dict(race.processes),
            "batch_mean": round(waiting / (await database.fetchval("SELECT count(*) FROM block") - blocks_before), 1),
        }
        if cpu is not None and cpu_after is not None:
            details["consumer_cpu_us_per_event"] = round((cpu_after - cpu) / counted * 1e6, 1)
        if busy is not None and busy_after is not None:
            details["cores_busy"] = round((busy_after - busy) / (ended - began), 2)
        if race.notifier:
            notified = await line.wait_until_notified()
            details["notified_events_per_second"] = round(counted / (notified - began))
        await line.check_all_accepted(issued + waiting)
        return [Sample(counted / (ended - began), EVENTS_PER_SECOND, details)]
