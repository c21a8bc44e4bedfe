"""What goes into the ledger and what comes out of a decision; how an event, a contract and a redemption are told apart.

Nothing here decides or stores anything.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from schemas.codes import Code
from schemas.events import EXHAUSTED, ISSUED, REDEEMED, Event, QuotaExhausted, VoucherIssued, VoucherRedeemed

KEY_BYTES: Final = 16
_TIME_BYTES: Final = 6
_UUID_LENGTH: Final = 36

KINDS: Final = {ISSUED: "issued", REDEEMED: "redeemed", EXHAUSTED: "exhausted"}
"""An entry's kind by the type of its event."""

_sha256 = hashlib.sha256
# Begun once and copied: that takes half the time of beginning anew.
_CONTRACT: Final = _sha256(b"contract\0")
_REDEMPTION: Final = _sha256(b"redemption\0")
_NOTHING: Final = _sha256()

TYPES: Final = {kind: type_ for type_, kind in KINDS.items()}
"""The type of its event by an entry's kind."""


class Inbound(NamedTuple):
    """An event that was read, with the bytes it came in, and the two keys that make it one of a kind."""

    event: Event
    raw: bytes
    key: bytes
    claim: bytes | None


@dataclass(slots=True)
class Decision:
    """What an entry says besides its place, its time and its event: the outcome and the running figures after it, in fen."""

    kind: str
    period: str
    claim: bytes | None = None
    voucher_id: str | None = None
    enterprise: str | None = None
    provider: str | None = None
    amount: int | None = None
    granted: int | None = None
    valid_until: date | None = None
    voucher_remaining: int | None = None
    quota_used: int | None = None
    quota_limit: int | None = None
    budget_remaining: int | None = None
    payable: int | None = None
    accepted: bool = True
    code: Code | None = None


class Parked(NamedTuple):
    """A redemption whose voucher is not known yet: it waits beside the ledger."""

    voucher_id: str


def _digest(begun: "hashlib._Hash", text: str) -> bytes:
    state = begun.copy()
    state.update(text.encode())
    return state.digest()


def event_key(source: str, event_id: str) -> bytes:
    """Return the 16 bytes that stand for an event's (source, id) in the index that keeps it from counting twice.

    Of a time-ordered id (UUIDv7) the time goes first, so that new events go to the end of the index, which stays in cache.
    """
    digest = _digest(_NOTHING, f"{source}\0{event_id}")
    if len(event_id) == _UUID_LENGTH and event_id[14] == "7":
        try:
            time = bytes.fromhex(event_id[0:8] + event_id[9:13])
        except ValueError:
            time = b""
        if len(time) == _TIME_BYTES:
            return time + digest[: KEY_BYTES - _TIME_BYTES]
    # No UUID, or what only looks like one: an id like any other.
    return digest[:KEY_BYTES]


def contract_claim(provider: str, number: str) -> bytes:
    """Return the key of a contract: its number is unique for a provider in a programme."""
    return _digest(_CONTRACT, f"{provider}\0{number}")[:KEY_BYTES]


def redemption_claim(provider: str, redemption_id: str) -> bytes:
    """Return the key of a redemption: its number is unique for a provider in a programme."""
    return _digest(_REDEMPTION, f"{provider}\0{redemption_id}")[:KEY_BYTES]


def inbound(event: Event, raw: bytes) -> Inbound:
    """Return the event with its keys, ready for the ledger."""
    claim: bytes | None
    match event:
        case VoucherIssued(data=data):
            claim = contract_claim(data.contract.provider, data.contract.number)
        case VoucherRedeemed(data=data):
            claim = redemption_claim(data.provider, data.redemption_id)
        case QuotaExhausted():
            claim = None
    return Inbound(event, raw, event_key(event.source, event.id), claim)
