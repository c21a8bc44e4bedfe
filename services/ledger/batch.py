"""One batch being decided: events in, rows, leaves and outcomes out. Pure; the transaction around it is ``append``'s."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from schemas.codes import Code, DeadLetterReason
from schemas.decoding import decode
from schemas.policy import Policy
from services.ledger import chain
from services.ledger.book import Book
from services.ledger.decide import decide
from services.ledger.entry import Decision, Inbound, Parked
from services.ledger.room import Room
from services.ledger.trust import DoubtError, is_doubtful


class Decided(Struct, frozen=True, gc=False):
    """The event is an entry now, accepted or refused; the redemptions that it ``released`` from waiting are the entries after it."""

    position: int
    decision: Decision
    released: "tuple[Decided, ...]" = ()


class Duplicate(Struct, frozen=True, gc=False):
    """The same event was taken in before: nothing new."""


class Waiting(Struct, frozen=True, gc=False):
    """A redemption whose voucher is not known yet: it was parked, and will be decided."""


class Rejected(Struct, frozen=True, gc=False):
    """The event can be no entry of this ledger: a dead letter, with its reason."""

    reason: DeadLetterReason
    detail: str


class Block(NamedTuple):
    """A block as its table has it."""

    programme: str
    first: int
    last: int
    recorded_at: datetime
    policy: bytes
    issued: str
    root: bytes
    previous: bytes
    hash: bytes


Outcome = Decided | Duplicate | Waiting | Rejected


@dataclass(slots=True)
class Batch:
    """The batch so far. ``known`` has the bytes of the events taken in before, ``waiting`` the redemptions parked before.

    ``room`` is what there is for more of them: one that finds none is ``crowded_out``, and refused as if its wait were over.
    ``looked_back`` says that whatever the ledger has of these events is in ``known`` and in the book; where it is not, what
    would depend on it raises DoubtError.
    """

    programme: str
    policy: Policy
    book: Book
    recorded_at: datetime
    known: dict[bytes, bytes]
    waiting: dict[str, list[Inbound]]
    looked_back: bool = True
    rows: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    parked: dict[bytes, Inbound] = field(default_factory=dict)
    unparked: list[bytes] = field(default_factory=list)
    payables: dict[str, int] = field(default_factory=dict)
    """Of the providers that redeemed in this batch, what they are owed after it, in fen."""
    room: Room = field(default_factory=Room)
    crowded_out: int = 0
    first: int = 0
    doubtful: bool = False
    kind: str = ""
    """The kind of the first entry, and nearly always of all."""
    unusual: defaultdict[tuple[str, Code | None], int] = field(default_factory=lambda: defaultdict(int))
    """The entries that have a code or are of another kind, by both."""
    duplicates: int = 0
    seconds: float = 0.0
    """What the decisions took so far."""
    _programme_bytes: bytes = b""
    _recorded_bytes: bytes = b""

    def __post_init__(self) -> None:
        self.first = self.book.position + 1
        self._programme_bytes = chain.encoded_programme(self.programme)
        self._recorded_bytes = chain.encoded_moment(self.recorded_at)

    def take(self, inbound: Inbound) -> Outcome:
        """Decide one event, and then the redemptions that waited for the voucher it issued."""
        before = self.known.get(inbound.key) if self.known else None
        if before is not None:
            self.doubtful = True
            if before == inbound.raw or same_event(before, inbound):
                self.duplicates += 1
                return Duplicate()
            detail = f"source {inbound.event.source} used id {inbound.event.id!r} before, for another event"
            return Rejected(DeadLetterReason.ID_REUSED_WITH_OTHER_CONTENT, detail)
        if self.looked_back:  # else the index says so when it comes twice
            self.known[inbound.key] = inbound.raw
        decision = decide(self.book, self.policy, inbound, self.recorded_at)
        if isinstance(decision, Parked):
            self._doubt()
            if self.room.take(decision.provider):
                self.parked[inbound.key] = inbound
                self.waiting.setdefault(decision.voucher_id, []).append(inbound)
                return Waiting()
            self.crowded_out += 1
            decision = self._decide_now(inbound)
        position = self._append(inbound, decision)
        if decision.accepted and decision.kind == "issued" and decision.voucher_id in self.waiting:
            return Decided(position, decision, tuple(map(self.end_wait, self.waiting.pop(decision.voucher_id))))
        return Decided(position, decision)

    def end_wait(self, redemption: Inbound) -> Decided:
        """Decide a redemption that was parked: its voucher has come, or its wait is over."""
        decision = self._decide_now(redemption)
        if self.parked.pop(redemption.key, None) is None:
            self.unparked.append(redemption.key)
        if decision.provider is not None:
            self.room.give_back(decision.provider)
        return Decided(self._append(redemption, decision), decision)

    def _decide_now(self, redemption: Inbound) -> Decision:
        decision = decide(self.book, self.policy, redemption, self.recorded_at, waited=True)
        if isinstance(decision, Parked):
            raise AssertionError("a redemption whose wait is over is decided")  # noqa: TRY004  not a caller's mistake
        return decision

    def _doubt(self) -> None:
        """Take in that what the ledger has of an event matters for it. Raises DoubtError when that was not looked up."""
        self.doubtful = True
        if not self.looked_back:
            raise DoubtError

    def _append(self, inbound: Inbound, decision: Decision) -> int:
        if not decision.accepted and is_doubtful(decision):
            self._doubt()
        book = self.book
        position = book.position + 1
        encoded = chain.encode(
            self._programme_bytes, position, self._recorded_bytes, inbound.key, decision, inbound.raw
        )  # fmt: skip
        leaf = chain.leaf_of(encoded)
        if decision.code is not None or decision.kind != self.kind:
            self._count(decision)
        self.leaves.append(leaf)
        self.rows.append(chain.copy_row(encoded, leaf))
        if decision.accepted:
            book.apply(decision, self.policy, inbound)
            if decision.payable is not None and decision.provider is not None:
                self.payables[decision.provider] = decision.payable
        book.position = position
        return position

    def _count(self, decision: Decision) -> None:
        self.kind = self.kind or decision.kind
        if decision.code is not None or decision.kind != self.kind:
            self.unusual[decision.kind, decision.code] += 1

    def counted(self) -> dict[tuple[str, Code | None], int]:
        """Return how many entries there are so far, by kind and code."""
        usual = len(self.leaves) - sum(self.unusual.values())
        return {(self.kind, None): usual, **self.unusual} if usual else dict(self.unusual)

    def block(self, previous: bytes) -> Block:
        """Return the block of the entries so far, one or more; ``previous`` is the hash before it."""
        last, policy, issued = self.book.position, self.policy.digest, issued_text(self.book.issued_by_period)
        root = chain.merkle_root(self.leaves)
        found = chain.block_hash(
            programme=self.programme, first=self.first, last=last, recorded_at=self.recorded_at,
            policy=policy, issued=issued, root=root, previous=previous,
        )  # fmt: skip
        self.book.hash = found
        return Block(self.programme, self.first, last, self.recorded_at, policy, issued, root, previous, found)


def issued_text(issued_by_period: Mapping[str, int]) -> str:
    """Return issued figures (fen by period) as JSON with sorted keys."""
    return json.dumps(issued_by_period, sort_keys=True, separators=(",", ":"))


def same_event(before: bytes, inbound: Inbound) -> bool:
    """Whether the bytes say the same event in all that the ledger reads of it: spacing, order and extras aside."""
    return decode(before) == inbound.event


def by_voucher(redemptions: Iterable[Inbound]) -> dict[str, list[Inbound]]:
    """Return redemptions in their order, by the voucher they wait for."""
    waiting: dict[str, list[Inbound]] = {}
    for redemption in redemptions:
        waiting.setdefault(str(redemption.event.data.voucher_id), []).append(redemption)  # type: ignore[union-attr]  # only redemptions wait
    return waiting
