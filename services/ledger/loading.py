"""Bringing a book up to date for a batch: what was appended since its position, and what the batch asks for that it lacks.

All of it is read under the lock on the programme's head, so that what was read is what is decided by. A query a kind of figure,
whatever the size of the batch.
"""

import json
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Final, TypeVar

from pydantic_core import from_json

from schemas.events import QuotaExhausted, VoucherIssued, VoucherRedeemed
from schemas.policy import Policy
from services.ledger import chain
from services.ledger.book import Book, Voucher
from services.ledger.database import Connection
from services.ledger.entry import Decision, Inbound
from services.ledger.measures import Lookup

Name = TypeVar("Name")

CATCH_UP_MAX: Final = 20_000
"""A book further behind than this is begun anew, which is cheaper than reading what it missed."""

_ISSUED = "SELECT issued FROM block WHERE programme = $1 AND last = $2"
_BLOCKS = """
SELECT (SELECT hash FROM block WHERE programme = $1 AND last = $2) AS hash, issued FROM block WHERE programme = $1 AND last = $3"""
_CLOSURES = "SELECT enterprise, period FROM entry WHERE programme = $1 AND kind = 'exhausted' AND accepted"
_SINCE = """
SELECT kind, voucher_id, enterprise, provider, period, granted, voucher_remaining, quota_used, payable
FROM entry WHERE programme = $1 AND position > $2 AND position <= $3 AND accepted ORDER BY position"""
# LATERAL and LIMIT 1: one look into one index for each row that is asked for, whatever the planner knows of the table. A range of
# one name, and not =, where the newest is wanted: with = only the position would be left to order by, and the primary key might
# be gone through backwards until the name comes. A voucher's uses are found by its hash, and made sure of in a form that the planner
# does not weigh: it would expect so few of them that all might be fetched and sorted, where one voucher may have any number.
_KNOWN = """
SELECT wanted.key, known.event FROM unnest($2::bytea[]) AS wanted (key)
CROSS JOIN LATERAL (SELECT event FROM entry WHERE key = wanted.key AND programme = $1 LIMIT 1) AS known"""
_CLAIMS = """
SELECT wanted.claim FROM unnest($2::bytea[]) AS wanted (claim)
CROSS JOIN LATERAL (SELECT 1 FROM entry WHERE claim = wanted.claim AND programme = $1 LIMIT 1) AS known"""
_VOUCHERS = """
SELECT wanted.voucher_id, issue.event, issue.enterprise, issue.provider, issue.valid_until,
       coalesce(use.voucher_remaining, issue.granted) AS remaining
FROM unnest($2::text[]) AS wanted (voucher_id)
CROSS JOIN LATERAL (
  SELECT event, enterprise, provider, valid_until, granted FROM entry
  WHERE programme = $1 AND voucher_id = wanted.voucher_id AND kind = 'issued' AND accepted
  LIMIT 1) AS issue
LEFT JOIN LATERAL (
  SELECT voucher_remaining FROM entry
  WHERE programme = $1 AND coalesce(voucher_id = wanted.voucher_id, false) AND kind = 'redeemed' AND accepted
    AND hashtextextended(voucher_id, 0) BETWEEN hashtextextended(wanted.voucher_id, 0) AND hashtextextended(wanted.voucher_id, 0)
  ORDER BY hashtextextended(voucher_id, 0) DESC, position DESC LIMIT 1) AS use ON true"""
_QUOTAS = """
SELECT wanted.enterprise, wanted.period, newest.quota_used
FROM unnest($2::text[], $3::text[]) AS wanted (enterprise, period)
CROSS JOIN LATERAL (
  SELECT quota_used FROM entry
  WHERE programme = $1 AND enterprise BETWEEN wanted.enterprise AND wanted.enterprise
    AND period BETWEEN wanted.period AND wanted.period AND kind = 'issued' AND accepted
  ORDER BY enterprise DESC, period DESC, position DESC LIMIT 1) AS newest"""
_PAYABLES = """
SELECT wanted.provider, newest.payable
FROM unnest($2::text[]) AS wanted (provider)
CROSS JOIN LATERAL (
  SELECT payable FROM payable
  WHERE programme = $1 AND provider BETWEEN wanted.provider AND wanted.provider
  ORDER BY provider DESC, last DESC LIMIT 1) AS newest"""


async def begin(connection: Connection, programme: str, position: int, head_hash: bytes) -> Book:
    """Return a new book of the programme as of a position that ends a block (0 before the first)."""
    book = Book(position=position, hash=head_hash)
    if position:
        issued = await connection.fetchval(_ISSUED, programme, position)
        book.issued_by_period.update(json.loads(issued))
        book.closures.update((row["enterprise"], row["period"]) for row in await connection.fetch(_CLOSURES, programme))
    return book


