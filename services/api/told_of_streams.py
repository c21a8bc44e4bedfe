"""The forms of the answers about streams: queues, dead letters, events that were posted; and health."""

from typing import Literal

from schemas.codes import DeadLetterReason
from services.api.told import Answer


class Reader(Answer):
    """A consumer of a stream: how long ago it last asked for entries, and how many it holds."""

    name: str
    last_read_seconds: float
    pending: int


class Queue(Answer):
    """A stream: what is on it, what waits, what is pending and since when, who reads. What it has not is null."""

    stream: str
    length: int
    lag: int | None
    pending: int | None
    oldest_pending_seconds: float | None
    consumers: int | None
    dead_letters: int
    last_read_seconds: float | None
    oldest_pending_deliveries: int | None
    oldest_waiting_seconds: float | None
    entered: int
    last_id: str
    acknowledged: int | None
    readers: list[Reader]


class Queues(Answer):
    """A row for each stream."""

    streams: list[Queue]


class DeadLetter(Answer):
    """What could not be decided, with its original bytes."""

    id: str
    event: str
    stream: str
    entry_id: str
    reason: str
    detail: str
    failed_at: str


class DeadLetters(Answer):
    """A page of dead letters, the oldest first; `next` is the id to go on after."""

    dead_letters: list[DeadLetter]
    next: str | None


class Posted(Answer):
    """What became of one event: on its stream to be decided, or malformed, with the reason that a dead letter of it would have."""

    id: str | None = None
    status: Literal["accepted", "malformed"]
    stream: str | None = None
    entry_id: str | None = None
    reason: DeadLetterReason | None = None
    detail: str | None = None


class PostedEvents(Answer):
    """What became of each event, in their order. `durable`: the broker had all on its disk; null where it cannot say so."""

    events: list[Posted]
    accepted: int
    malformed: int
    durable: bool | None


class Check(Answer):
    """One of the things that have to be well."""

    what: str
    ok: bool
    because: str


class Health(Answer):
    """Whether all is well, and if not, why; `checks` when asked with `verbose`."""

    ok: bool
    because: str
    checks: list[Check] | None = None
