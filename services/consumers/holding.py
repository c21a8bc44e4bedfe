"""Holding: while the database or the broker is away, or refuses us, what is in hand waits; and readiness says since when and why."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import stamina
import structlog
from redis.exceptions import RedisError

from services.broker import AWAY
from services.consumers.deadletters import DeadLettersFullError
from services.failures import told
from services.ledger.database import is_of_the_database

log = structlog.get_logger()
Result = TypeVar("Result")

PAUSE_SECONDS_FIRST: Final = 0.1


@dataclass(slots=True)
class Health:
    """What readiness tells of a consumer."""

    holding: dict[object, tuple[float, str]] = field(default_factory=dict)
    """Since when and why what is in hand is held, by the task that has it."""
    troubles: dict[str, str] = field(default_factory=dict)
    """What is done beside reading, and last failed: why."""
    undecidable: int = 0
    dead_letters: int = 0
    entries: int = 0

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """Forget at the end of the context that what this task has in hand was held."""
        try:
            yield
        finally:
            self.holding.pop(asyncio.current_task(), None)

    def hold(self, because: str) -> None:
        """Note, and tell, why what this task has in hand is held."""
        task = asyncio.current_task()
        since, _ = self.holding.get(task, (asyncio.get_running_loop().time(), ""))
        self.holding[task] = since, because
        log.warning("held", because=because)

    def held(self, seconds: float) -> str | None:
        """Return why a batch is held for longer than this, None when none is."""
        now = asyncio.get_running_loop().time()
        return next((because for since, because in self.holding.values() if now - since > seconds), None)

    def held_seconds(self) -> float:
        """Return for how long the batch that is held longest has been, 0 when none is."""
        now = asyncio.get_running_loop().time()
        return max((now - since for since, _ in self.holding.values()), default=0.0)


class Holding(NamedTuple):
    """How something is held: each try that fails is told to ``health``; pauses grow up to ``retry_seconds_max``."""

    health: Health
    retry_seconds_max: float

    async def until_done(self, act: Callable[[], Awaitable[Result]]) -> Result:
        """Do it, however long the database or the broker is away or refuses us, or has no room for a dead letter.

        Raises what is none of these: it would fail each time.
        """
        try:
            return await self._try(act)
        except Exception as error:
            if not _passes(error):
                raise
        await asyncio.sleep(PAUSE_SECONDS_FIRST)
        # Only now: the retries' own objects are in cycles with what they return, and a collection of many of them takes long.
        retries = stamina.retry_context(
            on=_passes, attempts=None, timeout=None,
            wait_initial=PAUSE_SECONDS_FIRST, wait_max=self.retry_seconds_max, wait_jitter=PAUSE_SECONDS_FIRST,
        )  # fmt: skip
        async for attempt in retries:
            with attempt:
                return await self._try(act)
        raise AssertionError("the retries do not end by themselves")

    async def _try(self, act: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await act()
        except Exception as error:
            if _passes(error):
                self.health.hold(told(error))
            raise


def _passes(error: Exception) -> bool:
    """Whether it is a failure of the database's or the broker's, and not one of the events in hand."""
    return is_of_the_database(error) or isinstance(error, (RedisError, DeadLettersFullError, *AWAY))
