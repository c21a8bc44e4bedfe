"""The notifier: tails the ledger by position and tells platforms of each entry, in order, without a gap, and once.

The ledger is the outbox. The cursor is the stream's own last id (``gapless``), so neither a crash, nor a second notifier, nor a stream
that was deleted makes a gap or a double. Of two notifiers the one that holds a programme's advisory lock works.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from schemas.events import EXHAUSTED
from schemas.identifiers import ledger_source
from schemas.policy import Policy
from schemas.streams import QUOTA_EXHAUSTED
from services import gapless, metrics
from services.broker import AWAY, FIELD, connect, notification_stream
from services.failures import told
from services.health import Answer
from services.ledger.database import TRANSIENT, Connection, connect_once
from services.ledger.entry import event_key
from services.ledger.policies import Policies
from services.notifications import Row, exhausted_event, exhausted_event_id, exhausts, notification
from services.settings import Settings
from services.tracing import Tracer, Untraced, What
from services.trimming import trim

log = structlog.get_logger()

_CHECK_EVERY_SECONDS: Final = 1.0
"""How often a stream is looked at for having been deleted, and a programme for having lost its notifier."""

_LATELY_SECONDS: Final = 1.0
_SOONER_BY: Final = 8

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('voucher-ledger/notifier/' || $1, 0))"
_HEADS = "SELECT programme, position, parked FROM head WHERE programme = ANY($1::text[])"
_ENTRIES = """
SELECT entry.*, block.policy FROM entry
CROSS JOIN LATERAL (
  SELECT policy FROM block WHERE programme = entry.programme AND last >= entry.position ORDER BY last LIMIT 1) AS block
