"""The bench `growth`: the rate of appending, and how long the slowest batches take, as a ledger grows.

A fresh ledger is measured before and after the large one, since nothing can be interleaved here. Ledgers are filled through
``Ledger.append`` itself, a tenth issues and the rest redemptions, in large batches: they are what the consumers would have
written. Nothing is dropped or checkpointed by hand within a level; the server's own checkpoints come as they come.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from benchmarks.programmes import Programme
from benchmarks.registry import EVENTS_PER_SECOND, Sample, contends
from benchmarks.results import percentile
from benchmarks.scale import BATCH, Scale
from benchmarks.stage import Place, Stage, programmes
from benchmarks.vouchers import check, issue, opened
from benchmarks.workload import Producer, read
from benchmarks.writer import copy_rows
from schemas.events import ISSUED, REDEEMED
from services.ledger import chain
from services.ledger.append import Ledger
from services.ledger.batch import Batch
from services.ledger.book import Voucher
from services.ledger.recompute import WholeBook

ENFORCES: Final = (
    "Every rule, running figures and hash chain: `Ledger.append` of 2,000 redemptions a batch on uniform vouchers, one writer, "
    "its book warm; decoding is between the batches and not timed."
)
_FILL: Final = 5_000
_AHEAD: Final = 20
"""Batches decoded at a time, between the timed ones."""
_COPIED: Final = 100
"""Batches copied alone, at the end: the limit at this size."""


async def _fill(ledger: Ledger, producer: Producer, entries: int, target: int) -> int:
    code = producer.programme.code
    while entries < target:
        some = min(_FILL, target - entries)
        events = read(producer.issues(some // 10), ISSUED)
        events += read(producer.redemptions(producer.picks(some - len(events))), REDEEMED)
        check(await ledger.append(code, events))
        entries += some
    return entries


async def _measure(ledger: Ledger, producer: Producer, entries: int, seconds: float, name: str) -> list[Sample]:
    times: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        picks = producer.picks(_AHEAD * BATCH)
        batches = [read(producer.redemptions(picks[at : at + BATCH]), REDEEMED) for at in range(0, len(picks), BATCH)]
        for batch in batches:
            began = time.monotonic()
            outcomes = await ledger.append(producer.programme.code, batch)
            times.append(time.monotonic() - began)
            check(outcomes)
    appended = len(times) * BATCH
    details = {
        "batch": BATCH,
        "entries_before": entries,
        "ledger_entries_at_end": entries + appended,
        "vouchers": producer.issued,
        "events_timed": appended,
        "seconds": seconds,
        "note": f"from {entries:,} entries",
    }
    ordered = sorted(times)
    return [
        Sample(appended / sum(times), EVENTS_PER_SECOND, details, of=name),
        Sample(percentile(ordered, 0.5) * 1000, "ms", details, of=f"batch p50, {name}"),
        Sample(percentile(ordered, 0.99) * 1000, "ms", details, of=f"batch p99, {name}"),
    ]


async def _copied(ledger: Ledger, producer: Producer, entries: int, name: str) -> Sample:
    """Copy the rows of the next batches into the table, one commit each, and nothing else; the ledger is of no more use then."""
    code = producer.programme.code
    provider = producer.programme.provider
    vouchers: dict[str, Voucher | None] = {
        f"V-{number}": Voucher("cash", "91440300MA0000000X", provider, None, 10**8) for number in range(producer.issued)
    }
    book = WholeBook(position=entries, vouchers=vouchers)
    times: list[float] = []
    async with ledger.pool.acquire() as connection:
        for _ in range(_COPIED):
            batch = Batch(code, ledger.policies.files[code], book, datetime.now(UTC), known={}, waiting={})
            check([batch.take(one) for one in read(producer.redemptions(producer.picks(BATCH)), REDEEMED)])
            rows = b"".join((chain.COPY_HEADER, *batch.rows, chain.COPY_TRAILER))
            began = time.monotonic()
            await copy_rows(connection, rows)
            times.append(time.monotonic() - began)
    details = {"batch": BATCH, "entries_before": entries, "note": f"from {entries:,} entries, {_COPIED} batches"}
    return Sample(_COPIED * BATCH / sum(times), EVENTS_PER_SECOND, details, of=f"COPY alone, {name}")


async def _fresh(stage: Stage, scale: Scale, seed: int) -> list[list[Sample]]:
    async with stage.place() as place:
        return await _levels(place, scale, seed, (0,), ("fresh",))


async def _levels(
    place: Place, scale: Scale, seed: int, levels: Sequence[int], names: Sequence[str]
) -> list[list[Sample]]:
    found: list[Programme]
    found, folder = programmes(place)
    producer = Producer(found[0], seed)
    measured = []
    async with opened(place.database_url, folder) as ledger:
        await issue(ledger, producer, scale.vouchers)
        entries = scale.vouchers
        for level, name in zip(levels, names, strict=True):
            entries = await _fill(ledger, producer, entries, level)
            samples = await _measure(ledger, producer, entries, scale.growth_seconds, name)
            entries = int(samples[0].details["ledger_entries_at_end"])
            measured.append(samples)
        measured[-1].append(await _copied(ledger, producer, entries, names[-1]))
    return measured


@contends("growth", "append", ENFORCES, once=True)
async def append(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return rate and batch times at each level, and the limit at both ends; ``fresh`` is the mean of before and after."""
    grown = [level for level in scale.growth_levels if level]
    names = [f"at {level:,}" for level in grown[:-1]] + ["at the largest"]
    (before,) = await _fresh(stage, scale, seed)
    async with stage.place() as place:
        levels = await _levels(place, scale, seed, grown, names)
    (after,) = await _fresh(stage, scale, seed + 1)
    fresh = [
        Sample(
            (one.value + two.value) / 2, one.unit, one.details | {"before": one.value, "after": two.value}, of=one.of
        )
        for one, two in zip(before, after, strict=True)
    ]
    return [*fresh, *(sample for samples in levels for sample in samples)]
