"""The verdict on a stream: whether it keeps up, catches up, falls behind, or is stuck, and why. Pure: numbers in, a judgement out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PROMPT_SECONDS: Final = 2.0
"""What waits no longer than this is on its way."""
STILL_SECONDS: Final = 2.0
"""Where something waits and nothing was done for this long, something is wrong."""
READ_MARGIN_SECONDS: Final = 1.5
"""How much later than the longest that a read waits a consumer may ask again."""
_GAIN_MIN: Final = 0.01
"""A backlog that shrinks by less than this share of what leaves it is not said to end."""


class State(StrEnum):
    """What there is to say of a stream, the best first."""

    IDLE = "idle"
    KEEPING_UP = "keeping_up"
    CATCHING_UP = "catching_up"
    FALLING_BEHIND = "falling_behind"
    UNREAD = "unread"
    STUCK = "stuck"


class Why(StrEnum):
    """Why a stream is stuck, or unread."""

    NO_GROUP = "no_group"
    NO_READER = "no_reader"
    READERS_SILENT = "readers_silent"
    HELD = "held"
    UNACKNOWLEDGED = "unacknowledged"
    NOT_TAKEN = "not_taken"
    NOTIFIER_STILL = "notifier_still"
    NOTIFIER_AHEAD = "notifier_ahead"


@dataclass(frozen=True, slots=True)
class Standing:
    """A stream at a moment. Ages in seconds, None where there is nothing of that age; rates per second, None while unknown."""

    waiting: int | None
    pending: int
    oldest_waiting: float | None
    oldest_pending: float | None
    deliveries: int
    has_group: bool
    last_read: float | None
    rate_in: float | None
    rate_out: float | None
    still: float
    """For how long nothing was done, as far as was seen."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, and what tells it. ``seconds`` is until empty (catching up), or how long it has been so (stuck, unread)."""

    state: State
    why: Why | None = None
    seconds: float | None = None
    growth: float | None = None
    """Entries a second that come more than go; None while unknown."""
    times: int | None = None
    """How often the oldest of what is held was handed out."""

    @property
    def is_trouble(self) -> bool:
        """Whether someone has to do something."""
        return self.state in {State.STUCK, State.UNREAD}


def judge(standing: Standing, read_within_seconds: float) -> Verdict:
    """Judge an inbound stream. ``read_within_seconds`` is how often a consumer that is alive asks at the least."""
    oldest = max(standing.oldest_waiting or 0.0, standing.oldest_pending or 0.0)
    there = bool(standing.waiting or standing.pending or standing.oldest_waiting is not None)
    silent = _silence(standing, read_within_seconds)
    if not there:
        return silent or Verdict(State.KEEPING_UP if standing.rate_in else State.IDLE)
    if min(standing.still, oldest) >= STILL_SECONDS:
        if silent is not None:
            return Verdict(State.STUCK, silent.why, silent.seconds)
        return _stuck(standing)
    if oldest < PROMPT_SECONDS:
        return Verdict(State.KEEPING_UP)
    return _moving(standing)


def judge_notifications(
    distance: int, oldest: float | None, still: float, rates: tuple[float | None, float | None]
) -> Verdict:
    """Judge a programme's notifications: ``distance`` entries of its ledger are not told yet, the oldest since ``oldest`` seconds."""
    if distance < 0:
        return Verdict(State.STUCK, Why.NOTIFIER_AHEAD)
    if distance == 0 or oldest is None or oldest < PROMPT_SECONDS:
        return Verdict(State.KEEPING_UP if rates[0] else State.IDLE)
    if min(still, oldest) >= STILL_SECONDS:
        return Verdict(State.STUCK, Why.NOTIFIER_STILL, oldest)
    return _pace(distance, *rates)


def _silence(standing: Standing, read_within_seconds: float) -> Verdict | None:
    if not standing.has_group:
        return Verdict(State.UNREAD, Why.NO_GROUP, standing.oldest_waiting)
    if standing.last_read is None:
        return Verdict(State.UNREAD, Why.NO_READER, standing.oldest_waiting)
    if min(standing.last_read - read_within_seconds, standing.still) > READ_MARGIN_SECONDS:
        return Verdict(State.UNREAD, Why.READERS_SILENT, standing.last_read)
    return None


def _stuck(standing: Standing) -> Verdict:
    if not standing.pending:
        return Verdict(State.STUCK, Why.NOT_TAKEN, standing.oldest_waiting)
    if standing.deliveries > 1:
        return Verdict(State.STUCK, Why.HELD, standing.oldest_pending, times=standing.deliveries)
    return Verdict(State.STUCK, Why.UNACKNOWLEDGED, standing.oldest_pending)


def _moving(standing: Standing) -> Verdict:
    there = None if standing.waiting is None else standing.waiting + standing.pending
    return _pace(there, standing.rate_in, standing.rate_out)


def _pace(there: int | None, rate_in: float | None, rate_out: float | None) -> Verdict:
    if rate_in is None or rate_out is None or there is None:
        return Verdict(State.FALLING_BEHIND)
    gain = rate_out - rate_in
    if gain > _GAIN_MIN * rate_out:
        return Verdict(State.CATCHING_UP, seconds=there / gain)
    return Verdict(State.FALLING_BEHIND, growth=-gain)