WHERE entry.programme = $1 AND entry.position > $2 ORDER BY entry.position LIMIT $3"""
_KNOWN = "SELECT 1 FROM entry WHERE programme = $1 AND key = $2"


class Notifier:
    """Notifications of the programmes that the settings name, from the ledger to their streams."""

    def __init__(self, settings: Settings, policies: Mapping[str, Policy], tracer: Tracer | None = None) -> None:
        self._settings = settings
        self._policies = Policies(policies)
        self._programmes = sorted(policies)
        self._cursors: dict[str, int] = {}
        self._distance: dict[str, int] = {}
        self._heads: dict[str, tuple[int, int]] = {}
        """Position and number of parked redemptions, as last seen."""
        self._trouble: str | None = "starting"
        self._untrimmed: str | None = None
        self._tracer = tracer or Untraced()

    async def run(self) -> None:
        """Notify until cancelled; while the database or the broker is away or refuses us, wait and begin again."""
        redis = connect(self._settings.require_redis_url())
        pause = 0.1
        try:
            while True:
                try:
                    await self._session(redis)
                except (*TRANSIENT, *AWAY, asyncpg.PostgresError, RedisError) as error:
                    self._trouble = told(error)
                    log.warning("notifier waits", because=self._trouble, seconds=pause)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, self._settings.retry_seconds_max)
                else:
                    pause = 0.1
        finally:
            await redis.aclose()

    async def _session(self, redis: Redis) -> None:
        """Work for as long as one connection lasts: the locks are its."""
        connection = await connect_once(self._settings.require_database_url())
        loop = asyncio.get_running_loop()
        self._cursors.clear()
        self._distance.clear()
        self._heads.clear()
        looked_at = found_at = float("-inf")
        try:
            self._trouble = None
            while True:
                if loop.time() - looked_at > _CHECK_EVERY_SECONDS:
                    await self._take_on(connection, redis)
                    await self._trim(redis)
                    looked_at = loop.time()
                if await self._round(connection, redis):
                    found_at = loop.time()
                    continue
                # Where something just came more is to be expected: it is looked for sooner, for a while.
                lately = loop.time() - found_at < _LATELY_SECONDS
                await asyncio.sleep(self._settings.notify_poll_seconds / (_SOONER_BY if lately else 1))
        finally:
            connection.terminate()

    async def _take_on(self, connection: Connection, redis: Redis) -> None:
        """Take on the programmes that nobody notifies for, and see where each stream stands."""
        for programme in self._programmes:
            if programme not in self._cursors and not await connection.fetchval(_LOCK, programme):
                continue
            stands_at = await gapless.stands_at(redis, programme)
            if self._cursors.get(programme) != stands_at:
                log.info("notifying", programme=programme, after=stands_at)
                self._cursors[programme] = stands_at

    async def _trim(self, redis: Redis) -> None:
        """Keep as many notifications as are wanted; the cursor is the stream's last id, which stays. That it fails stops nothing."""
        keep = self._settings.keep_notifications
        if keep is None:
            return
        try:
            for programme, cursor in self._cursors.items():
                await trim(redis, notification_stream(programme), f"{max(cursor - keep, 0) + 1}-0")
            self._untrimmed = None
        except ResponseError as error:
            self._untrimmed = f"trimming notifications: {type(error).__name__}: {error}"
            log.warning("not trimmed", because=self._untrimmed)

    async def _round(self, connection: Connection, redis: Redis) -> bool:
        """Notify of some entries of each programme; return whether there were any."""
        any_new = False
        for row in await connection.fetch(_HEADS, list(self._cursors)):
            programme, head = row["programme"], row["position"]
            cursor = self._cursors[programme]
            self._distance[programme] = head - cursor
            self._heads[programme] = head, row["parked"]
            if head > cursor:
                any_new = True
                self._cursors[programme] = await self._publish(connection, redis, programme, cursor)
                self._distance[programme] = head - self._cursors[programme]
        return any_new

    async def _publish(self, connection: Connection, redis: Redis, programme: str, cursor: int) -> int:
        began = asyncio.get_running_loop().time()
        rows = await connection.fetch(_ENTRIES, programme, cursor, self._settings.notify_batch_size)
        for row in rows:
            if row["kind"] == "issued" and row["accepted"]:
                await self._close_if_exhausted(connection, redis, row)
        what = What("send", notification_stream(programme), sends=True)
        with self._tracer.batch(what, ((row["event"], _told(row)) for row in rows)):
            stands_at = await gapless.add(redis, programme, cursor, [notification(row, row["policy"]) for row in rows])
        if rows and stands_at == rows[-1]["position"]:
            log.info(
                "notified", programme=programme, entries=len(rows), positions=[rows[0]["position"], stands_at],
                seconds=round(asyncio.get_running_loop().time() - began, 4),
            )  # fmt: skip
        if stands_at > cursor:
            metrics.NOTIFICATIONS.labels(programme).inc(stands_at - cursor)
            metrics.NOTIFIED_SECONDS.observe((datetime.now(UTC) - rows[0]["recorded_at"]).total_seconds())
        return stands_at

    async def _close_if_exhausted(self, connection: Connection, redis: Redis, row: Row) -> None:
        """Make it known that a quota is used up, before the entry that did it is notified: after a crash it is done again."""
        policy = await self._policies.in_force(connection, row["programme"], row["policy"])
        if not exhausts(row, policy):
            return
        programme = row["programme"]
        key = event_key(ledger_source(programme), exhausted_event_id(row))
        if await connection.fetchval(_KNOWN, programme, key) is None:
            await redis.xadd(QUOTA_EXHAUSTED.of(programme), {FIELD: exhausted_event(row)})
            log.info("quota exhausted", programme=programme, period=row["period"], type=EXHAUSTED)

    async def look(self) -> None:
        """Set the gauges of the programmes that this process notifies for; while it cannot, there are none."""
        for gauge in (metrics.POSITION, metrics.PARKED, metrics.DISTANCE):
            gauge.clear()
        if self._trouble is not None:
            return
        for programme, (position, parked) in self._heads.items():
            metrics.POSITION.labels(programme).set(position)
            metrics.PARKED.labels(programme).set(parked)
            metrics.DISTANCE.labels(programme).set(self._distance[programme])

    def ready(self) -> Answer:
        """Say whether notifications keep up, or why not."""
        if self._trouble is not None:
            return Answer(ok=False, because=self._trouble)
        ahead = sorted(programme for programme, distance in self._distance.items() if distance < 0)
        if ahead:
            return Answer(
                ok=False, because=f"notified of more than the ledger has: {', '.join(ahead)} (restored from a backup?)"
            )
        if self._untrimmed is not None:
            return Answer(ok=False, because=self._untrimmed)
        return Answer(ok=True, because=f"{sum(self._distance.values())} entries behind")


def _told(row: Row) -> dict[str, str | int]:
    """Return what the span of a notification says: where the entry stands and what became of the event, and nobody's name."""
    told: dict[str, str | int] = {
        "messaging.message.id": f"{row['position']}-0",
        "voucher_ledger.programme": row["programme"],
        "voucher_ledger.position": row["position"],
        "voucher_ledger.outcome": "accepted" if row["accepted"] else "refused",
    }
    return told if row["code"] is None else {**told, "voucher_ledger.code": row["code"]}
