"""The contract, read a second time: what the bytes of an entry say, or the reason why nothing can be read, by nothing of the product.

Slow and short. JSON is read here by RFC 8259, with what RFC 7493 adds: each name once in its object, no lone surrogates.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

DEPTH_MAX = 200
"""Objects and lists around a value; an event of ours needs three."""
DIGITS_MAX = 4300
"""Of a whole number, where one is not ours to read."""

_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"')
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SPACE = re.compile(r"[ \t\n\r]*")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_PLAIN = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": True, "false": False, "null": None}
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)

KINDS = ("voucher.issued", "voucher.redeemed", "quota.exhausted")
ISSUED, REDEEMED, EXHAUSTED = (f"{kind}.v1" for kind in KINDS)


class NotReadError(Exception):
    """Nothing can be read; the one argument is the reason."""


def said(raw: bytes, expected: str | None) -> dict[str, Any]:
    """Return what the event says: money in fen, days and moments. Raises NotReadError with the dead letter's reason."""
    document = _read_json(raw)
    kind, subject, time = _envelope(document)
    if kind not in _DATA:
        raise NotReadError("unknown_type")
    if expected not in {None, kind}:
        raise NotReadError("wrong_stream")
    try:
        data, about = _DATA[kind](document["data"])
    except (ValueError, KeyError):
        raise NotReadError("invalid_data") from None
    if subject is not None and about is not None and subject != about:
        raise NotReadError("invalid_data")
    return {"id": document["id"], "source": document["source"], "subject": subject, "time": time, "data": data}


BYTES_MAX = 65_536
"""What an event may be long, unless the settings say otherwise (docs/limits.md)."""


def refused_on(key: str, raw: bytes, authorities: Mapping[str, str]) -> str | None:
    """Return the dead letter's reason of these bytes on this stream, None where its owner may say this there.

    ``authorities`` are the USCCs of those who issue, by the programme; other programmes are not known.
    """
    stream, owner = key.split(":")
    if len(raw) > BYTES_MAX:
        return "invalid_data"
    try:
        event = said(raw, f"{stream}.v1")
    except NotReadError as error:
        return str(error)
    programme, source = event["data"]["programme"], event["source"]
    if programme not in authorities:
        return "programme_unknown"
    if stream == "voucher.redeemed":
        may = event["data"]["provider"] == owner and source == f"urn:uscc:{owner}"
    else:
        closes = stream == "quota.exhausted" and source == f"urn:voucher-ledger:{owner}"
        may = programme == owner and (closes or source == f"urn:uscc:{authorities[owner]}")
    return None if may else "wrong_stream"


