"""What all three consumers share: from a batch of raw entries to the ledger, and what becomes of each entry.

An entry that cannot be read, comes from the wrong producer, or is of no known programme is a dead letter, and its neighbours do
not notice. While the database or the broker is away the batch is held. An error that is neither is a mistake of ours: the batch is
tried one by one, and the culprit alone is set aside. Only after all of it may the batch be acknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import stamina
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError
from services.broker import AWAY, InboundStream
from services.consumers.deadletters import DeadLetter, keep
from services.consumers.reading import original_bytes, read_entry
from services.ledger.append import Ledger
from services.ledger.batch import Outcome, Rejected
from services.ledger.database import is_of_the_database
from services.ledger.entry import Inbound, inbound

log = structlog.get_logger()
Result = TypeVar("Result")

PAUSE_SECONDS_FIRST: Final = 0.1
READ_AT_ONCE: Final = 50
"""Entries that are read before the others on the loop get their turn."""
UNDECIDABLE_IN_A_BATCH_MAX: Final = 10
"""More than this, and the batch is held: a broken release must not empty the queue into the dead letters."""


class RawEntry(NamedTuple):
    """An entry as the stream has it."""

    id: bytes
    fields: dict[bytes, bytes]


class _Item(NamedTuple):
    entry_id: bytes
    inbound: Inbound


@dataclass(slots=True)
class Health:
    """What readiness tells of a consumer."""

    holding: dict[object, tuple[float, str]] = field(default_factory=dict)
    """Since when and why each batch in hand is held, by the task that has it."""
    troubles: dict[str, str] = field(default_factory=dict)
    """What is done beside reading, and last failed: why."""
    undecidable: int = 0
    dead_letters: int = 0
    entries: int = 0

    def held(self, seconds: float) -> str | None:
        """Return why a batch is held for longer than this, None when none is."""
        now = asyncio.get_running_loop().time()
        return next((because for since, because in self.holding.values() if now - since > seconds), None)


@dataclass(slots=True)
class Intake:
    """The way of a batch into the ledger."""

    ledger: Ledger
    redis: Redis
    retry_seconds_max: float
    health: Health = field(default_factory=Health)

    async def take(self, stream: InboundStream, entries: Sequence[RawEntry]) -> None:
        """See every entry to its fate. When this returns, the batch may be acknowledged.

        Holds for as long as the database or the broker is away. Raises CancelledError when the service is stopped meanwhile.
        """
        try:
            await self._take(stream, entries)
        finally:
            self.health.holding.pop(asyncio.current_task(), None)

    async def _take(self, stream: InboundStream, entries: Sequence[RawEntry]) -> None:
        letters: list[DeadLetter] = []
        items: dict[str, list[_Item]] = {}
        unreadable = 0
        for number, entry in enumerate(entries):
            if number % READ_AT_ONCE == 0:
                # Reading is all Python: the batch before this one, on its way through the database, must not wait for it.
                await asyncio.sleep(0)
            try:
                event, raw = read_entry(stream, entry.fields, self.ledger.serves)
            except UndecodableError as error:
                letters.append(DeadLetter(entry.id, original_bytes(entry.fields), error.reason, error.detail))
            except Exception as error:
                # A mistake of ours: set aside alone too, but as many as of a broken release leave the batch pending.
                log.exception("unreadable", stream=stream.key, entry_id=entry.id.decode())
                unreadable += 1
                if unreadable > UNDECIDABLE_IN_A_BATCH_MAX:
                    raise
                letters.append(_undecidable(entry.id, original_bytes(entry.fields), error))
            else:
                items.setdefault(event.data.programme, []).append(_Item(entry.id, inbound(event, raw)))
        for programme, batch in items.items():
            letters.extend(await self._append(programme, batch))
        if letters:
            await self._hold(lambda: keep(self.redis, stream.key, letters))
            self._tell(stream, letters)
        self.health.undecidable += unreadable
        self.health.entries += len(entries)

    async def _append(self, programme: str, items: Sequence[_Item]) -> list[DeadLetter]:
        events = [item.inbound for item in items]
        pause = PAUSE_SECONDS_FIRST
        while True:
            try:
                outcomes = await self._hold(lambda: self.ledger.append(programme, events))
            except Exception:
                # What is left is a mistake of ours. It must not take its neighbours along.
                log.exception("batch failed, trying one by one", programme=programme, events=len(items))
            else:
                return [
                    _letter(item, found)
                    for item, found in zip(items, outcomes, strict=True)
                    if isinstance(found, Rejected)
                ]
            letters = await self._one_by_one(programme, items)
            if letters is not None:
                return letters
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.retry_seconds_max)

    async def _one_by_one(self, programme: str, items: Sequence[_Item]) -> list[DeadLetter] | None:
        """Append each event on its own, and return the letters; None when so many fail that it cannot be the events."""
        letters: list[DeadLetter] = []
        undecidable = 0
        for item in items:
            try:
                (outcome,) = await self._hold(lambda one=item: self.ledger.append(programme, [one.inbound]))  # type: ignore[misc]  # a default binds it now
            except Exception as error:
                log.exception("undecidable", programme=programme, entry_id=item.entry_id.decode())
                undecidable += 1
                letters.append(_undecidable(item.entry_id, item.inbound.raw, error))
                if undecidable > UNDECIDABLE_IN_A_BATCH_MAX:
                    last = letters[-1].detail
                    self._held(
                        f"{undecidable} events of a batch are undecidable, the last by {last}: is this release broken?"
                    )
                    return None
            else:
                letters += [_letter(item, outcome)] if isinstance(outcome, Rejected) else []
        self.health.undecidable += undecidable
        return letters

    async def _hold(self, act: Callable[[], Awaitable[Result]]) -> Result:
        """Do it, however long the database or the broker is away or refuses us."""
        retries = stamina.retry_context(
            on=_is_not_the_events, attempts=None, timeout=None,
            wait_initial=PAUSE_SECONDS_FIRST, wait_max=self.retry_seconds_max, wait_jitter=PAUSE_SECONDS_FIRST,
        )  # fmt: skip
        async for attempt in retries:
            with attempt:
                try:
                    return await act()
                except Exception as error:
                    if _is_not_the_events(error):
                        self._held(f"{type(error).__name__}: {error}")
                    raise
        raise AssertionError("the retries do not end by themselves")

    def _held(self, because: str) -> None:
        task = asyncio.current_task()
        since, _ = self.health.holding.get(task, (asyncio.get_running_loop().time(), ""))
        self.health.holding[task] = since, because
        log.warning("held", because=because)

    def _tell(self, stream: InboundStream, letters: Sequence[DeadLetter]) -> None:
        self.health.dead_letters += len(letters)
        reasons = sorted({str(letter.reason) for letter in letters})
        log.warning("dead letters", stream=stream.key, count=len(letters), reasons=reasons)


def _is_not_the_events(error: Exception) -> bool:
    return is_of_the_database(error) or isinstance(error, (RedisError, *AWAY))


def _undecidable(entry_id: bytes, raw: bytes, error: Exception) -> DeadLetter:
    return DeadLetter(entry_id, raw, DeadLetterReason.UNDECIDABLE, f"{type(error).__name__}: {error}")


def _letter(item: _Item, outcome: Outcome) -> DeadLetter:
    if not isinstance(outcome, Rejected):
        raise AssertionError("only what was rejected is a dead letter")  # noqa: TRY004  not a caller's mistake
    return DeadLetter(item.entry_id, item.inbound.raw, outcome.reason, outcome.detail)
