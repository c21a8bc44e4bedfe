"""The verifier: verifies every ledger of the database again and again, and lets the metrics and its readiness say what it found.

It does what ``voucher-ledger verify`` does. It takes a core while it is at it, and holds nobody up: it reads from a snapshot.
"""

import asyncio
import time
from datetime import UTC, datetime

import asyncpg
import structlog

from services import metrics
from services.health import Answer
from services.ledger import read
from services.ledger.database import TRANSIENT, connect
from services.ledger.verifications import keep
from services.ledger.verify import Verification, verify
from services.settings import Settings

log = structlog.get_logger()

_SECONDS_AN_HOUR = 3600


class Verifier:
    """Verifications, one ledger after another, with a rest after the last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wrong: dict[str, Verification] = {}
        self._trouble: str | None = None

    async def run(self) -> None:
        """Verify until cancelled; while the database is away, wait and begin again."""
        while True:
            try:
                found = await self._verify_all()
            except (*TRANSIENT, asyncpg.PostgresError) as error:
                self._trouble = f"{type(error).__name__}: {error}"
                log.warning("verifier waits", because=self._trouble)
                await asyncio.sleep(self._settings.retry_seconds_max)
            else:
                self._trouble = None
                # Ledgers are opened by the consumers, which may start after this.
                hours = self._settings.verify_every_hours
                await asyncio.sleep(hours * _SECONDS_AN_HOUR if found else self._settings.retry_seconds_max)

    async def _verify_all(self) -> int:
        """Verify every ledger there is; return how many there are."""
        pool = await connect(self._settings.require_database_url(), connections_max=1)
        try:
            programmes = await read.programmes(pool)
            for programme in programmes:
                began_at = datetime.now(UTC)
                found = await verify(pool, programme)
                self._take_in(found)
                await self._note(pool, found, began_at)
            return len(programmes)
        finally:
            pool.terminate()

    async def _note(self, pool: read.Pool, found: Verification, began_at: datetime) -> None:
        """Note down what it came to, for the monitor; what was found is found, also where that cannot be."""
        try:
            await keep(pool, found, began_at)
        except asyncpg.PostgresError as error:
            log.warning("not noted down that it was verified", programme=found.programme, because=type(error).__name__)

    def _take_in(self, found: Verification) -> None:
        programme = found.programme
        metrics.VERIFIED.labels(programme).set(found.ok)
        metrics.VERIFIED_POSITION.labels(programme).set(found.entries)
        metrics.VERIFIED_AT.labels(programme).set(time.time())
        if found.ok:
            self._wrong.pop(programme, None)
            log.info("verified", programme=programme, entries=found.entries)
        else:
            self._wrong[programme] = found
            log.error("wrong", programme=programme, position=found.first_bad_position)

    def ready(self) -> Answer:
        """Say whether all that was verified is right, or what is wrong where."""
        for found in self._wrong.values():
            because = f"{found.programme}: wrong at position {found.first_bad_position}: {found.reason}"
            return Answer(ok=False, because=because)
        if self._trouble is not None:
            return Answer(ok=False, because=self._trouble)
        return Answer(ok=True, because="verifying")
