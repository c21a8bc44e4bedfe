"""The sampler: looks at the broker and at the heads of the ledgers once a second, for all browsers, and remembers an hour.

Nothing here asks more for a larger ledger. A server that is away leaves what was last seen, and the pages say since when.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.policy import Policy
from services.broker import AWAY, inbound_streams, notification_stream
from services.ledger.database import TRANSIENT
from services.ledger.verifications import Verified, newest
from services.letters import LetterHead
from services.monitor.history import Counter, Measured
from services.monitor.letterbox import Letterbox
from services.monitor.verdict import Standing, Verdict, judge, judge_notifications
from services.queues import Queue, queues

log = structlog.get_logger()

SAMPLE_EVERY_SECONDS: Final = 1.0
_VERIFICATIONS_EVERY_SECONDS: Final = 5.0

_HEADS = (
    "SELECT programme, position, recorded_at, parked FROM head WHERE programme = ANY($1::text[]) ORDER BY programme"
)
_RECORDED = """
SELECT entry.programme, entry.recorded_at FROM unnest($1::text[], $2::bigint[]) AS of (programme, position)
JOIN entry USING (programme, position)"""


@dataclass(frozen=True, slots=True)
class Stream:
    """An inbound stream as of a sample; rates per second, an hour of them the oldest first."""

    row: Queue
    verdict: Verdict
    rate_in: float | None
    rate_out: float | None
    hour_in: Measured
    hour_out: Measured


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """A programme's ledger as of a sample. ``distance`` is how many of its entries are not notified yet."""

    programme: str
    position: int
    recorded_at: datetime
    parked: int
    rate: float | None
    hour: Measured
    distance: int
    notified: Verdict
    verified: Verified | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen. ``broker_trouble`` and ``database_trouble`` say why a part of it is older than ``at``."""

    at: datetime
    number: int = 0
    streams: tuple[Stream, ...] = ()
    ledgers: tuple[LedgerHead, ...] = ()
    letters: tuple[LetterHead, ...] = ()
    letters_kept: int = 0
    broker_trouble: str | None = None
    database_trouble: str | None = None


class Sampler:
    """Takes a sample a second; ``latest`` is the newest."""

    def __init__(
        self,
        redis: Redis,
        pool: "asyncpg.Pool[asyncpg.Record]",
        policies: Mapping[str, Policy],
        read_within_seconds: float,
    ) -> None:
        self._redis = redis
        self._pool = pool
        self._policies = policies
        self._inbound = frozenset(stream.key for stream in inbound_streams(policies))
        self._read_within_seconds = read_within_seconds
        self._letterbox = Letterbox()
        self._entered: defaultdict[str, Counter] = defaultdict(Counter)
        self._left: defaultdict[str, Counter] = defaultdict(Counter)
        self._positions: defaultdict[str, Counter] = defaultdict(Counter)
        self._notified: dict[str, int] = {}
        self._verified: dict[str, Verified] = {}
        self._verified_at = float("-inf")
        self.latest = Sample(datetime.now(UTC))

    async def run(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            await self.sample(loop.time())
            # A look that took long is not made up for: the next one comes when it would have come.
            next_at = max(next_at + SAMPLE_EVERY_SECONDS, loop.time())
            await asyncio.sleep(next_at - loop.time())

    async def look_at_letters(self) -> None:
        """Look at the dead letters at once: someone has just acted on them. While the broker is away, the next sample says so."""
        with contextlib.suppress(*AWAY, RedisError):
            await self._letterbox.look(self._redis)
            self.latest = replace(
                self.latest,
                number=self.latest.number + 1,
                letters=self._letterbox.letters,
                letters_kept=self._letterbox.kept,
            )

    async def sample(self, now: float) -> None:
        """Look once, at a moment of a clock that does not jump, in seconds."""
        streams, broker_trouble = self.latest.streams, None
        ledgers, database_trouble = self.latest.ledgers, None
        try:
            await self._letterbox.look(self._redis)
            streams = self._streams(now, await queues(self._redis, self._policies, self._letterbox.by_stream))
        except (*AWAY, RedisError) as error:
            broker_trouble = f"{type(error).__name__}: {error}"
        try:
            ledgers = await self._ledgers(now)
        except (*TRANSIENT, asyncpg.PostgresError) as error:
            database_trouble = f"{type(error).__name__}: {error}"
        self._tell(broker_trouble, database_trouble)
        self.latest = Sample(
            datetime.now(UTC), self.latest.number + 1, streams, ledgers, self._letterbox.letters,
            self._letterbox.kept, broker_trouble, database_trouble,
        )  # fmt: skip

    def _tell(self, broker_trouble: str | None, database_trouble: str | None) -> None:
        before = (self.latest.broker_trouble, self.latest.database_trouble)
        for which, was, trouble in zip(("broker", "database"), before, (broker_trouble, database_trouble), strict=True):
            if trouble is not None and was is None:
                log.warning("the monitor sees nothing", of=which, because=trouble.partition(":")[0])
            elif trouble is None and was is not None:
                log.info("the monitor sees again", of=which)

    def _streams(self, now: float, rows: list[Queue]) -> tuple[Stream, ...]:
        by_key = {row.stream: row for row in rows}
        self._notified = {code: int(by_key[notification_stream(code)].last_id.split("-")[0]) for code in self._policies}
        return tuple(self._stream(now, row) for row in rows if row.stream in self._inbound)

    def _stream(self, now: float, row: Queue) -> Stream:
        entered, left = self._entered[row.stream], self._left[row.stream]
        entered.see(now, row.entered)
        left.see(now, row.acknowledged)
        rates = entered.per_second(), left.per_second()
        standing = Standing(
            waiting=row.lag,
            pending=row.pending or 0,
            oldest_waiting=row.oldest_waiting_seconds,
            oldest_pending=row.oldest_pending_seconds,
            deliveries=row.oldest_pending_deliveries or 0,
            has_group=row.consumers is not None,
            last_read=row.last_read_seconds,
            rate_in=rates[0],
            rate_out=rates[1],
            still=left.still_seconds(),
        )
        return Stream(
            row, judge(standing, self._read_within_seconds), *rates, tuple(entered.hour(now)), tuple(left.hour(now))
        )

    async def _ledgers(self, now: float) -> tuple[LedgerHead, ...]:
        rows = await self._pool.fetch(_HEADS, list(self._policies))
        if now - self._verified_at >= _VERIFICATIONS_EVERY_SECONDS:
            self._verified = await newest(self._pool, [row["programme"] for row in rows])
            self._verified_at = now
        behind = {
            row["programme"]: self._notified[row["programme"]] + 1
            for row in rows
            if self._notified.get(row["programme"], row["position"]) < row["position"]
        }
        found = await self._pool.fetch(_RECORDED, list(behind), list(behind.values())) if behind else []
        oldest = {row["programme"]: row["recorded_at"] for row in found}
        return tuple(self._ledger(now, row, oldest.get(row["programme"])) for row in rows)

    def _ledger(self, now: float, row: asyncpg.Record, oldest_at: datetime | None) -> LedgerHead:
        programme, position = row["programme"], row["position"]
        positions, notified = self._positions[programme], self._left[notification_stream(programme)]
        positions.see(now, position)
        notified.see(now, self._notified.get(programme))
        distance = position - self._notified.get(programme, position)
        oldest = None if oldest_at is None else max((datetime.now(UTC) - oldest_at).total_seconds(), 0.0)
        rates = positions.per_second(), notified.per_second()
        return LedgerHead(
            programme, position, row["recorded_at"], row["parked"], rates[0], tuple(positions.hour(now)), distance,
            judge_notifications(distance, oldest, notified.still_seconds(), rates), self._verified.get(programme),
        )  # fmt: skip
