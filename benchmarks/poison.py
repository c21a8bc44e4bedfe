"""The bench `poison`: how long good events take while half as many bad entries come along, on another producer's stream or among them.

The same good events each time, side by side: alone, then with a flood. The clock runs until the last good one is decided; the dead
letters are counted afterwards.
"""

import contextlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks import backlog, race
from benchmarks.backlog import Line, UnfitError
from benchmarks.children import services
from benchmarks.programmes import Programme
from benchmarks.registry import Sample, contends
from benchmarks.scale import Scale
from benchmarks.stage import Place, Stage, programmes
from benchmarks.vouchers import issue, opened
from benchmarks.workload import Producer
from services import broker
from services.broker import DEAD_LETTERS
from services.programmes import load_policies
from services.settings import PREFIX

ENFORCES: Final = (
    "Everything that end_to_end enforces; each bad entry is kept once as a dead letter, with its bytes, its reason and where it came "
    "from. One `run redeemed`; default settings, but that a stream of bad entries alone is not held."
)
LET_THROUGH: Final = {f"{PREFIX}DEAD_LETTER_SHARE_MAX": "1"}


@dataclass(frozen=True, slots=True)
class Flooded:
    """What waits in the streams, by their keys, and how many of it are good and bad."""

    streams: Mapping[str, Sequence[bytes]]
    good: int
    bad: int


def spoilt(events: Iterator[bytes]) -> Iterator[bytes]:
    """Yield each redemption made bad, in one of five ways in turns."""
    for number, event in enumerate(events):
        match number % 5:
            case 0:
                yield event[:-1]
            case 1:
                yield event.replace(b'"specversion":"1.0"', b'"specversion":"0.3"')
            case 2:
                yield event.replace(b"voucher.redeemed.v1", b"voucher.redeemed.v9")
            case 3:
                yield event.replace(b'"amount":"0.01"', b'"amount":"-0.01"')
            case _:
                yield event.replace(b'"source":"urn:uscc:9', b'"source":"urn:uscc:1')


def _flooded(where: str, programme: Programme, folder: Path, producer: Producer, scale: Scale) -> Flooded:
    key = f"voucher.redeemed:{programme.provider}"
    good = list(producer.redemptions(producer.picks(scale.events)))
    if where == "alone":
        return Flooded({key: good}, len(good), 0)
    bad = list(spoilt(producer.redemptions(producer.picks(scale.events // 2))))
    if where == "within":
        mixed = [*good, *bad]
        random.Random(len(mixed)).shuffle(mixed)
        return Flooded({key: mixed}, len(good), len(bad))
    providers = load_policies(folder)[programme.code].providers.codes
    other = min(code for code in providers if code != programme.provider)
    return Flooded({key: good, f"voucher.redeemed:{other}": bad}, len(good), len(bad))


async def _seconds(stage: Stage, scale: Scale, seed: int, where: str) -> float:
    """Return how long it takes until the good ones are decided."""
    async with stage.place() as place:
        (programme,), folder = programmes(place)
        producer = Producer(programme, seed)
        async with opened(place.database_url, folder) as ledger:
            await issue(ledger, producer, scale.vouchers)
        return await _timed(place, folder, _flooded(where, programme, folder, producer, scale))


async def _timed(place: Place, folder: Path, flooded: Flooded) -> float:
    async with contextlib.AsyncExitStack() as stack:
        redis = broker.connect(place.redis_url)
        stack.push_async_callback(redis.aclose)
        await backlog.ensure_groups(redis, flooded.streams)
        database = await asyncpg.connect(place.database_url)
        stack.callback(database.terminate)
        children = await stack.enter_async_context(services(place, folder, {"redeemed": 1}, LET_THROUGH))
        line = Line(redis, database, list(flooded.streams), children)
        issued = sum((await line.positions()).values())
        await race.ready(line, 1)
        async with race.held_back(place.database_url) as gate:
            await backlog.preload(redis, flooded.streams)
            await gate.execute("COMMIT")
            began = time.monotonic()
            ended, _ = await line.wait_for_positions(issued + flooded.good)
        await line.wait_until_acked()
        letters = await redis.xlen(DEAD_LETTERS)
        refused = await database.fetchval("SELECT count(*) FROM entry WHERE NOT accepted")
        if (letters, refused) != (flooded.bad, 0):
            raise UnfitError(f"{letters} dead letters and {refused} refusals; there were to be {flooded.bad} and none")
        return ended - began


@contends("poison", "a flood of bad entries", ENFORCES)
async def flood(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return how many times as long good events take beside a flood on another stream, and within one."""
    alone = await _seconds(stage, scale, seed, "alone")
    samples = []
    for where in ("beside", "within"):
        seconds = await _seconds(stage, scale, seed, where)
        details = {
            "good": scale.events, "bad": scale.events // 2, "seconds_alone": round(alone, 3), "seconds": round(seconds, 3),
            "note": f"{scale.events // 2:,} bad entries to {scale.events:,} good ones: {seconds:.2f} s, alone {alone:.2f} s",
        }  # fmt: skip
        samples.append(Sample(seconds / alone, "times as long", details, of=where))
    return samples
