"""What the rules of a policy file are made of: shares, zones, names, sources, and what every rule says of itself."""

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, TypeVar
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from schemas.identifiers import check_uscc

SHARE_UNIT = 1_000_000
"""A share is held in millionths, so that every rule is computed in whole numbers."""


_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_SHARE = r"0\.[0-9]{1,6}|1(\.0{1,6})?"


def _share_from_text(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('a share is a decimal string such as "0.50"')  # noqa: TRY004  pydantic reports ValueError only
    share = int(Decimal(value) * SHARE_UNIT) if re.fullmatch(_SHARE, value) else 0
    if share == 0:
        raise ValueError('a share such as "0.50" is more than 0 and at most 1, with at most six decimals')
    return share


def _share_to_text(share: int) -> str:
    whole, millionths = divmod(share, SHARE_UNIT)
    return f"{whole}.{millionths:06d}"


@lru_cache(maxsize=64)  # the list of zones is read from the disk, which takes as long as a hundred queries
def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone of the IANA database")
    return name


def _day(value: object) -> object:
    if type(value) is not date and not (isinstance(value, str) and re.fullmatch(_DAY, value)):
        raise ValueError("a day is written as in 2024-12-31")
    return value


# Nothing is taken for a whole number, a truth or a day that only looks like one: 1.0, "no", 0 (which would be in 1970).
Whole = Annotated[int, Field(strict=True)]
YesOrNo = Annotated[bool, Field(strict=True)]
CalendarDay = Annotated[date, BeforeValidator(_day)]
Uscc = Annotated[str, AfterValidator(check_uscc)]
Share = Annotated[
    int,
    BeforeValidator(_share_from_text),
    PlainSerializer(_share_to_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^({_SHARE})$", "examples": ["0.50"]}),
]
Zone = Annotated[str, AfterValidator(_known_zone)]
Value = TypeVar("Value")
Some = Annotated[frozenset[Value], Field(min_length=1)]
"""A list that restricts names at least one: an empty one would let nobody pass, and is surely a mistake."""
NotEmpty = Annotated[str, Field(min_length=1, max_length=2000)]


class Part(BaseModel):
    """A part of a policy file."""

    # A misspelt rule must not be a rule left out.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Names(Part):
    """A name in Chinese and in English."""

    zh: NotEmpty
    en: NotEmpty


class Source(Part):
    """Where rules were read: a document, its date, and the date it was read on."""

    title: NotEmpty
    published_on: CalendarDay | None = None
    read_on: CalendarDay | None = None
    note: NotEmpty | None = None


class Rule(Part):
    """What every rule says of itself: where it comes from, and whether that is published or assumed."""

    source: NotEmpty
    status: Literal["published", "illustrative"]
    note: NotEmpty | None = None
