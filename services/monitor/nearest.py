"""Which enterprises are nearest their cap, of every programme: read once, some quotas at a time, and kept up from what is issued.

What was used of a quota never becomes less, so the fullest are known from the fullest so far and the issues since: what is kept does
not grow with the ledger, and no question goes through it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from schemas.policy import Policy
from services.ledger import queries
from services.ledger.database import TRANSIENT
from services.readmodel import entries, finding
from services.readmodel.finding import Range

log = structlog.get_logger()

KEPT: Final = 20
"""So many of each programme are shown."""
_AT_ONCE: Final = 200
_REST_SECONDS: Final = 0.05
"""Between two pages of quotas: reading a large ledger for the first time leaves the database to others."""
_LOOK_EVERY_SECONDS: Final = 2.0

_HEADS: Final = "SELECT programme FROM head WHERE programme = ANY($1::text[])"
_ISSUES: Final = """
SELECT enterprise, period, quota_used FROM entry WHERE programme = $1 AND position = ANY($2::bigint[]) ORDER BY position"""


@dataclass(slots=True)
class _Programme:
    """As of a position: the fullest quotas, by enterprise and period. ``after`` is the quota that was read last, None when all were."""

    position: int | None = None
    after: tuple[str, str] | None = ("", "")
    read: int = 0
    fullest: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, name: tuple[str, str], used: int) -> None:
        self.fullest[name] = max(used, self.fullest.get(name, 0))
        if len(self.fullest) > KEPT:
            del self.fullest[min(self.fullest, key=lambda each: (self.fullest[each], each))]


class Nearest:
    """The enterprises nearest their cap, as far as they were read."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", policies: Mapping[str, Policy]) -> None:
        self._pool = pool
        self._kept = {code: _Programme() for code, policy in policies.items() if policy.cap is not None}

    async def run(self) -> None:
        """Read until cancelled; while the database is away, wait."""
        while True:
            try:
                more = await self.round()
            except (*TRANSIENT, asyncpg.PostgresError) as error:
                log.warning("the quotas are not read", because=type(error).__name__)
                more = False
            await asyncio.sleep(_REST_SECONDS if more else _LOOK_EVERY_SECONDS)

    async def round(self) -> bool:
        """Read a page of each programme's quotas, or of its new issues; return whether there is more."""
        more = False
        for row in await self._pool.fetch(_HEADS, list(self._kept)):
            programme = row["programme"]
            kept = self._kept[programme]
            more |= await (
                self._read_issues(programme, kept) if kept.after is None else self._read_quotas(programme, kept)
            )
        return more

    def fullest(self, programme: str) -> list[tuple[str, str, int]]:
        """Return (enterprise, period, fen used) of the fullest quotas, the fullest first."""
        kept = self._kept.get(programme, _Programme())
        return sorted(((*name, used) for name, used in kept.fullest.items()), key=lambda one: (-one[2], one[0], one[1]))

    def reading(self, programme: str) -> int | None:
        """Return how many quotas were read so far, None when all were."""
        kept = self._kept.get(programme)
        return None if kept is None or kept.after is None else kept.read

    async def _read_quotas(self, programme: str, kept: _Programme) -> bool:
        if kept.position is None:
            # What is issued while the pages are read is read again after them.
            async with self._pool.acquire() as connection:
                kept.position, _ = await entries.stand(connection, programme)
        rows = await self._pool.fetch(queries.QUOTAS_AFTER, programme, *(kept.after or ("", "")), _AT_ONCE)
        for row in rows:
            kept.take((row["enterprise"], row["period"]), row["quota_used"])
        kept.read += len(rows)
        kept.after = (rows[-1]["enterprise"], rows[-1]["period"]) if len(rows) == _AT_ONCE else None
        return True

    async def _read_issues(self, programme: str, kept: _Programme) -> bool:
        async with self._pool.acquire() as connection:
            _, cursor = await entries.stand(connection, programme)
            seen = kept.position or 0
            if seen >= cursor:
                return False
            within = Range(seen, cursor, _AT_ONCE)
            found = await finding.present(connection, programme, "kind", "issued", within, "AND accepted")
            for row in await connection.fetch(_ISSUES, programme, found.positions):
                kept.take((row["enterprise"], row["period"]), row["quota_used"])
        kept.position = found.until
        return found.until < cursor
