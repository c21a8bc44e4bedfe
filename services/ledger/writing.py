"""Writing a batch while it is decided: PostgreSQL takes the rows of some events in while the next are decided."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from time import perf_counter
from typing import Final, TypeVar

from services.ledger import chain, heads, parking
from services.ledger.batch import Batch, Block
from services.ledger.database import COMMAND_TIMEOUT_SECONDS, Connection
from services.ledger.entry import Inbound
from services.ledger.heads import Head
from services.ledger.trust import DoubtError

Result = TypeVar("Result")

_NEVER_SECONDS: Final = 86_400.0
DECIDED_AT_ONCE: Final = 100
"""Events whose rows go to the database together: it takes them in while the next are decided."""


async def write(
    connection: Connection, batch: Batch, head: Head, events: Sequence[Inbound], act: Callable[[Inbound], Result]
) -> list[Result]:
    """Let the batch act on each event, and write what comes of it; return the results. Raises DoubtError."""
    results: list[Result] = []
    doubts: list[DoubtError] = []
    block: list[Block] = []

    async def rows() -> AsyncIterator[bytes]:
        yield chain.COPY_HEADER
        for first in range(0, len(events), DECIDED_AT_ONCE):
            begun = perf_counter()
            try:
                results.extend(map(act, events[first : first + DECIDED_AT_ONCE]))
            except DoubtError as doubt:
                # Raised only when the COPY is over: an end is cheaper for the connection than a failure.
                doubts.append(doubt)
                return
            batch.seconds += perf_counter() - begun
            rows_decided, batch.rows = batch.rows, []
            yield b"".join(rows_decided)
            # The loop sends what it was handed, and others have their turn.
            await asyncio.sleep(0)
        if batch.leaves:
            block.append(batch.block(head.hash))
        yield chain.COPY_TRAILER

    # The driver's own timeout of a COPY fails with an AttributeError: this one is a TimeoutError, and passes.
    async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
        await connection.copy_to_table(
            "entry", source=rows(), columns=chain.COLUMNS, format="binary", timeout=_NEVER_SECONDS
        )
    if doubts:
        raise doubts[0]
    parked = head.parked + len(batch.parked) - len(batch.unparked)
    if block:
        await heads.move(connection, block[0], batch.payables, parked)
    elif parked != head.parked:
        await heads.park(connection, batch.programme, parked)
    await parking.park(connection, batch.programme, batch.parked.values(), batch.recorded_at)
    await parking.unpark(connection, batch.programme, batch.unparked)
    return results
