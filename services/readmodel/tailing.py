"""Keeping the read model up: it tails the ledger by position, some thousand entries at a time, in one statement each.

Its rows and its cursor move in one transaction, under a programme's advisory lock, so any number of processes may tail. What it
keeps is small: a row for each entry that bears a code (all refused ones), and of the others, sums by the hour, and in which
chunks of the ledger a provider or a kind occurs.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg
import structlog

from services.ledger.database import TRANSIENT, Connection
from services.ledger.policies import Policies
from services.ledger.read import Pool

log = structlog.get_logger()

AT_ONCE: Final = 20_000
"""Entries taken in by one statement."""
CHUNK_BITS: Final = 8
"""A chunk is 256 positions: 1 to 256, 257 to 512 …"""

_RETRY_SECONDS_FIRST: Final = 0.2

_BEHIND: Final = """
SELECT head.programme, head.position AS head, coalesce(cursor.position, 0) AS cursor
FROM head LEFT JOIN readmodel.cursor ON cursor.programme = head.programme ORDER BY head.programme"""
_LOCK: Final = "SELECT {lock}(hashtextextended('voucher-ledger/readmodel/' || $1, 0))"
_BEGIN: Final = "INSERT INTO readmodel.cursor (programme, position) VALUES ($1, 0) ON CONFLICT DO NOTHING"
_STAND: Final = """
SELECT head.position AS head, head.policy, cursor.position AS cursor
FROM head JOIN readmodel.cursor ON cursor.programme = head.programme WHERE head.programme = $1"""
_TABLES: Final = ("cursor", "coded_entry", "presence", "activity")

# Moments only grow along a ledger: where the range ends in the hour that it begins in, it is of that hour, and else the blocks say how far
# it is. Where someone took entries away there is a hole, and none perhaps: that is the verifier's to tell.
_OF_AN_HOUR: Final = """
SELECT first.hour, CASE WHEN newest.hour = first.hour THEN $3::bigint ELSE coalesce((
  SELECT max(last) FROM block
  WHERE programme = $1 AND last > $2 AND last <= $3 AND recorded_at < first.hour + interval '1 hour'), $3) END AS until
FROM (SELECT date_trunc('hour', recorded_at) AS hour FROM entry
      WHERE programme = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT 1) AS first,
     (SELECT date_trunc('hour', recorded_at) AS hour FROM entry
      WHERE programme = $1 AND position > $2 AND position <= $3 ORDER BY position DESC LIMIT 1) AS newest"""
# Grouped by no more than has to be: that is what it takes most of its time for. Where some bear a code, the range is read a second time
# for them: keeping all of its rows for that took as long.
_FOLD: Final = f"""
WITH summed AS MATERIALIZED (
  SELECT kind, coalesce(code, '') AS code, provider, (position - 1) >> {CHUNK_BITS} AS chunk,
         count(*) AS entries, coalesce(sum(amount), 0) AS amount, coalesce(sum(granted), 0) AS granted
  FROM entry WHERE programme = $1 AND position > $2 AND position <= $3 GROUP BY 1, 2, 3, 4),
coded AS (
  INSERT INTO readmodel.coded_entry (programme, position, day, code, accepted, kind, enterprise, provider, voucher_id)
  SELECT $1, position, (recorded_at AT TIME ZONE $5)::date, code, accepted, kind, enterprise, provider, voucher_id
  FROM entry WHERE programme = $1 AND position > $2 AND position <= $3 AND code IS NOT NULL
  AND EXISTS (SELECT FROM summed WHERE code <> '')),
present AS (
  INSERT INTO readmodel.presence (programme, attribute, value, chunk)
  SELECT $1, 'kind', kind, chunk FROM summed GROUP BY kind, chunk
  UNION ALL
  SELECT $1, 'provider', provider, chunk FROM summed WHERE provider IS NOT NULL GROUP BY provider, chunk
  ON CONFLICT DO NOTHING),
active AS (
  INSERT INTO readmodel.activity AS kept (programme, hour, kind, code, entries, amount, granted)
  SELECT $1, $4, kind, code, sum(entries), sum(amount), sum(granted) FROM summed GROUP BY kind, code
  ON CONFLICT (programme, hour, kind, code) DO UPDATE
  SET entries = kept.entries + excluded.entries, amount = kept.amount + excluded.amount, granted = kept.granted + excluded.granted)
