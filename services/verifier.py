"""The verifier: verifies every ledger of the database again and again, and lets the metrics and its readiness say what it found.

It does what ``voucher-ledger verify`` does. It takes a core while it is at it, and holds nobody up: it reads from a snapshot.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

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

_SECONDS_AN_HOUR: Final = 3600
_LOOKS_EVERY_SECONDS: Final = 60
"""How often it looks for a ledger that was opened while it rests, at the least."""


class Verifier:
    """Verifications, one ledger after another, each with a rest after it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wrong: dict[str, Verification] = {}
        self._due: dict[str, float] = {}
        """When each ledger that was verified is to be verified again (monotonic)."""
        self._trouble: str | None = None

    async def run(self) -> None:
        """Verify until cancelled; while the database is away, wait and begin again."""
        while True:
            try:
                new = await self._verify_due()
            except (*TRANSIENT, asyncpg.PostgresError) as error:
                self._trouble = f"{type(error).__name__}: {error}"
                log.warning("verifier waits", because=self._trouble)
                await asyncio.sleep(self._settings.retry_seconds_max)
            else:
                self._trouble = None
                # Ledgers are opened one after another, by consumers that may start after this.
                await asyncio.sleep(self._rest() if self._due and not new else self._settings.retry_seconds_max)

    def _rest(self) -> float:
        return max(min(min(self._due.values()) - time.monotonic(), _LOOKS_EVERY_SECONDS), 0)

    async def _verify_due(self) -> bool:
        """Verify the ledgers that are due, or new; return whether one is new."""
        pool = await connect(self._settings.require_database_url(), connections_max=1)
        try:
            programmes = await read.programmes(pool)
            new = set(programmes) - self._due.keys()
            self._due = {programme: self._due.get(programme, 0.0) for programme in programmes}
            for programme in programmes:
                if self._due[programme] > time.monotonic():
                    continue
                began_at = datetime.now(UTC)
                found = await verify(pool, programme)
                self._take_in(found)
                await self._note(pool, found, began_at)
                self._due[programme] = time.monotonic() + self._settings.verify_every_hours * _SECONDS_AN_HOUR
            return bool(new)
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
