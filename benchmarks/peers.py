"""The bench `peers`: Python packages for ledgers and event stores on the same PostgreSQL, doing the nearest thing they have."""

import contextlib
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Final

from benchmarks.children import fire, measuring
from benchmarks.registry import EVENTS_PER_SECOND, Sample, SkippedError, contends
from benchmarks.scale import Scale
from benchmarks.stage import Stage

EVENTSOURCING: Final = (
    "The voucher's balance, in the process; versions of one aggregate cannot collide, synchronous commit; no caps, no budget, "
    "no redemption number used once, no payable, no hash chain, no broker; aggregates cached and not copied."
)
HORDAK: Final = (
    "Debits equal credits, by triggers, synchronous commit; no limit on a voucher's balance, no caps, no budget, no redemption "
    "number used once, no hash chain, no broker."
)
_TOGETHER: Final = 100
_VOUCHERS_MAX: Final = 200


async def _run(package: str, module: str, together: int, stage: Stage, scale: Scale, _: int) -> Sequence[Sample]:
    if find_spec(package) is None or find_spec("psycopg") is None:
        raise SkippedError(f"{package} is not installed: pip install '.[bench]'")
    events = scale.peers // _TOGETHER * _TOGETHER
    async with contextlib.AsyncExitStack() as stack:
        task = {
            "database_url": await stack.enter_async_context(stage.bare()),
            "vouchers": min(scale.vouchers, _VOUCHERS_MAX),
            "events": events,
            "together": together,
        }
        child = await stack.enter_async_context(measuring(module, task, stage.folder, package))
        (figures,) = await fire([child])
    details = {"events_timed": events, "batch": together, "ledger_entries_at_end": events}
    return [Sample(events / (figures["ended"] - figures["began"]), EVENTS_PER_SECOND, details)]


contends("peers", "eventsourcing, one event a transaction", EVENTSOURCING)(
    partial(_run, "eventsourcing", "benchmarks.eventsourcing_peer", 1)
)
contends("peers", f"eventsourcing, {_TOGETHER} events a transaction", EVENTSOURCING)(
    partial(_run, "eventsourcing", "benchmarks.eventsourcing_peer", _TOGETHER)
)
contends("peers", "django-hordak, one a transaction", HORDAK)(partial(_run, "hordak", "benchmarks.hordak_peer", 1))
contends("peers", f"django-hordak, {_TOGETHER} a transaction", HORDAK)(
    partial(_run, "hordak", "benchmarks.hordak_peer", _TOGETHER)
)