async def catch_up(
    connection: Connection, programme: str, book: Book, position: int, head_hash: bytes, policy: Policy
) -> bool:
    """Take in what others appended after the book's position; return False when the book is not one of this ledger.

    It is not when the commit of what it was last written for failed: it is ahead then, or beside what others wrote instead.
    """
    if book.position == position:
        return book.hash == head_hash
    if not 0 < position - book.position <= CATCH_UP_MAX:
        return False
    row = await connection.fetchrow(_BLOCKS, programme, book.position, position)
    if row is None or (row["hash"] or chain.GENESIS) != book.hash:
        return False
    for entry in await connection.fetch(_SINCE, programme, book.position, position):
        decision = Decision(
            kind=entry["kind"], period=entry["period"], voucher_id=entry["voucher_id"], enterprise=entry["enterprise"],
            provider=entry["provider"], granted=entry["granted"], voucher_remaining=entry["voucher_remaining"],
            quota_used=entry["quota_used"], payable=entry["payable"],
        )  # fmt: skip
        book.apply(decision, policy)
    # As the block says it: entries that another policy decided may count in another period of the budget than in this one's.
    book.issued_by_period = json.loads(row["issued"])
    book.position, book.hash = position, head_hash
    return True


async def known_events(connection: Connection, programme: str, events: Sequence[Inbound]) -> dict[bytes, bytes]:
    """Return, of the events that the ledger has or that wait beside it, the bytes they came in, by key."""
    rows = await connection.fetch(_KNOWN, programme, [event.key for event in events])
    return {row["key"]: row["event"] for row in rows}


@dataclass(slots=True)
class Wanted:
    """What some events ask the book for: gathered before the lock is held, for it takes a while."""

    claims: list[bytes] = field(default_factory=list)
    vouchers: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    issues: list[VoucherIssued] = field(default_factory=list)
    quotas: set[tuple[str, str]] = field(default_factory=set)
    lookups: list[Lookup] = field(default_factory=list)
    """What came of asking; filled by ``load``."""

    def add(self, events: Sequence[Inbound], *, look_back: bool) -> None:
        """Add what some more events ask for.

        With ``look_back`` also what they would be the first to use: contracts, redemption numbers, the numbers of new vouchers.
        """
        if look_back:
            self.claims.extend(inbound.claim for inbound in events if inbound.claim is not None)
        redemptions = [inbound.event.data for inbound in events if isinstance(inbound.event, VoucherRedeemed)]
        self.vouchers.update([redemption.voucher_id for redemption in redemptions])
        self.providers.update([redemption.provider for redemption in redemptions])
        if len(redemptions) == len(events):
            return
        for inbound in events:
            event = inbound.event
            if isinstance(event, VoucherIssued):
                self.issues.append(event)
                if look_back:
                    self.vouchers.add(event.data.voucher_id)
            elif isinstance(event, QuotaExhausted) and event.data.enterprise is not None:
                self.quotas.add((event.data.enterprise, event.data.period))


async def load(
    connection: Connection, programme: str, book: Book, wanted: Wanted, period_of: Callable[[VoucherIssued], str]
) -> None:
    """Bring in what is wanted and not there; ``period_of`` names the cap's period of an issue."""
    quotas = wanted.quotas | {(issue.data.enterprise.uscc, period_of(issue)) for issue in wanted.issues}
    if wanted.claims:
        book.claims.update(row["claim"] for row in await connection.fetch(_CLAIMS, programme, wanted.claims))
    vouchers = _missing(wanted.vouchers, book.vouchers)
    missing_quotas = _missing(quotas, book.quotas)
    providers = _missing(wanted.providers, book.payables)
    wanted.lookups += (
        Lookup("voucher", len(wanted.vouchers), len(vouchers)),
        Lookup("quota", len(quotas), len(missing_quotas)),
        Lookup("payable", len(wanted.providers), len(providers)),
    )
    await _load_vouchers(connection, programme, book, vouchers)
    await _load_quotas(connection, programme, book, missing_quotas)
    await _load_payables(connection, programme, book, providers)


def _missing(wanted: Iterable[Name], held: Container[Name]) -> set[Name]:
    # Not `wanted - held.keys()`, which goes through all that is held.
    return {name for name in wanted if name not in held}


async def _load_vouchers(connection: Connection, programme: str, book: Book, wanted: set[str]) -> None:
    if not wanted:
        return
    book.vouchers.update(dict.fromkeys(wanted))
    for row in await connection.fetch(_VOUCHERS, programme, list(wanted)):
        # The event was read in full before it became an entry: what is asked of it now is one word.
        book.vouchers[row["voucher_id"]] = Voucher(
            kind=from_json(row["event"])["data"]["kind"], enterprise=intern(row["enterprise"]), provider=intern(row["provider"]),
            valid_until=row["valid_until"], remaining=row["remaining"],
        )  # fmt: skip


async def _load_quotas(connection: Connection, programme: str, book: Book, wanted: set[tuple[str, str]]) -> None:
    if not wanted:
        return
    book.quotas.update(dict.fromkeys(wanted, 0))
    enterprises, periods = zip(*wanted, strict=True)
    for row in await connection.fetch(_QUOTAS, programme, list(enterprises), list(periods)):
        book.quotas[row["enterprise"], row["period"]] = row["quota_used"]


async def _load_payables(connection: Connection, programme: str, book: Book, wanted: set[str]) -> None:
    if not wanted:
        return
    book.payables.update(dict.fromkeys(wanted, 0))
    for row in await connection.fetch(_PAYABLES, programme, list(wanted)):
        book.payables[row["provider"]] = row["payable"]
