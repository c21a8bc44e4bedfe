"""A programme's ledger without a database: a book in which everything is loaded, one batch after another, and the rows it wrote."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

from events_made import Wire, as_inbound

from schemas.policy import Policy
from services.ledger import chain
from services.ledger.batch import Batch, Decided, Outcome
from services.ledger.entry import Decision
from services.ledger.recompute import WholeBook

RECORDED_AT = datetime(2024, 5, 6, 2, 0, 0, tzinfo=UTC)

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_WHOLE = {
    "position", "amount", "granted", "voucher_remaining", "quota_used", "quota_limit", "budget_remaining", "payable",
}  # fmt: skip
_RAW = {"key", "claim", "event", "leaf"}


class LedgerInMemory:
    """Takes events in their order; ``rows`` is all that was written, as read back from the bytes of each row."""

    def __init__(self, policy: Policy, recorded_at: datetime = RECORDED_AT) -> None:
        self.policy = policy
        self.book = WholeBook()
        self.batch = Batch(policy.code, policy, self.book, recorded_at, known={}, waiting={})
        self._rows: list[dict[str, Any]] = []
        self._in_earlier_batches = 0

    @property
    def rows(self) -> list[dict[str, Any]]:
        self._rows += [columns_of(row) for row in self.batch.rows[len(self._rows) - self._in_earlier_batches :]]
        return self._rows

    def take(self, event: Wire) -> Outcome:
        return self.batch.take(as_inbound(event))

    def decide(self, event: Wire) -> Decision:
        """Take an event that has to become an entry, and return what was decided."""
        outcome = self.take(event)
        assert isinstance(outcome, Decided), outcome
        return outcome.decision

    def accept(self, *events: Wire) -> None:
        """Take events that have to stand."""
        for event in events:
            decision = self.decide(event)
            assert decision.accepted, decision

    def end_wait(self, event: Wire) -> dict[str, Any]:
        """End the wait of a parked redemption, as ``expire_parked`` does; return its row."""
        redemption = as_inbound(event)
        waiting = self.batch.waiting[redemption.event.data.voucher_id]
        waiting.remove(redemption)
        self.batch.end_wait(redemption)
        return self.rows[-1]

    def next_batch(self, recorded_at: datetime) -> None:
        """Commit, and begin the next batch with what it would load."""
        self._in_earlier_batches = len(self.rows)
        self.batch = Batch(
            self.policy.code, self.policy, self.book, recorded_at, known=self.batch.known, waiting=self.batch.waiting
        )


def columns_of(row: bytes) -> dict[str, Any]:
    """Read a row of PostgreSQL's binary COPY format by the columns that an entry has."""
    assert int.from_bytes(row[:2], "big") == len(chain.COLUMNS)
    columns: dict[str, Any] = {}
    place = 2
    for name in chain.COLUMNS:
        length = int.from_bytes(row[place : place + 4], "big", signed=True)
        place += 4
        columns[name] = None if length == -1 else _value(name, row[place : place + length])
        place += max(length, 0)
    assert place == len(row)
    return columns


def _value(name: str, data: bytes) -> Any:
    if name in _RAW:
        return data
    if name in _WHOLE:
        assert len(data) == 8
        return int.from_bytes(data, "big", signed=True)
    match name:
        case "recorded_at":
            assert len(data) == 8
            return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))
        case "valid_until":
            assert len(data) == 4
            return date.fromordinal(_EPOCH.toordinal() + int.from_bytes(data, "big", signed=True))
        case "accepted":
            return {b"\x00": False, b"\x01": True}[data]
        case _:
            return data.decode()


def origin_of(row: dict[str, Any]) -> tuple[str, str]:
    """Return the source and the id of the event that a row keeps."""
    event = json.loads(row["event"])
    return event["source"], event["id"]