def _read_json(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8", "strict")
        value, place = _value(text, 0, 0)
    except (ValueError, IndexError):
        raise NotReadError("not_json") from None
    if place != len(text):
        raise NotReadError("not_json")
    return value


def _value(text: str, place: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins here, spaces around it aside, and the place behind it. Raises ValueError or IndexError."""
    if depth > DEPTH_MAX:
        raise ValueError
    place = _spaces(text, place)
    value: Any
    if text[place] in "{[":
        value, place = _many(text, place, depth + 1)
    elif text[place] == '"':
        value, place = _string(text, place)
    elif found := _NUMBER.match(text, place):
        if not found[2] and not found[3] and len(found[1]) > DIGITS_MAX:
            raise ValueError
        value, place = Decimal(0), found.end()
    else:
        word = next(word for word in (*_WORDS, "") if text.startswith(word, place))
        value, place = _WORDS[word] if word else _fail(), place + len(word)
    return value, _spaces(text, place)


def _many(text: str, place: int, depth: int) -> tuple[Any, int]:
    names: list[str] = []
    values: list[Any] = []
    is_object, end = text[place] == "{", "}" if text[place] == "{" else "]"
    place = _spaces(text, place + 1)
    while text[place] != end or values:
        if is_object:
            name, place = _string(text, _spaces(text, place))
            names.append(name)
            place = _spaces(text, place)
            if text[place] != ":":
                raise ValueError
            place += 1
        value, place = _value(text, place, depth)
        values.append(value)
        if text[place] == end:
            break
        if text[place] != ",":
            raise ValueError
        place += 1
    if len(set(names)) < len(names):
        raise ValueError
    return (dict(zip(names, values, strict=True)) if is_object else values), place + 1


def _string(text: str, place: int) -> tuple[str, int]:
    found = _STRING.match(text, place)
    if found is None:
        raise ValueError
    spelt = _ESCAPE.sub(lambda one: chr(int(one[1][1:], 16)) if len(one[1]) > 1 else _PLAIN[one[1]], found[1])
    # Two surrogates that make a pair become their character; a lone one fails.
    return spelt.encode("utf-16-le", "surrogatepass").decode("utf-16-le"), found.end()


def _spaces(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _fail() -> Any:
    raise ValueError


def _envelope(document: Any) -> tuple[str, str | None, datetime]:
    try:
        _object(_object(document)["data"])
        _match(r"1\.0")(document["specversion"])
        _text(document["id"], 128)
        _text(document["source"])
        return _string_of_any(document["type"]), _if_any(document, "subject", _text), _moment(document["time"])
    except (ValueError, KeyError, OverflowError):
        raise NotReadError("not_cloudevent") from None


def _string_of_any(value: Any) -> str:
    return value if isinstance(value, str) else _fail()


def _text(value: Any, length_max: int = 256) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= length_max:
        raise ValueError
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError
    return value


def _match(pattern: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise ValueError
        return value

    return check


_voucher_id = _match(r"[A-Za-z0-9._-]{1,64}")
_programme = _match(r"[a-z0-9]|[a-z0-9][a-z0-9-]{0,62}[a-z0-9]")
_period = _match(r"[0-9]{4}|programme")
_day_text = _match(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
_amount_text = _match(r"(0|[1-9][0-9]*)(\.[0-9]{1,2})?")
_kind = _match("cash|in_kind")
_organisation = _match("enterprise|research_institution|university")
_size = _match("micro|small|medium|large")
_item = _match("compute|data_product|goods")
_scope = _match("enterprise|programme")


def _uscc(value: Any) -> str:
    return _text(value, 64)


def _number(value: Any) -> str:
    return _text(value, 128)


def _day(value: Any) -> date:
    year, month, day = map(int, _day_text(value).split("-"))
    return date(year, month, day)


def _fen_or_zero(value: Any) -> int:
    yuan = Decimal(_amount_text(value))
    if yuan > 10**13:
        raise ValueError
    return int(yuan * 100)


def _fen(value: Any) -> int:
    return _fen_or_zero(value) or _fail()


def _moment(value: Any) -> datetime:
    if not isinstance(value, str) or (found := _TIME.fullmatch(value)) is None:
        raise ValueError
    sign, hours, minutes = found[8], int(found[9] or 0), int(found[10] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    fraction = int((found[7] or "").ljust(6, "0")[:6])
    moment = datetime(*map(int, found.groups()[:6]), fraction, tzinfo=timezone(offset))  # type: ignore[arg-type, misc]
    if not 2000 <= moment.astimezone(UTC).year < 2100:
        raise ValueError
    return moment


def _if_any(data: dict[str, Any], name: str, read: Callable[[Any], Any]) -> Any:
    return None if data.get(name) is None else read(data[name])


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else _fail()


def _issued(data: dict[str, Any]) -> tuple[dict[str, Any], str]:
    enterprise, contract = _object(data["enterprise"]), _object(data["contract"])
    return {
        "voucher_id": _voucher_id(data["voucher_id"]),
        "programme": _programme(data["programme"]),
        "kind": _kind(data["kind"]),
        "amount": _fen(data["amount"]),
        "enterprise": {
            "uscc": _uscc(enterprise["uscc"]),
            "name": _if_any(enterprise, "name", _text),
            "organisation": _organisation(enterprise["organisation"]),
            "size": _if_any(enterprise, "size", _size),
            "industry": _if_any(enterprise, "industry", _text),
            "region": _if_any(enterprise, "region", _text),
            "prior_year_revenue": _if_any(enterprise, "prior_year_revenue", _fen_or_zero),
        },
        "contract": {
            "number": _number(contract["number"]),
            "provider": _uscc(contract["provider"]),
            "fee": _fen(contract["fee"]),
            "signed_on": _day(contract["signed_on"]),
            "ends_on": _if_any(contract, "ends_on", _day),
        },
        "valid_until": _if_any(data, "valid_until", _day),
    }, data["voucher_id"]


def _redeemed(data: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return {
        "redemption_id": _number(data["redemption_id"]),
        "voucher_id": _voucher_id(data["voucher_id"]),
        "programme": _programme(data["programme"]),
        "provider": _uscc(data["provider"]),
        "amount": _fen(data["amount"]),
        "order_number": _if_any(data, "order_number", _number),
        "invoice_number": _if_any(data, "invoice_number", _number),
        "item": _if_any(data, "item", _item),
    }, data["voucher_id"]


def _exhausted(data: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    scope, enterprise = _scope(data["scope"]), _if_any(data, "enterprise", _uscc)
    if (scope == "enterprise") != (enterprise is not None):
        raise ValueError
    return {
        "programme": _programme(data["programme"]),
        "scope": scope,
        "enterprise": enterprise,
        "period": _period(data["period"]),
        "reason": _if_any(data, "reason", _text),
    }, enterprise


_DATA: dict[str, Callable[[dict[str, Any]], tuple[dict[str, Any], str | None]]] = {
    ISSUED: _issued, REDEEMED: _redeemed, EXHAUSTED: _exhausted,
}  # fmt: skip
