"""Recomputing a programme's entries, one after another from its first, from their events alone. Pure: rows in, leaves out.

Nothing that an entry says besides its event is trusted: the decision, every figure, both keys and the leaf are worked out
anew, by the same ``decide`` and the same encoding, and have to be what is stored, to the bit.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import asyncpg

from schemas.decoding import UndecodableError, decode
from schemas.policy import Policy
from services.ledger import chain
from services.ledger.book import Book, Voucher
from services.ledger.decide import decide
from services.ledger.entry import TYPES, Decision, Inbound, Parked, inbound

# Moments and days as the bytes that they are hashed as: no value that a row can hold fails to be read.
SELECTED: Final = ", ".join(
    {"recorded_at": "timestamptz_send(recorded_at)", "valid_until": "date_send(valid_until)"}.get(column, column)
    for column in chain.COLUMNS
)
"""The columns of an entry as ``Recomputation.check`` takes them: those of ``chain.COLUMNS``, moments and days in bytes."""

_EVENT: Final = chain.COLUMNS.index("event")
_KIND: Final = chain.COLUMNS.index("kind")
_EPOCH: Final = datetime.fromisoformat("2000-01-01T00:00:00Z")
_EPOCH_DAY: Final = _EPOCH.date().toordinal()
_LENGTH_BYTES: Final = 4
_SHOWN_MAX: Final = 80

Row = Sequence[object] | asyncpg.Record


class RecomputeError(ValueError):
    """An entry is not what its event, the rules and the entries before it make of it; the message says what differs."""


class WholeBook(Book):
    """A book kept from the first entry on: what it has never heard of does not exist, or is zero."""

    def voucher(self, voucher_id: str) -> Voucher | None:
        """Return the voucher, None if none was issued by this id."""
        return self.vouchers.get(voucher_id)

    def quota_used(self, enterprise: str, period: str) -> int:
        """Return what was issued to the enterprise in the period, in fen."""
        return self.quotas.get((enterprise, period), 0)

    def payable(self, provider: str) -> int:
        """Return what the provider redeemed in all, in fen."""
        return self.payables.get(provider, 0)


class Recomputation:
    """A programme's figures, kept from its first entry on, and the block that is being recomputed."""

    def __init__(self, programme: str) -> None:
        self.programme = programme
        self.book = WholeBook()
        self._keys: set[bytes] = set()
        self._programme_bytes = chain.encoded_programme(programme)

    def begin_block(self, policy: Policy, recorded_at: datetime) -> None:
        """Say by which policy and at which moment the next entries were decided."""
        self._policy = policy
        self._recorded_at = recorded_at
        self._recorded_bytes = chain.encoded_moment(recorded_at)

    def check(self, row: Row) -> bytes:
        """Recompute the next entry; return its leaf. ``row`` has the columns of SELECTED.

        Raises RecomputeError when anything in the row differs.
        """
        event = self._event(row)
        decision = decide(self.book, self._policy, event, self._recorded_at, waited=True)
        if isinstance(decision, Parked):
            raise AssertionError("a redemption whose wait is over is decided")  # noqa: TRY004  not a caller's mistake
        position = self.book.position + 1
        encoded = chain.encode(
            self._programme_bytes, position, self._recorded_bytes, event.key, decision, event.raw
        )  # fmt: skip
        leaf = chain.leaf_of(encoded)
        expected = self._columns(position, event, decision, leaf)
        if tuple(row) != expected:
            raise RecomputeError(_difference(row, expected))
        if event.key in self._keys:
            raise RecomputeError("its event was taken in before: the event key occurs twice")
        self._keys.add(event.key)
        if decision.accepted:
            self.book.apply(decision, self._policy, event)
        self.book.position = position
        return leaf

    def _event(self, row: Row) -> Inbound:
        kind, raw = row[_KIND], row[_EVENT]
        if not isinstance(raw, bytes) or not isinstance(kind, str) or kind not in TYPES:
            raise RecomputeError(f"kind is {_shown(kind)}, which is no kind of entry")
        try:
            event = decode(raw, TYPES[kind])
        except UndecodableError as error:
            raise RecomputeError(f"its event cannot be read as one of the kind {kind!r}: {error}") from None
        if event.data.programme != self.programme:
            raise RecomputeError(f"its event is of the programme {event.data.programme!r}")
        return inbound(event, raw)

    def _columns(self, position: int, event: Inbound, decision: Decision, leaf: bytes) -> tuple[object, ...]:
        return (
            self.programme, position, self._recorded_bytes[_LENGTH_BYTES:], decision.kind, decision.accepted, decision.code,
            event.key, decision.claim, decision.voucher_id, decision.enterprise, decision.provider, decision.period,
            decision.amount, decision.granted, _day_bytes(decision.valid_until), decision.voucher_remaining,
            decision.quota_used, decision.quota_limit, decision.budget_remaining, decision.payable, event.raw, leaf,
        )  # fmt: skip


def moment_of(sent: bytes | None) -> datetime | None:
    """Return the moment in the bytes of ``timestamptz_send``, None where no calendar has it (infinity, the year 20000)."""
    if sent is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int.from_bytes(sent, "big", signed=True))
    except OverflowError:
        return None


def _day_bytes(day: date | None) -> bytes | None:
    return None if day is None else (day.toordinal() - _EPOCH_DAY).to_bytes(4, "big", signed=True)


def _difference(row: Row, expected: Sequence[object]) -> str:
    # The leaf covers all other columns, so it comes last: what it covers says more.
    column, stored, recomputed = next(
        difference for difference in zip(chain.COLUMNS, row, expected, strict=True) if difference[1] != difference[2]
    )
    return f"{column} is {_shown(stored)}, recomputed it is {_shown(recomputed)}"


def _shown(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else "absent" if value is None else str(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
