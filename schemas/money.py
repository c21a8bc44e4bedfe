"""Money: fen as ``int`` inside, decimal strings of yuan (CNY) on the wire. Never a float.

The limit of 10^13 yuan keeps every sum that a programme can reach inside PostgreSQL's ``bigint``.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

FEN_PER_YUAN = 100
YUAN_MAX = 10**13
FEN_MAX = YUAN_MAX * FEN_PER_YUAN

# No sign, no exponent, no leading zeros, ASCII digits only: one amount has few spellings, and none of them is a surprise.
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,13})(?:\.([0-9]{1,2}))?", re.ASCII)


def parse_yuan(text: str) -> int:
    """Return the fen in a decimal string of yuan such as ``"50000.00"``; zero is allowed here.

    Raises ValueError when it is not a plain decimal with at most two decimals, or over 10^13 yuan.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError('an amount is a decimal string of yuan with at most two decimals, such as "50000.00"')
    yuan, decimals = match.groups()
    fen = int(yuan) * FEN_PER_YUAN + (int(decimals.ljust(2, "0")) if decimals else 0)
    if fen > FEN_MAX:
        raise ValueError("an amount is at most 10^13 yuan")
    return fen


def format_yuan(fen: int) -> str:
    """Return fen as a decimal string of yuan with two decimals, ``5000000`` as ``"50000.00"``."""
    sign, fen = ("-", -fen) if fen < 0 else ("", fen)
    return f"{sign}{fen // FEN_PER_YUAN}.{fen % FEN_PER_YUAN:02d}"


def _fen_from_wire(value: object) -> int:
    if not isinstance(value, str):
        # A JSON number may have been a float on its way: it is refused, not rounded.
        raise ValueError('an amount is a decimal string of yuan, such as "50000.00"')  # noqa: TRY004  pydantic reports ValueError only
    return parse_yuan(value)


def _positive_fen_from_wire(value: object) -> int:
    fen = _fen_from_wire(value)
    if fen == 0:
        raise ValueError("an amount is more than zero")
    return fen


# What the readers above accept, for those who check with a JSON Schema: the limits are in the pattern too.
_LIMIT = r"10000000000000(\.0{1,2})?"
_POSITIVE = rf"[1-9][0-9]{{0,12}}(\.[0-9]{{1,2}})?|0\.(0[1-9]|[1-9][0-9]?)|{_LIMIT}"
_WIRE_SCHEMA = {
    "type": "string",
    "pattern": rf"^({_POSITIVE}|0(\.0{{1,2}})?)$",
    "description": "CNY, a decimal string with at most two decimals, at most 10^13",
    "examples": ["50000.00"],
}

Amount = Annotated[
    int,
    BeforeValidator(_positive_fen_from_wire),
    PlainSerializer(format_yuan, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            **_WIRE_SCHEMA,
            "pattern": f"^({_POSITIVE})$",
            "description": "CNY, a decimal string with at most two decimals, more than 0 and at most 10^13",
        }
    ),
]
"""An amount of more than zero: fen inside, yuan on the wire."""

AmountOrZero = Annotated[
    int,
    BeforeValidator(_fen_from_wire),
    PlainSerializer(format_yuan, return_type=str, when_used="json"),
    WithJsonSchema(_WIRE_SCHEMA),
]
"""An amount that may be zero: fen inside, yuan on the wire."""