UPDATE readmodel.cursor SET position = $3 WHERE programme = $1"""

Progress = Callable[[int, int], None]
"""Told how many entries of a programme were taken in, and of how many."""


class Tailer:
    """Takes new entries into the read model until it is cancelled; ``trouble`` says why it cannot, None while it can."""

    def __init__(self, pool: Pool, *, poll_seconds: float, retry_seconds_max: float) -> None:
        self._pool = pool
        self._poll_seconds = poll_seconds
        self._retry_seconds_max = retry_seconds_max
        self._policies = Policies({})
        self.trouble: str | None = None

    async def run(self) -> None:
        """Tail; while the database is away or refuses us, wait and begin again."""
        pause = _RETRY_SECONDS_FIRST
        while True:
            try:
                more = await self.round()
            except (asyncpg.PostgresError, *TRANSIENT) as error:
                self.trouble = f"{type(error).__name__}: {error}"
                log.warning("read model waits", because=self.trouble, seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._retry_seconds_max)
            else:
                self.trouble, pause = None, _RETRY_SECONDS_FIRST
                await asyncio.sleep(0 if more else self._poll_seconds)

    async def round(self) -> bool:
        """Take in some new entries of each programme; return whether there are more. Raises what asyncpg raises."""
        more = False
        async with self._pool.acquire() as connection:
            for row in await connection.fetch(_BEHIND):
                if row["head"] != row["cursor"]:
                    taken = await fold(connection, self._policies, row["programme"])
                    more = more or 0 < taken < row["head"] - row["cursor"]
        return more


async def behind(connection: Connection) -> dict[str, int]:
    """Return how many entries of each programme the read model has not taken in yet."""
    return {row["programme"]: row["head"] - row["cursor"] for row in await connection.fetch(_BEHIND)}


async def fold(connection: Connection, policies: Policies, programme: str) -> int:
    """Take in the programme's next entries, of one hour and AT_ONCE at the most; return how many. 0 too when another is at it."""
    async with connection.transaction():
        if not await connection.fetchval(_LOCK.format(lock="pg_try_advisory_xact_lock"), programme):
            return 0
        await connection.execute(_BEGIN, programme)
        stand = await connection.fetchrow(_STAND, programme)
        if stand is None:
            return 0
        if stand["cursor"] > stand["head"]:
            # Of another ledger: one that was restored from a backup without this schema, say.
            log.warning("read model is ahead of its ledger: computed again", programme=programme)
            await _empty(connection, programme)
            return 0
        until = min(stand["head"], stand["cursor"] + AT_ONCE)
        if until > stand["cursor"]:
            policy = await policies.in_force(connection, programme, stand["policy"])
            found = await connection.fetchrow(_OF_AN_HOUR, programme, stand["cursor"], until)
            hour, until = found or (None, until)
            await connection.execute(_FOLD, programme, stand["cursor"], until, hour, policy.period.time_zone)
        return int(until - stand["cursor"])


async def rebuild(pool: Pool, programme: str, progress: Progress = lambda *_: None) -> int:
    """Empty the read model of a programme and compute it again from its entries; return how many those are."""
    policies = Policies({})
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute(_LOCK.format(lock="pg_advisory_xact_lock"), programme)
            await _empty(connection, programme)
        while left := (await behind(connection)).get(programme, 0):
            before = await _stand(connection, programme)
            if not await fold(connection, policies, programme):
                await asyncio.sleep(_RETRY_SECONDS_FIRST)  # a process that tails is at it too
            done = await _stand(connection, programme)
            progress(done, before + left)
        return await _stand(connection, programme)


async def _stand(connection: Connection, programme: str) -> int:
    return await connection.fetchval("SELECT position FROM readmodel.cursor WHERE programme = $1", programme) or 0


async def _empty(connection: Connection, programme: str) -> None:
    for table in _TABLES:
        await connection.execute(f"DELETE FROM readmodel.{table} WHERE programme = $1", programme)
