"""The bench `looking`: how long the monitor takes to answer, on a large ledger; what that costs those who decide is in ``looked_at``.

The answers and the pages are asked of the monitor's own process, over HTTP, one after another, of names drawn at random. The
ledger has a rare provider and one refusal in a hundred.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from benchmarks import machine
from benchmarks.monitoring import ENFORCES, Asking, monitoring
from benchmarks.programmes import enterprise
from benchmarks.registry import Sample, contends
from benchmarks.results import percentile
from benchmarks.scale import Scale
from benchmarks.stage import Place, Stage, programmes
from benchmarks.vouchers import check, issue, opened
from benchmarks.workload import VOUCHERS_EACH, Producer, read
from schemas.events import ISSUED, REDEEMED
from services.ledger.append import Ledger
from services.ledger.batch import Decided
from services.ledger.database import connect
from services.readmodel import activity
from services.readmodel.tailing import rebuild

_FILL: Final = 5_000
_REFUSED_OF_A_FILL: Final = 50
_OVER_BALANCE: Final = (b'"amount":"0.01"', b'"amount":"2000000.00"')

Routes = Mapping[str, Callable[[random.Random], str]]


def _routes(producer: Producer, rare: str, entries: int) -> Routes:
    base, pages = f"/v1/programmes/{producer.programme.code}", f"/programmes/{producer.programme.code}"
    common = producer.programme.provider
    holders = max(producer.issued // VOUCHERS_EACH, 1)
    return {
        "programmes": lambda _: "/v1/programmes",
        "statement": lambda _: f"{base}/statement",
        "quotas, a page": lambda draw: f"{base}/quotas?after={enterprise(draw.randrange(holders))}/2024",
        "vouchers, a page": lambda draw: f"{base}/vouchers?after={draw.randrange(entries)}",
        "voucher": lambda draw: f"{base}/vouchers/V-{draw.randrange(producer.issued)}",
        "enterprise": lambda draw: f"{base}/enterprises/{enterprise(draw.randrange(holders))}",
        "provider": lambda draw: f"{base}/providers/{common}?after={draw.randrange(entries)}",
        "provider, a rare one": lambda _: f"{base}/providers/{rare}",
        "entries": lambda draw: f"{base}/entries?after={draw.randrange(entries)}",
        "entries of an enterprise": lambda draw: f"{base}/entries?enterprise={enterprise(draw.randrange(holders))}",
        "entries of a code": lambda draw: (
            f"{base}/entries?code=exceeds_voucher_balance&after={draw.randrange(entries)}"
        ),
        "entries, refused, of both": lambda draw: (
            f"{base}/entries?refused=true&provider={common}&enterprise={enterprise(draw.randrange(holders))}"
        ),
        "queues": lambda _: "/v1/queues",
        "dead letters": lambda _: f"/v1/dead-letters?after={quote('0')}",
        "page: streams": lambda _: "/",
        "page: dead letters": lambda _: "/dead-letters",
        "page: programmes": lambda _: "/programmes",
        "page: programme": lambda _: pages,
        "page: enterprise": lambda draw: f"{pages}/enterprises/{enterprise(draw.randrange(holders))}",
        "page: voucher": lambda draw: f"{pages}/vouchers/V-{draw.randrange(producer.issued)}",
        "page: log": lambda _: "/log",
    }


async def _fill(ledger: Ledger, producer: Producer, rare: str, entries: int) -> int:
    """Append until there are so many: a tenth issues, a hundredth refusals, and in each batch one redemption of a rare provider."""
    code, common = producer.programme.code, producer.programme.provider
    there = producer.issued
    while there < entries:
        events = read(producer.issues(_FILL // 10), ISSUED)
        uses = list(producer.redemptions(producer.picks(_FILL - len(events))))
        uses[0] = uses[0].replace(common.encode(), rare.encode())
        refused = [use.replace(*_OVER_BALANCE) for use in uses[-_REFUSED_OF_A_FILL:]]
        events += read(iter(uses[:-_REFUSED_OF_A_FILL] + refused), REDEEMED)
        outcomes = await ledger.append(code, events)
        check(outcomes[:-_REFUSED_OF_A_FILL])
        if any(isinstance(one, Decided) and one.decision.accepted for one in outcomes[-_REFUSED_OF_A_FILL:]):
            raise AssertionError("what is over a balance is refused")
        there += len(events)
    return there


@contends("looking", "answers", ENFORCES, once=True)
async def answers(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the median and the 99th percentile of each answer, and what taking an entry in costs."""
    async with stage.place() as place:
        found, folder = programmes(place)
        producer, draw = Producer(found[0], seed), random.Random(seed)
        code = producer.programme.code
        async with opened(place.database_url, folder) as ledger:
            accredited = ledger.policies.files[code].providers.codes
            rare = min(accredited - {producer.programme.provider})
            await issue(ledger, producer, scale.vouchers)
            entries = await _fill(ledger, producer, rare, scale.growth_levels[-1])
            details = {"ledger_entries_at_end": entries, "asked": scale.asked}
            cost = await _taken_in(place, code) / entries * 1e6
            samples = [Sample(cost, "µs", details, of="an entry taken into the read model")]
            samples += await _of_the_page(ledger, code, scale.asked, details)
        async with monitoring(place, folder) as (_, url):
            asking = Asking(url)
            for name, path in _routes(producer, rare, entries).items():
                times = [await asyncio.to_thread(asking.ask, path(draw)) for _ in range(scale.asked)]
                ordered = sorted(times)
                samples.append(Sample(percentile(ordered, 0.5) * 1000, "ms", details, of=f"{name}: p50"))
                samples.append(Sample(percentile(ordered, 0.99) * 1000, "ms", details, of=f"{name}: p99"))
        return samples


async def _of_the_page(ledger: Ledger, code: str, asked: int, details: dict[str, Any]) -> list[Sample]:
    """Return how long what only the page asks takes: it goes by no route of the API."""
    now = datetime.now(UTC)
    questions = {
        "activity by the hour": lambda: activity.hours(ledger.pool, code, now - timedelta(days=2), now),
        "refusals by code": lambda: activity.refusals(ledger.pool, code, now - timedelta(days=2)),
    }
    samples = []
    for name, question in questions.items():
        times = []
        for _ in range(asked):
            began = time.perf_counter()
            await question()
            times.append(time.perf_counter() - began)
        for share, called in ((0.5, "p50"), (0.99, "p99")):
            samples.append(Sample(percentile(sorted(times), share) * 1000, "ms", details, of=f"{name}: {called}"))
    return samples


async def _taken_in(place: Place, code: str) -> float:
    """Compute the read model; return the processor time that the database took for it, in seconds, or where nothing tells the time."""
    pool = await connect(place.database_url, connections_max=1)
    try:
        server = await pool.fetchval("SELECT pg_backend_pid()")
        before, began = machine.cpu_seconds(server), time.monotonic()
        await rebuild(pool, code)
        after = machine.cpu_seconds(server)
        return time.monotonic() - began if before is None or after is None else after - before
    finally:
        pool.terminate()
