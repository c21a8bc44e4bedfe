"""The one verb: append events to a programme's ledger. One transaction a batch, and whoever holds the head's row decides.

    1  lock the head               3  decide, in pure Python
    2  catch the book up, load     4  COPY the entries, write the block, move the head; commit

A failure leaves nothing behind: the transaction is undone, and the book, which may have run ahead, is thrown away.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

from schemas.policy import Policy
from services.ledger import chain, loading, parking
from services.ledger.batch import Batch, Outcome, by_voucher
from services.ledger.book import Book
from services.ledger.database import COMMAND_TIMEOUT_SECONDS, Connection
from services.ledger.decide import issue_period
from services.ledger.entry import Inbound
from services.ledger.policies import Policies

_HEAD = "SELECT position, hash, recorded_at, policy FROM head WHERE programme = $1"
_LOCK = _HEAD + " FOR UPDATE"
_MOVE = """
WITH block AS (
  INSERT INTO block (programme, first, last, recorded_at, policy, issued, root, previous, hash)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9))
UPDATE head SET position = $3, hash = $9, recorded_at = $4 WHERE programme = $1"""


_NEVER_SECONDS = 86_400.0


class ProgrammeUnknownError(LookupError):
    """No ledger of this programme is open here."""


class Limits(NamedTuple):
    """How much of a programme a process keeps in memory, and how long a redemption waits for its voucher."""

    vouchers_max: int = 1_000_000
    quotas_max: int = 200_000
    wait: timedelta = timedelta(hours=24)
    expire_at_once_max: int = 1_000


class _Head(NamedTuple):
    position: int
    hash: bytes
    recorded_at: datetime
    policy: bytes


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """The ledgers of the programmes that this process serves."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        policies: Mapping[str, Policy],
        limits: Limits | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.pool = pool
        self.policies = Policies(policies)
        self.limits = limits or Limits()
        self._clock = clock
        self._books: dict[str, Book] = {}
        self._turns: dict[str, asyncio.Lock] = {programme: asyncio.Lock() for programme in policies}

    async def open(self) -> None:
        """Make each programme known to the database, with its policy. Raises PolicyConflictError; see ``policies``."""
        async with self.pool.acquire() as connection:
            await self.policies.activate(connection, self._clock())

    def serves(self, programme: str) -> bool:
        """Whether this process has the programme."""
        return programme in self._turns

    async def append(self, programme: str, events: Sequence[Inbound]) -> list[Outcome]:
        """Decide the events in their order and write what they come to; return each one's outcome, in the same order.

        Returns after the commit. Raises ProgrammeUnknownError; whatever asyncpg raises means that nothing was written, or that
        it is not known whether it was: appending the same events again is always right.
        """
        return await self._transact(programme, events, write=True)

    async def quote(self, programme: str, events: Sequence[Inbound]) -> list[Outcome]:
        """Decide the events as ``append`` would at this moment, and write nothing."""
        return await self._transact(programme, events, write=False)

    async def expire_parked(self, programme: str) -> int:
        """Refuse the parked redemptions whose wait is over; return how many there were."""
        async with self._turn(programme), self.pool.acquire() as connection:
            before = self._clock() - self.limits.wait
            if not await parking.any_since(connection, programme, before):
                return 0
            async with connection.transaction():
                head = await self._lock(connection, programme)
                late = await parking.since(connection, programme, before, self.limits.expire_at_once_max)
                batch = await self._batch(connection, programme, head, late, write=True)
                for redemption in late:
                    batch.end_wait(redemption)
                await self._write(connection, batch, head)
            self._keep(programme, batch.book)
            return len(late)

    def _turn(self, programme: str) -> asyncio.Lock:
        try:
            return self._turns[programme]
        except KeyError:
            raise ProgrammeUnknownError(f"no programme {programme!r} here") from None

    async def _transact(self, programme: str, events: Sequence[Inbound], *, write: bool) -> list[Outcome]:
        if not events:
            return []
        async with self._turn(programme), self.pool.acquire() as connection:
            # What is quoted holds no lock, so it is read from one snapshot.
            async with connection.transaction(isolation=None if write else "repeatable_read", readonly=not write):
                head = await self._lock(connection, programme) if write else await self._read(connection, programme)
                waiting = await parking.for_vouchers_of(connection, programme, events)
                batch = await self._batch(connection, programme, head, [*events, *waiting], write=write)
                batch.known.update(await loading.known_events(connection, programme, events))
                batch.waiting.update(by_voucher(waiting))
                outcomes = [batch.take(inbound) for inbound in events]
                if write:
                    await self._write(connection, batch, head)
            if write:
                self._keep(programme, batch.book)
            return outcomes

    async def _lock(self, connection: Connection, programme: str) -> _Head:
        return _head(await connection.fetchrow(_LOCK, programme), programme)

    async def _read(self, connection: Connection, programme: str) -> _Head:
        return _head(await connection.fetchrow(_HEAD, programme), programme)

    async def _batch(
        self, connection: Connection, programme: str, head: _Head, events: Sequence[Inbound], *, write: bool
    ) -> Batch:
        policy = await self.policies.in_force(connection, programme, head.policy)
        # Taken out, not looked up: a book that a failure left half-way is never used again.
        book = self._books.pop(programme, None) if write else None
        if book is None or not 0 <= head.position - book.position <= loading.CATCH_UP_MAX:
            book = await loading.begin(connection, programme, head.position)
        await loading.catch_up(connection, programme, book, head.position, policy)
        recorded_at = max(self._clock(), head.recorded_at)
        await loading.load(connection, programme, book, events, lambda issue: issue_period(policy, issue, recorded_at))
        return Batch(programme, policy, book, recorded_at, known={}, waiting={})

    async def _write(self, connection: Connection, batch: Batch, head: _Head) -> None:
        await parking.park(connection, batch.programme, batch.parked.values(), batch.recorded_at)
        await parking.unpark(connection, batch.programme, batch.unparked)
        if not batch.rows:
            return
        # The driver's own timeout of a COPY fails with an AttributeError: this one is a TimeoutError, and passes.
        async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
            await connection.copy_to_table(
                "entry", source=_copy(batch.rows), columns=chain.COLUMNS, format="binary", timeout=_NEVER_SECONDS
            )
        root, issued, last = chain.merkle_root(batch.leaves), batch.issued(), batch.book.position
        block = chain.block_hash(
            programme=batch.programme, first=batch.first, last=last, recorded_at=batch.recorded_at,
            policy=batch.policy.digest, issued=issued, root=root, previous=head.hash,
        )  # fmt: skip
        await connection.execute(
            _MOVE,
            batch.programme,
            batch.first,
            last,
            batch.recorded_at,
            batch.policy.digest,
            issued,
            root,
            head.hash,
            block,
        )

    def _keep(self, programme: str, book: Book) -> None:
        book.forget(self.limits.vouchers_max, self.limits.quotas_max)
        self._books[programme] = book


def _head(row: asyncpg.Record | None, programme: str) -> _Head:
    if row is None:
        raise ProgrammeUnknownError(f"the database has no ledger of {programme!r}: was it opened?")
    return _Head(row["position"], row["hash"], row["recorded_at"], row["policy"])


async def _copy(rows: Sequence[bytes]) -> AsyncIterator[bytes]:
    yield b"".join((chain.COPY_HEADER, *rows, chain.COPY_TRAILER))
