"""The one verb: append events to a programme's ledger. One transaction a batch, and whoever holds the head's row decides.

    1  lock the head               3  decide, in pure Python, and COPY what was decided while the next events are decided
    2  catch the book up, load     4  write the block, move the head; commit

A failure leaves nothing behind: the transaction is undone, and the book, which may have run ahead, is thrown away.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

from schemas.policy import Policy
from services.ledger import heads, loading, parking
from services.ledger.batch import Batch, Outcome, by_voucher
from services.ledger.book import Book
from services.ledger.database import Connection
from services.ledger.decide import issue_period
from services.ledger.entry import Inbound
from services.ledger.heads import Head, ProgrammeUnknownError
from services.ledger.measures import Measures, Observer, tell_nobody
from services.ledger.policies import Policies
from services.ledger.trust import UNIQUE_INDEXES, DoubtError, Trust
from services.ledger.writing import write


class Limits(NamedTuple):
    """How much of a programme a process keeps in memory; how long, and how many, redemptions wait for their vouchers."""

    vouchers_max: int = 1_000_000
    quotas_max: int = 200_000
    wait: timedelta = timedelta(hours=24)
    expire_at_once_max: int = 1_000
    parked_max: int = 1_000_000
    parked_per_provider_max: int = 100_000


class _Asked(NamedTuple):
    """Events, what they ask the book for, and whether that has what they would be the first to use."""

    events: Sequence[Inbound]
    wanted: loading.Wanted
    look_back: bool

    @classmethod
    def of(cls, events: Sequence[Inbound], *, look_back: bool) -> "_Asked":
        wanted = loading.Wanted()
        wanted.add(events, look_back=look_back)
        return cls(events, wanted, look_back)


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
        observe: Observer = tell_nobody,
    ) -> None:
        self.pool = pool
        self.policies = Policies(policies)
        self.limits = limits or Limits()
        self._clock = clock
        self.crowded_out: Counter[str] = Counter()
        """Redemptions that this process refused because too many waited already, by programme; whoever tells of them takes them out."""
        self._observe = observe
        self._books: dict[str, Book] = {}
        self._trust: dict[str, Trust] = {programme: Trust() for programme in policies}
        # One decides, and one waits for the head, to go on in the moment of its commit. More would only take connections from
        # other programmes.
        self._turns = {programme: asyncio.Semaphore(2) for programme in policies}

    async def open(self) -> None:
        """Make each programme known to the database, with its policy. Raises PolicyConflictError; see ``policies``."""
        async with self.pool.acquire() as connection:
            await self.policies.activate(connection, self._clock())

    def serves(self, programme: str) -> bool:
        """Whether this process has the programme."""
        return programme in self._trust

    async def append(self, programme: str, events: Sequence[Inbound]) -> list[Outcome]:
        """Decide the events in their order and write what they come to; return each one's outcome, in the same order.

        Returns after the commit. Raises ProgrammeUnknownError; whatever asyncpg raises means that nothing was written, or that
        it is not known whether it was: appending the same events again is always right.
        """
        if not events:
            return []
        trust = self._trust_of(programme)
        measures = Measures(programme)
        async with self._turns[programme], self.pool.acquire() as connection:
            if trust.given:
                with contextlib.suppress(DoubtError):
                    return await self._append(connection, measures, events, look_back=False)
            return await self._append(connection, measures, events, look_back=True)

    async def quote(self, programme: str, events: Sequence[Inbound]) -> list[Outcome]:
        """Decide the events as ``append`` would at this moment, and write nothing."""
        if not events:
            return []
        self._trust_of(programme)
        async with (
            self.pool.acquire() as connection,
            # What is quoted holds no lock, so it is read from one snapshot.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            head = await heads.read(connection, programme)
            policy = await self.policies.in_force(connection, programme, head.policy)
            book = await loading.begin(connection, programme, head.position, head.hash)
            batch = await self._batch(connection, programme, head, policy, book, _Asked.of(events, look_back=True))
            return [batch.take(inbound) for inbound in events]

    async def expire_parked(self, programme: str) -> int:
        """Refuse the parked redemptions whose wait is over; return how many there were."""
        self._trust_of(programme)
        measures = Measures(programme)
        async with self._turns[programme], self.pool.acquire() as connection:
            before = self._clock() - self.limits.wait
            if not await parking.any_since(connection, programme, before):
                return 0
            async with connection.transaction():
                head = await heads.lock(connection, programme)
                measures.passed("wait")
                late = await parking.since(connection, programme, before, self.limits.expire_at_once_max)
                asked = _Asked.of(late, look_back=True)
                batch = await self._begin(connection, programme, head, asked)
                measures.passed("load")
                await write(connection, batch, head, late, batch.end_wait)
                self._keep(programme, batch.book)
            self._tell(measures, batch, asked)
            return len(late)

    def _trust_of(self, programme: str) -> Trust:
        try:
            return self._trust[programme]
        except KeyError:
            raise ProgrammeUnknownError(f"no programme {programme!r} here") from None

    async def _append(
        self, connection: Connection, measures: Measures, events: Sequence[Inbound], *, look_back: bool
    ) -> list[Outcome]:
        """Append in one transaction. Raises DoubtError when nothing was looked up and something would have had to be."""
        programme = measures.programme
        trust = self._trust[programme]
        asked = _Asked.of(events, look_back=look_back)
        try:
            async with connection.transaction():
                head = await heads.lock(connection, programme)
                measures.passed("wait")
                batch = await self._begin(connection, programme, head, asked)
                measures.passed("load")
                outcomes = await write(connection, batch, head, events, batch.take)
                # Before the commit: whoever waits for the head in this process goes on with this book at once. If the commit
                # fails, the book's hash is not that of the head, and it is not used again.
                self._keep(programme, batch.book)
        except DoubtError:
            trust.lose()
            raise
        except asyncpg.UniqueViolationError as error:
            if look_back or error.constraint_name not in UNIQUE_INDEXES:
                raise
            trust.lose()
            raise DoubtError from error
        if batch.crowded_out:
            self.crowded_out[programme] += batch.crowded_out
        if batch.doubtful:
            trust.lose()
        else:
            trust.grow()
        self._tell(measures, batch, asked)
        return outcomes

    async def _begin(self, connection: Connection, programme: str, head: Head, asked: _Asked) -> Batch:
        """Return a batch on the book that this process keeps, brought up to the head."""
        policy = await self.policies.in_force(connection, programme, head.policy)
        # Taken out, not looked up: a book that a failure left half-way is never used again.
        book = self._books.pop(programme, None)
        if book is None or not await loading.catch_up(connection, programme, book, head.position, head.hash, policy):
            book = await loading.begin(connection, programme, head.position, head.hash)
        return await self._batch(connection, programme, head, policy, book, asked)

    async def _batch(
        self, connection: Connection, programme: str, head: Head, policy: Policy, book: Book, asked: _Asked
    ) -> Batch:
        """Return a batch with what its events ask for."""
        events, wanted, look_back = asked
        known: dict[bytes, bytes] = {}
        waiting: list[Inbound] = []
        if head.parked:
            waiting = await parking.for_vouchers_of(connection, programme, events)
            known = await parking.known_events(connection, programme, events)
            wanted.add(waiting, look_back=look_back)
        recorded_at = max(self._clock(), head.recorded_at)
        await loading.load(
            connection, programme, book, wanted, lambda issue: issue_period(policy, issue, recorded_at)
        )  # fmt: skip
        if look_back:
            known.update(await loading.known_events(connection, programme, events))
        limits = self.limits
        room = await parking.room(
            connection, programme, head.parked, events, limits.parked_max, limits.parked_per_provider_max
        )  # fmt: skip
        return Batch(programme, policy, book, recorded_at, known, by_voucher(waiting), looked_back=look_back, room=room)

    def _tell(self, measures: Measures, batch: Batch, asked: _Asked) -> None:
        """Tell whoever observes what can be measured of a batch that is committed."""
        measures.passed("commit")
        measures.split_off("decide", "commit", batch.seconds)
        measures.counted, measures.duplicates = batch.counted(), batch.duplicates
        measures.lookups = asked.wanted.lookups
        measures.vouchers_held = len(batch.book.vouchers)
        # Not the book's position: whoever waited for the head in this process may have gone on with it already.
        measures.first, measures.last = batch.first, batch.first + len(batch.leaves) - 1
        self._observe(measures)

    def _keep(self, programme: str, book: Book) -> None:
        book.forget(self.limits.vouchers_max, self.limits.quotas_max)
        self._books[programme] = book
