"""What all three consumers share: from a batch of raw entries to the ledger, and what becomes of each entry.

An entry that cannot be read, comes from the wrong producer, or is of no known programme is a dead letter, and its neighbours do
not notice. While the database or the broker is away the batch is held. An error that is neither is a mistake of ours: the batch is
tried one by one, and the culprit alone is set aside. Only after all of it may the batch be acknowledged. A stream is held too when there is
no room for another dead letter, or when nearly all of it would be one (see ``limits``).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, NamedTuple, TypeVar

import structlog
from msgspec import Struct
from redis.asyncio import Redis

from schemas.codes import DeadLetterReason
from schemas.decoding import UndecodableError
from services import metrics
from services.broker import InboundStream
from services.consumers.deadletters import DeadLetter, keep
from services.consumers.holding import PAUSE_SECONDS_FIRST, Health, Holding
from services.consumers.limits import Lately, Limits
from services.consumers.reading import original_bytes, read_entry
from services.consumers.tally import Tally, by_reason
from services.failures import told
from services.ledger.append import Ledger
from services.ledger.batch import Outcome, Rejected
from services.ledger.entry import KINDS, Inbound, inbound
from services.tracing import Tracer, Untraced, What

log = structlog.get_logger()
Result = TypeVar("Result")

READ_AT_ONCE: Final = 20
"""Entries that are read before the others on the loop get their turn."""
UNDECIDABLE_MAX: Final = 10
"""More than this of a stream's last entries, and it is held: a broken release must not empty the queue into the dead letters."""


class RawEntry(Struct, frozen=True, gc=False):
    """An entry as the stream has it."""

    id: bytes
    fields: dict[bytes, bytes]


class _Programme(NamedTuple):
    """Of a batch, what is of one programme: the entries' ids, and beside them their events."""

    ids: list[bytes]
    events: list[Inbound]


@dataclass(slots=True)
class _Sorted:
    """A batch by what is to become of its entries, and what did.

    ``mistakes`` counts those that a mistake of ours kept from being decided.
    """

    lately: Lately
    programmes: dict[str, _Programme] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    mistakes: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def mistakes_lately(self) -> int:
        """How many of the stream's last entries, and of these, were our mistakes."""
        return self.lately.mistakes + self.mistakes


