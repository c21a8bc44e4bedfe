"""Ledgers prepared in this process: opened, and with vouchers that were issued through ``Ledger.append``."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from benchmarks.workload import Producer, read
from schemas.events import ISSUED
from services.ledger.append import Ledger, Limits
from services.ledger.batch import Decided, Outcome
from services.ledger.database import connect
from services.programmes import load_policies

_ISSUED_AT_ONCE = 5_000


class RefusedError(RuntimeError):
    """An event that the bench made was not accepted: what was measured is not what it says."""


@contextlib.asynccontextmanager
async def opened(database_url: str, programmes_folder: Path, limits: Limits | None = None) -> AsyncIterator[Ledger]:
    """Give the ledgers of a sample's programmes."""
    pool = await connect(database_url, connections_max=4)
    try:
        ledger = Ledger(pool, load_policies(programmes_folder), limits)
        await ledger.open()
        yield ledger
    finally:
        pool.terminate()


async def issue(ledger: Ledger, producer: Producer, count: int) -> None:
    """Issue so many vouchers. Raises RefusedError."""
    left = count
    while left:
        some = min(left, _ISSUED_AT_ONCE)
        check(await ledger.append(producer.programme.code, read(producer.issues(some), ISSUED)))
        left -= some


def check(outcomes: Sequence[Outcome]) -> None:
    """Raise RefusedError unless all were accepted."""
    for outcome in outcomes:
        if not isinstance(outcome, Decided) or not outcome.decision.accepted:
            raise RefusedError(f"not accepted: {outcome}")
