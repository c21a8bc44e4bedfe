"""What goes into the ledger and what comes out of a decision; how an event, a contract and a redemption are told apart.

Nothing here decides or stores anything.
"""

import hashlib
from datetime import date
from functools import lru_cache
from typing import Final

from msgspec import Struct

from schemas.codes import Code
from schemas.events import EXHAUSTED, ISSUED, REDEEMED, Event, QuotaExhausted, VoucherIssued, VoucherRedeemed

KEY_BYTES: Final = 16
_PLACE_BYTES: Final = 6
_UUID_LENGTH: Final = 36
_DIGITS: Final = "0123456789"
_COUNTED_DIGITS: Final = 9

KINDS: Final = {ISSUED: "issued", REDEEMED: "redeemed", EXHAUSTED: "exhausted"}
"""An entry's kind by the type of its event."""

_sha256 = hashlib.sha256
# Begun once and copied: that takes half the time of beginning anew.
_CONTRACT: Final = _sha256(b"contract\0")
_REDEMPTION: Final = _sha256(b"redemption\0")
_EVENT: Final = _sha256(b"event\0")

TYPES: Final = {kind: type_ for type_, kind in KINDS.items()}
"""The type of its event by an entry's kind."""


# Small, and made once an event: of Structs, which are made several times as fast as dataclasses, and that the garbage collector
# need not know, since none can be part of a cycle.
class Inbound(Struct, frozen=True, gc=False):
    """An event that was read, with the bytes it came in, and the two keys that make it one of a kind."""

    event: Event
    raw: bytes
    key: bytes
    claim: bytes | None


class Decision(Struct, gc=False):
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


class Parked(Struct, frozen=True, gc=False):
    """A redemption whose voucher is not known yet: it waits beside the ledger."""

    voucher_id: str
    provider: str


def event_key(source: str, event_id: str) -> bytes:
    """Return the 16 bytes that stand for an event's (source, id) in the index that keeps it from counting twice."""
    return _key(_EVENT, source, event_id)


def contract_claim(provider: str, number: str) -> bytes:
    """Return the key of a contract: its number is unique for a provider in a programme."""
    return _key(_CONTRACT, provider, number)


def redemption_claim(provider: str, redemption_id: str) -> bytes:
    """Return the key of a redemption: its number is unique for a provider in a programme."""
    return _key(_REDEMPTION, provider, redemption_id)


def _key(begun: "hashlib._Hash", owner: str, name: str) -> bytes:
    """Return 16 bytes for a name that its owner gave: a digest, with the name's place in time or in a count before it.

    What is new then goes to the end of the index, or of its owner's part of it, which stays in cache.
    """
    state = begun.copy()
    state.update(f"{owner}\0{name}".encode())
    return (_place(owner, name) + state.digest())[:KEY_BYTES]


def _place(owner: str, name: str) -> bytes:
    """Return 6 bytes: the time of a UUIDv7; else what stands before the last digits (2) and what they count (4). Nothing without."""
    if len(name) == _UUID_LENGTH and name[14] == "7":
        try:
            time = bytes.fromhex(name[0:8] + name[9:13])
        except ValueError:
            time = b""
        if len(time) == _PLACE_BYTES:
            return time
    before = name.rstrip(_DIGITS)
    if len(before) == len(name):
        return b""
    return _series(owner, before) + int(name[len(before) :][-_COUNTED_DIGITS:]).to_bytes(4, "big")


@lru_cache(maxsize=4_096)
def _series(owner: str, before: str) -> bytes:
    return _sha256(f"{owner}\0{before}".encode()).digest()[:2]


def inbound(event: Event, raw: bytes) -> Inbound:
    """Return the event with its keys, ready for the ledger."""
    claim: bytes | None
    match event:
        case VoucherRedeemed(data=data):
            claim = redemption_claim(data.provider, data.redemption_id)
        case VoucherIssued(data=data):
            claim = contract_claim(data.contract.provider, data.contract.number)
        case QuotaExhausted():
            claim = None
    return Inbound(event, raw, event_key(event.source, event.id), claim)
