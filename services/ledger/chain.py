"""The evidence: how an entry becomes bytes, a leaf, and with its batch a block of a hash chain.

An entry's bytes are its columns in the order of COLUMNS, each with its length before it (4 bytes, big-endian, -1 for what is
absent): whole numbers as 8 bytes (days as 4), moments as microseconds and days as days since 2000-01-01, text in UTF-8. That is
also how PostgreSQL takes a row in its binary COPY format, so a row is put into bytes once, to be hashed and to be stored.

leaf = SHA-256(0x00 | VERSION | bytes); a block's root is the Merkle root of its leaves (RFC 6962: nodes are SHA-256(0x01 | left |
right)); block hash = SHA-256(VERSION | the block's fields, length-prefixed, with the hash of the block before it).
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from struct import Struct
from typing import Final

from services.ledger.entry import Decision

VERSION: Final = b"voucher-ledger/entry/1\n"
BLOCK_VERSION: Final = b"voucher-ledger/block/1\n"
GENESIS: Final = bytes(32)
"""What stands for the block before a programme's first."""

COLUMNS: Final = (
    "programme", "position", "recorded_at", "kind", "accepted", "code", "key", "claim", "voucher_id", "enterprise", "provider",
    "period", "amount", "granted", "valid_until", "voucher_remaining", "quota_used", "quota_limit", "budget_remaining",
    "payable", "event", "leaf",
)  # fmt: skip
"""The columns of an entry in the order of their bytes; the leaf, which is over all others, is the last."""

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.date().toordinal()
_ABSENT: Final = b"\xff\xff\xff\xff"
_ROW_START: Final = len(COLUMNS).to_bytes(2, "big")
_LEAF_LENGTH: Final = (32).to_bytes(4, "big")
# Begun once and copied: that takes half the time of beginning anew.
_LEAF: Final = hashlib.sha256(b"\x00" + VERSION)
_NODE: Final = hashlib.sha256(b"\x01")

_length = Struct(">i").pack
_number = Struct(">iq").pack
_day = Struct(">ii").pack
_redeemed = Struct(">iqiiiqiiiiq").pack
"""The figures of a redemption that stands, from the amount to the payable, in one go: those of an issue are absent."""
_flag: Final = {True: b"\x00\x00\x00\x01\x01", False: b"\x00\x00\x00\x01\x00"}


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 2000-01-01 UTC, without a float on the way."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _text(value: str | None) -> bytes:
    if value is None:
        return _ABSENT
    data = value.encode()
    return _length(len(data)) + data


@lru_cache(maxsize=65_536)
def _name(value: str | None) -> bytes:
    """Return a text that comes again and again."""
    return _text(value)


def _bytes(value: bytes | None) -> bytes:
    return _ABSENT if value is None else _length(len(value)) + value


def _whole(value: int | None) -> bytes:
    return _ABSENT if value is None else _number(8, value)


def _date(value: date | None) -> bytes:
    return _ABSENT if value is None else _day(4, value.toordinal() - _EPOCH_DAY)


def encode(programme: bytes, position: int, recorded_at: bytes, key: bytes, decision: Decision, event: bytes) -> bytes:
    """Return an entry's bytes, all columns but the leaf; ``programme`` and ``recorded_at`` come encoded, once a batch."""
    voucher_id = decision.voucher_id
    named = b"" if voucher_id is None else voucher_id.encode()
    return b"".join((
        programme,
        _number(8, position),
        recorded_at,
        _name(decision.kind),
        _flag[decision.accepted],
        _name(decision.code),
        _bytes(key),
        _bytes(decision.claim),
        _ABSENT if voucher_id is None else _length(len(named)),
        named,
        _name(decision.enterprise),
        _name(decision.provider),
        _name(decision.period),
        _figures(decision),
        _length(len(event)),
        event,
    ))  # fmt: skip


def _figures(decision: Decision) -> bytes:
    amount, granted, valid_until, remaining = (
        decision.amount, decision.granted, decision.valid_until, decision.voucher_remaining,
    )  # fmt: skip
    used, limit, budget, payable = (
        decision.quota_used, decision.quota_limit, decision.budget_remaining, decision.payable,
    )  # fmt: skip
    of_an_issue = granted is not None or valid_until is not None or used is not None or limit is not None
    if amount is not None and remaining is not None and payable is not None and not of_an_issue and budget is None:
        return _redeemed(8, amount, -1, -1, 8, remaining, -1, -1, -1, 8, payable)
    return b"".join((
        _whole(amount), _whole(granted), _date(valid_until), _whole(remaining), _whole(used), _whole(limit), _whole(budget),
        _whole(payable),
    ))  # fmt: skip


def encoded_programme(programme: str) -> bytes:
    """Return the bytes of a programme's code, as ``encode`` takes them."""
    return _text(programme)


def encoded_moment(moment: datetime) -> bytes:
    """Return the bytes of a moment, as ``encode`` takes them."""
    return _number(8, microseconds(moment))


def leaf_of(encoded: bytes) -> bytes:
    """Return the leaf of an entry: SHA-256 over its bytes."""
    state = _LEAF.copy()
    state.update(encoded)
    return state.digest()


def copy_row(encoded: bytes, leaf: bytes) -> bytes:
    """Return the entry as a row of PostgreSQL's binary COPY format."""
    return b"".join((_ROW_START, encoded, _LEAF_LENGTH, leaf))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash (RFC 6962) of one or more leaves that are hashed already."""
    level = list(leaves)
    while len(level) > 1:
        # Pairing from the left and carrying a last odd one up gives the same tree as RFC 6962's split at a power of two.
        paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0]


def _node(left: bytes, right: bytes) -> bytes:
    state = _NODE.copy()
    state.update(left + right)
    return state.digest()


def block_hash(
    *,
    programme: str,
    first: int,
    last: int,
    recorded_at: datetime,
    policy: bytes,
    issued: str,
    root: bytes,
    previous: bytes,
) -> bytes:
    """Return a block's hash: over its range, time, policy digest, issued figures, Merkle root and the hash before it."""
    return hashlib.sha256(
        b"".join(
            (
                BLOCK_VERSION,
                _text(programme),
                _whole(first),
                _whole(last),
                encoded_moment(recorded_at),
                _bytes(policy),
                _text(issued),
                _bytes(root),
                _bytes(previous),
            )
        )
    ).digest()
