"""Every metric there is: what it counts, by which labels, and how it comes to be. docs/metrics.md is made of this module.

What happens with a batch is counted once a batch, never once an event. What only a look can tell (how the streams stand) is looked up
when somebody asks for the metrics. No label names an enterprise or a voucher; the values of each are bounded by the policies, the
contract and this module.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import version
from math import nan
from typing import Final, NamedTuple

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from schemas.codes import Code, DeadLetterReason
from services.ledger.measures import Measures

log = structlog.get_logger()


class Look(NamedTuple):
    """What sets the gauges that only a look can tell, and what it looks at."""

    what: str
    act: Callable[[], Awaitable[None]]


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_EVENTS: Final = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000)
LOOK_SECONDS_MAX: Final = 5.0
"""A look that takes longer is given up: the other metrics are answered without it."""


class Described(NamedTuple):
    """A metric as the documentation and the checks of deploy/ have it; ``name`` as a query has it, without a histogram's suffix."""

    name: str
    type: str
    labels: tuple[str, ...]
    told: str


CATALOGUE: Final[list[Described]] = []
"""Every metric, in the order of this module."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody asks for
REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


def _counter(name: str, told: str, *labels: str) -> Counter:
    CATALOGUE.append(Described(f"voucher_ledger_{name}_total", "counter", labels, told))
    return Counter(f"voucher_ledger_{name}", told, labels, registry=REGISTRY)


def _gauge(name: str, told: str, *labels: str) -> Gauge:
    CATALOGUE.append(Described(f"voucher_ledger_{name}", "gauge", labels, told))
    gauge = Gauge(f"voucher_ledger_{name}", told, labels, registry=REGISTRY)
    if not labels:
        gauge.set(nan)  # and not 0, in a service that has nothing of the kind
    return gauge


def _histogram(name: str, told: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    CATALOGUE.append(Described(f"voucher_ledger_{name}", "histogram", labels, told))
    return Histogram(f"voucher_ledger_{name}", told, labels, buckets=buckets, registry=REGISTRY)


# Of every service
SERVICE: Final = _gauge("service", "1, for the service that answers.", "name", "version")
READY: Final = _gauge("ready", "1 when /readyz says that the service does its work, 0 when it does not.")
LOOKS_FAILED: Final = _counter(
    "looks_failed", "Looks at the streams, the broker or the ledger that failed; their gauges are then missing.", "what"
)

# What consumers decided
ENTRIES: Final = _counter(
    "entries",
    "Entries that this process appended. kind: issued, redeemed, exhausted; code: the refusal's, or clamped_to_cap, else empty.",
    "programme", "kind", "outcome", "code",
)  # fmt: skip
DUPLICATES: Final = _counter(
    "duplicates", "Events that came again with the same content, and changed nothing.", "programme"
)
DEAD_LETTERS: Final = _counter("dead_letters", "Events that this process put into the dead letters.", "kind", "reason")

# The batches in which they did
BATCH_EVENTS: Final = _histogram("batch_events", "Events in one read of a stream.", _EVENTS, "kind")
BATCH_SECONDS: Final = _histogram(
    "batch_seconds",
    "Seconds of a batch by step. decode: reading the events of one read; and of each programme in it, wait: until its head was held, "
    "load: bringing the book up to date, decide: the rules and the hashes, commit: all else until it was on the disk.",
    _SECONDS, "step",
)  # fmt: skip
BOOK_LOOKUPS: Final = _counter(
    "book_lookups",
    "Names that batches asked the book for. of: voucher, quota, payable; held: yes when it was in memory, no when it was looked up.",
    "of", "held",
)  # fmt: skip
BOOK_VOUCHERS: Final = _gauge("book_vouchers", "Vouchers that this process keeps in memory.", "programme")
HELD_SECONDS: Final = _gauge(
    "held_seconds",
    "For how long the batch that is held longest has been, because the database or the broker is away; 0 when none is.",
)

# How the streams stand, by a look at the moment of asking
STREAM_LAG: Final = _gauge(
    "stream_lag",
    "Entries of an inbound stream that no consumer was given yet; NaN when the broker cannot tell.",
    "stream",
)
STREAM_WAITING_SECONDS: Final = _gauge(
    "stream_oldest_waiting_seconds",
    "Age of the oldest entry that no consumer was given yet; 0 when there is none.",
    "stream",
)
STREAM_PENDING: Final = _gauge(
    "stream_pending", "Entries that a consumer was given and has not acknowledged.", "stream"
)
STREAM_PENDING_SECONDS: Final = _gauge(
    "stream_oldest_pending_seconds",
    "Age of the oldest entry that a consumer was given and has not acknowledged; 0 when there is none.",
    "stream",
)
DEAD_LETTERS_KEPT: Final = _gauge("dead_letters_kept", "Dead letters that nobody has replayed or discarded yet.")
BROKER_MEMORY: Final = _gauge("broker_memory_bytes", "Memory that the broker uses.")
BROKER_MEMORY_MAX: Final = _gauge(
    "broker_memory_max_bytes", "Memory at which the broker refuses new events; 0 when it has no limit."
)

# Of the notifier
POSITION: Final = _gauge("position", "The newest position of the ledger.", "programme")
PARKED: Final = _gauge("parked", "Redemptions that wait for their voucher.", "programme")
NOTIFICATIONS: Final = _counter("notifications", "Notifications that this process wrote.", "programme")
DISTANCE: Final = _gauge(
    "notifier_distance",
    "Entries that platforms are not told of yet; negative when they were told of more than the ledger has.",
    "programme",
)
NOTIFIED_SECONDS: Final = _histogram(
    "notified_seconds", "From an entry to its notification; of each write, its oldest.", _SECONDS
)

# Of the verifier
VERIFIED: Final = _gauge("verified", "1 when the last verification found the ledger right, 0 when not.", "programme")
VERIFIED_POSITION: Final = _gauge(
    "verified_position", "Entries that were found right, from the first one on.", "programme"
)
VERIFIED_AT: Final = _gauge(
    "verified_timestamp_seconds", "When the last verification ended, in seconds since 1970.", "programme"
)


def observe_append(measures: Measures) -> None:
    """Take in what a batch came to in the ledger."""
    programme = measures.programme
    for (kind, code), number in measures.counted.items():
        outcome = "accepted" if code is None or code is Code.CLAMPED_TO_CAP else "refused"
        ENTRIES.labels(programme, kind, outcome, code or "").inc(number)
    if measures.duplicates:
        DUPLICATES.labels(programme).inc(measures.duplicates)
    for step, seconds in measures.seconds.items():
        BATCH_SECONDS.labels(step).observe(seconds)
    for lookup in measures.lookups:
        if lookup.wanted:
            BOOK_LOOKUPS.labels(lookup.what, "yes").inc(lookup.wanted - lookup.missing)
            BOOK_LOOKUPS.labels(lookup.what, "no").inc(lookup.missing)
    BOOK_VOUCHERS.labels(programme).set(measures.vouchers_held)


def observe_read(kind: str, events: int, decode_seconds: float) -> None:
    """Take in that one read of a stream was decoded."""
    BATCH_EVENTS.labels(kind).observe(events)
    BATCH_SECONDS.labels("decode").observe(decode_seconds)


def observe_dead_letters(kind: str, reasons: Iterable[str]) -> None:
    """Take in that letters were put aside, each for its reason."""
    for reason, number in Tally(reasons).items():
        DEAD_LETTERS.labels(kind, reason).inc(number)


def name_service(service: str) -> None:
    """Let the metrics say which service this process is."""
    SERVICE.clear()
    SERVICE.labels(service, version("voucher-ledger")).set(1)


def expect(kind: str, programmes: Iterable[str]) -> None:
    """Begin at 0 what a consumer of this kind counts: the first dead letter is seen as one more, and not as one that was there."""
    for programme in programmes:
        ENTRIES.labels(programme, kind, "accepted", "")
    for reason in DeadLetterReason:
        DEAD_LETTERS.labels(kind, reason)


class Page(NamedTuple):
    """What ``/metrics`` answers."""

    body: bytes
    content_type: str


async def metrics_response(*looks: Look) -> Page:
    """Return the metrics as Prometheus reads them, after these looks. A look that fails takes nothing else along."""
    await asyncio.gather(*(_look(look) for look in looks))
    return Page(generate_latest(REGISTRY), CONTENT_TYPE_PLAIN_0_0_4)


async def _look(look: Look) -> None:
    failed = LOOKS_FAILED.labels(look.what)  # at 0 from the first time on
    try:
        async with asyncio.timeout(LOOK_SECONDS_MAX):
            await look.act()
    except Exception as error:  # noqa: BLE001  whatever it is, the other metrics are wanted all the more
        failed.inc()
        log.warning("could not look", what=look.what, because=type(error).__name__)
