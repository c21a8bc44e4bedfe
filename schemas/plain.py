"""Reading the usual spelling of an event, several times as fast as by its form: no escapes, nothing missing, no odd number.

Whatever is spelt otherwise, right or wrong, is left to the forms (``schemas.forms``), which alone say what can be read. What is
read here they read too, and to the same event: the tests try it on all that they can think of.
"""

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Final, TypeVar

from msgspec import MsgspecError
from msgspec.json import Decoder

from schemas.events import (
    Applicant,
    Contract,
    Event,
    ExhaustedData,
    IssuedData,
    QuotaExhausted,
    RedeemedData,
    VoucherIssued,
    VoucherRedeemed,
)
from schemas.identifiers import PERIOD_PATTERN, PROGRAMME_PATTERN, VOUCHER_PATTERN
from schemas.money import FEN_PER_YUAN
from schemas.spelling import ExhaustedEvent, IssuedEvent, RedeemedEvent, strings_of

When = TypeVar("When", date, datetime)

# The forms' bounds are moments in UTC: a year less at both ends is inside them in every time zone.
_YEARS: Final = range(2001, 2099)
_OBJECTS_MAX: Final = 5
_BYTES_MAX: Final = 2_000

_moment = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.(?:[0-9]{3}|[0-9]{6}))?(?:Z|[+-][01][0-9]:[0-5][0-9])"
).fullmatch
_amount = re.compile(r"(0|[1-9][0-9]{0,11})\.([0-9]{2})").fullmatch
_voucher_id = re.compile(VOUCHER_PATTERN).fullmatch


_issued = Decoder(IssuedEvent).decode
_redeemed = Decoder(RedeemedEvent).decode
_exhausted = Decoder(ExhaustedEvent).decode
_anything = Decoder().decode

_ISSUED_STRINGS: Final = strings_of(IssuedEvent)
_REDEEMED_STRINGS: Final = strings_of(RedeemedEvent)
_EXHAUSTED_STRINGS: Final = strings_of(ExhaustedEvent)


class _UnusualError(ValueError):
    """It is spelt in a way that is not read here."""


def read_plain(raw: bytes, expected: str) -> Event | None:
    """Return the event, None when it is not spelt in the usual way; ``expected`` is its type."""
    # A character that no name may have can only stand in JSON behind a backslash, but for DEL. Nothing in an event is long.
    if len(raw) > _BYTES_MAX or b"\\" in raw or b"\x7f" in raw:
        return None
    try:
        if not raw.isascii():
            raw.decode()
        match expected:
            case "voucher.redeemed.v1":
                return _read_redeemed(raw)
            case "voucher.issued.v1":
                return _read_issued(raw)
            case _:
                return _read_exhausted(raw)
    except (MsgspecError, ValueError, RecursionError):
        return None


def _read_redeemed(raw: bytes) -> VoucherRedeemed:
    read = _redeemed(raw)
    data = read.data
    voucher_id = data.voucher_id
    left_out = (read.subject, read.datacontenttype, data.order_number, data.invoice_number, data.item).count(None)
    _check_names(raw, _REDEEMED_STRINGS - 2 * left_out)
    if not _voucher_id(voucher_id) or (read.subject is not None and read.subject != voucher_id):
        raise _UnusualError
    return VoucherRedeemed(read.id, read.source, read.subject, _time(read.time), RedeemedData(
        data.redemption_id, voucher_id, _programme(data.programme), data.provider, _fen(data.amount), data.order_number,
        data.invoice_number, data.item,
    ))  # fmt: skip


def _read_issued(raw: bytes) -> VoucherIssued:
    read = _issued(raw)
    data = read.data
    voucher_id, applicant, contract = data.voucher_id, data.enterprise, data.contract
    left_out = (
        read.subject, read.datacontenttype, applicant.name, applicant.size, applicant.industry, applicant.region,
        applicant.prior_year_revenue, contract.ends_on, data.valid_until,
    ).count(None)  # fmt: skip
    _check_names(raw, _ISSUED_STRINGS - 2 * left_out)
    if not _voucher_id(voucher_id) or (read.subject is not None and read.subject != voucher_id):
        raise _UnusualError
    revenue = applicant.prior_year_revenue
    return VoucherIssued(read.id, read.source, read.subject, _time(read.time), IssuedData(
        voucher_id, _programme(data.programme), data.kind, _fen(data.amount),
        Applicant(
            applicant.uscc, applicant.name, applicant.organisation, applicant.size, applicant.industry, applicant.region,
            None if revenue is None else _fen(revenue),
        ),
        Contract(contract.number, contract.provider, _fen(contract.fee), _in_range(contract.signed_on), _day_if_any(contract.ends_on)),
        _day_if_any(data.valid_until),
    ))  # fmt: skip


def _read_exhausted(raw: bytes) -> QuotaExhausted:
    read = _exhausted(raw)
    data = read.data
    enterprise = data.enterprise
    left_out = (read.subject, read.datacontenttype, enterprise, data.reason).count(None)
    _check_names(raw, _EXHAUSTED_STRINGS - 2 * left_out)
    if (enterprise is not None) != (data.scope == "enterprise") or not _is_period(data.period):
        raise _UnusualError
    if enterprise is not None and read.subject is not None and read.subject != enterprise:
        raise _UnusualError
    return QuotaExhausted(read.id, read.source, read.subject, _time(read.time), ExhaustedData(
        _programme(data.programme), data.scope, enterprise, data.period, data.reason
    ))  # fmt: skip


def _check_names(raw: bytes, strings: int) -> None:
    """Raise _UnusualError where a name stands twice in one object; ``strings`` is how many there are in what was read."""
    # Nothing is escaped, so each string takes two quotation marks. Where there are no more of them than what was read takes, no name
    # stands there twice, nor one that is not known.
    marks = raw.count(b'"')
    if marks == 2 * strings:
        return
    # What is deep is in attributes that are not ours, and may be too much for the forms.
    if b"[" in raw or raw.count(b"{") > _OBJECTS_MAX or marks != 2 * _strings_in(_anything(raw)):
        raise _UnusualError


def _strings_in(value: object) -> int:
    """Return how many strings there are in a document of objects, where of a name that stands twice only one is left."""
    if isinstance(value, dict):
        return len(value) + sum(map(_strings_in, value.values()))
    return isinstance(value, str)


def _time(text: str) -> datetime:
    if not _moment(text):
        raise _UnusualError
    return _in_range(datetime.fromisoformat(text))


def _in_range(when: When) -> When:
    if when.year not in _YEARS:
        raise _UnusualError
    return when


def _day_if_any(day: date | None) -> date | None:
    return None if day is None else _in_range(day)


def _fen(text: str) -> int:
    found = _amount(text)
    if found is None or not (fen := int(found[1]) * FEN_PER_YUAN + int(found[2])):
        raise _UnusualError
    return fen


@lru_cache(maxsize=1024)
def _programme(text: str) -> str:
    if not re.fullmatch(PROGRAMME_PATTERN, text):
        raise _UnusualError
    return text


@lru_cache(maxsize=1024)
def _is_period(text: str) -> bool:
    return re.fullmatch(PERIOD_PATTERN, text) is not None