@dataclass(slots=True)
class Intake:
    """The way of a batch into the ledger."""

    ledger: Ledger
    redis: Redis
    retry_seconds_max: float
    limits: Limits = field(default_factory=Limits)
    health: Health = field(default_factory=Health)
    tracer: Tracer = field(default_factory=Untraced)
    _holding: Holding = field(init=False)
    _lately: dict[str, Lately] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._holding = Holding(self.health, self.retry_seconds_max)

    async def take(self, stream: InboundStream, entries: Sequence[RawEntry]) -> None:
        """See every entry to its fate. When this returns, the batch may be acknowledged.

        Holds for as long as the database or the broker is away, or a limit on the dead letters says so. Raises CancelledError
        when the service is stopped meanwhile.
        """
        events = ((original_bytes(entry.fields), {"messaging.message.id": entry.id.decode()}) for entry in entries)
        with self.tracer.batch(What("process", stream.key), events):
            await self._take(stream, entries)

    async def _take(self, stream: InboundStream, entries: Sequence[RawEntry]) -> None:
        lately = self._lately.get(stream.key)
        if lately is None:
            lately = self._lately[stream.key] = Lately(self.limits.dead_letter_share_of)
        found, began = _Sorted(lately), asyncio.get_running_loop().time()
        seconds = 0.0
        for first in range(0, len(entries), READ_AT_ONCE):
            # Reading is all Python: the batch before this one, on its way through the database, must not wait for it.
            await asyncio.sleep(0)
            begun = perf_counter()
            self._read(stream, entries[first : first + READ_AT_ONCE], found)
            seconds += perf_counter() - begun
        metrics.observe_read(KINDS[stream.type], len(entries), seconds)
        letters, tally = found.letters, found.tally
        # Programmes share nothing: none of them waits for another.
        for rejected in await asyncio.gather(
            *(self._append(code, batch, found) for code, batch in found.programmes.items())
        ):
            letters.extend(rejected)
        lately.take(len(entries), len(letters), found.mistakes)
        self.health.undecidable += found.mistakes
        if letters:
            with self.health.in_hand():
                await self._until_not_nearly_all(stream, lately)
                await self._holding.until_done(lambda: keep(self.redis, stream.key, letters, self.limits.room(lately)))
            self._tell(stream, letters)
        self.health.entries += len(entries)
        log.info(
            "decided", stream=stream.key, programmes=sorted(found.programmes), entries=len(entries), accepted=tally.accepted,
            refused=tally.refused, duplicates=tally.duplicates, parked=tally.parked, dead_letters=by_reason(letters),
            positions=tally.positions, seconds=round(asyncio.get_running_loop().time() - began, 4),
        )  # fmt: skip

    def _read(self, stream: InboundStream, entries: Sequence[RawEntry], found: _Sorted) -> None:
        """Sort the entries. Raises what is a mistake of ours, once there are too many of them in the batch."""
        serves, bytes_max = self.ledger.serves, self.limits.entry_bytes_max
        for entry in entries:
            entry_id, fields = entry.id, entry.fields
            try:
                event, raw = read_entry(stream, fields, serves, bytes_max)
                item = inbound(event, raw)
            except UndecodableError as error:
                found.letters.append(DeadLetter(entry_id, original_bytes(fields), error.reason, error.detail))
            except Exception as error:
                # A mistake of ours: set aside alone too, but as many as of a broken release leave the batch pending.
                log.exception("unreadable", stream=stream.key, entry_id=entry_id.decode())
                found.mistakes += 1
                if found.mistakes_lately > UNDECIDABLE_MAX:
                    raise
                found.letters.append(_undecidable(entry_id, original_bytes(fields), error))
            else:
                code = event.data.programme
                batch = found.programmes.get(code)
                if batch is None:
                    batch = found.programmes[code] = _Programme([], [])
                batch.ids.append(entry_id)
                batch.events.append(item)

    async def _append(self, programme: str, batch: _Programme, found: _Sorted) -> list[DeadLetter]:
        with self.health.in_hand():
            return await self._append_in_hand(programme, batch, found)

    async def _append_in_hand(self, programme: str, batch: _Programme, found: _Sorted) -> list[DeadLetter]:
        pause = PAUSE_SECONDS_FIRST
        while True:
            try:
                outcomes = await self._holding.until_done(lambda: self.ledger.append(programme, batch.events))
            except Exception:
                # What is left is a mistake of ours. It must not take its neighbours along.
                log.exception("batch failed, trying one by one", programme=programme, events=len(batch.events))
            else:
                found.tally.add(programme, outcomes)
                if Rejected not in set(map(type, outcomes)):
                    return []
                return [
                    _rejected(entry_id, event, outcome)
                    for entry_id, event, outcome in zip(*batch, outcomes, strict=True)
                    if isinstance(outcome, Rejected)
                ]
            letters = await self._one_by_one(programme, batch, found)
            if letters is not None:
                return letters
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.retry_seconds_max)

    async def _one_by_one(self, programme: str, batch: _Programme, found: _Sorted) -> list[DeadLetter] | None:
        """Append each event on its own, and return the letters; None when so many fail that it cannot be the events."""
        letters: list[DeadLetter] = []
        outcomes: list[Outcome] = []
        undecidable = 0
        for entry_id, event in zip(*batch, strict=True):
            try:
                (outcome,) = await self._holding.until_done(lambda one=event: self.ledger.append(programme, [one]))  # type: ignore[misc]  # a default binds it now
            except Exception as error:
                log.exception("undecidable", programme=programme, entry_id=entry_id.decode())
                undecidable += 1
                letters.append(_undecidable(entry_id, event.raw, error))
                if found.mistakes_lately + undecidable > UNDECIDABLE_MAX:
                    count = found.mistakes_lately + undecidable
                    because = f"{count} of a stream's last events are undecidable, this one by {told(error)}"
                    self.health.hold(f"{because}: is this release broken?")
                    found.tally.add(programme, outcomes)
                    return None
            else:
                outcomes.append(outcome)
                letters += [_rejected(entry_id, event, outcome)] if isinstance(outcome, Rejected) else []
        found.mistakes += undecidable
        found.tally.add(programme, outcomes)
        return letters

    async def _until_not_nearly_all(self, stream: InboundStream, lately: Lately) -> None:
        """Hold the stream while nearly all that it brought lately would be dead letters. What could be decided is decided."""
        pause = PAUSE_SECONDS_FIRST
        while (because := self.limits.because_of_share(stream.key, lately)) is not None:
            self.health.hold(because)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.retry_seconds_max)

    def _tell(self, stream: InboundStream, letters: Sequence[DeadLetter]) -> None:
        self.health.dead_letters += len(letters)
        metrics.observe_dead_letters(KINDS[stream.type], [letter.reason for letter in letters])
        log.warning("dead letters", stream=stream.key, count=len(letters), reasons=by_reason(letters))


def _undecidable(entry_id: bytes, raw: bytes, error: Exception) -> DeadLetter:
    return DeadLetter(entry_id, raw, DeadLetterReason.UNDECIDABLE, f"{type(error).__name__}: {error}")


def _rejected(entry_id: bytes, event: Inbound, outcome: Rejected) -> DeadLetter:
    return DeadLetter(entry_id, event.raw, outcome.reason, outcome.detail)
