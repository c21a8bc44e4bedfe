"""The rules that a programme can be made of. Each names its source and whether that is published or assumed."""

import re
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from schemas.events import Item, Kind, Organisation, Size
from schemas.identifiers import check_uscc
from schemas.money import Amount

SHARE_UNIT = 1_000_000
"""A share is held in millionths, so that every rule is computed in whole numbers."""


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


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone of the IANA database")
    return name


Uscc = Annotated[str, AfterValidator(check_uscc)]
Share = Annotated[
    int,
    BeforeValidator(_share_from_text),
    PlainSerializer(_share_to_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^({_SHARE})$", "examples": ["0.50"]}),
]
Zone = Annotated[str, AfterValidator(_known_zone)]
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
    published_on: date | None = None
    read_on: date | None = None
    note: NotEmpty | None = None


class Rule(Part):
    """What every rule says of itself: where it comes from, and whether that is published or assumed."""

    source: NotEmpty
    status: Literal["published", "illustrative"]
    note: NotEmpty | None = None


class Authority(Rule):
    """Who issues: the only source accepted on the programme's issue stream."""

    uscc: Uscc
    names: Names


class Period(Rule):
    """When vouchers are issued, both days included, and which date an issue counts on."""

    opens_on: date
    closes_on: date
    time_zone: Zone = "Asia/Shanghai"
    attribution: Literal["occurred_at", "recorded_at", "contract_signed_on"] = "occurred_at"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.closes_on < self.opens_on:
            raise ValueError("closes_on is before opens_on")
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone, ready for use."""
        return ZoneInfo(self.time_zone)


class Budget(Rule):
    """What may be issued in all, in fen (yuan in the file): over the whole programme, or in each calendar year of it."""

    amount: Amount
    per: Literal["programme", "year"] = "programme"


class Applicants(Rule):
    """Who may be issued a voucher. A list left out does not restrict; where it restricts, an attribute not given fails."""

    organisations: frozenset[Organisation]
    sizes: frozenset[Size] | None = None
    industries: frozenset[str] | None = None
    regions: frozenset[str] | None = None


class Revenue(Rule):
    """The prior year's main revenue, in fen (yuan in the file), at or over which the organisations it binds are eligible."""

    minimum: Amount
    binds: frozenset[Organisation]


class Provider(Part):
    """A compute provider, data exchange or platform that is accepted."""

    uscc: Uscc
    names: Names


def _in_one_order(providers: tuple[Provider, ...]) -> tuple[Provider, ...]:
    codes = [provider.uscc for provider in providers]
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        raise ValueError(f"accredited more than once: {', '.join(twice)}")
    return tuple(sorted(providers, key=lambda provider: provider.uscc))


class Providers(Rule):
    """Where vouchers may be used. The order in the file says nothing, so it does not change the policy's digest."""

    accredited: Annotated[tuple[Provider, ...], Field(min_length=1), AfterValidator(_in_one_order)]
    redeemed_by: Literal["accredited", "contract"] = "accredited"
    """Any accredited provider, or only the one named in the voucher's contract."""

    @cached_property
    def codes(self) -> frozenset[str]:
        """The accredited providers' USCCs."""
        return frozenset(provider.uscc for provider in self.accredited)


class ContractRule(Rule):
    """Which contracts count: signed in a window, of a term at most, each for one voucher only."""

    signed_from: date | None = None
    signed_until: date | None = None
    term_months_max: Annotated[int, Field(ge=1, le=120)] | None = None
    one_voucher_each: bool = True


class KindRule(Rule):
    """What one kind of voucher buys, and, where that is narrower than the accredited ones, from whom."""

    covers: Annotated[frozenset[Item], Field(min_length=1)]
    providers: frozenset[Uscc] | None = None


class When(Part):
    """The attributes that a rate is for; one left out matches all."""

    organisations: frozenset[Organisation] | None = None
    sizes: frozenset[Size] | None = None
    industries: frozenset[str] | None = None
    regions: frozenset[str] | None = None
    kinds: frozenset[Kind] | None = None


class Rate(Rule):
    """The share of the contract fee that a voucher may be (millionths inside); the first rate that matches is the one."""

    share: Share
    when: When | None = None


class Minimum(Rule):
    """The smallest voucher, in fen (yuan in the file), inclusive: of the amount asked for, or of the one granted too."""

    amount: Amount
    binds: Literal["computed", "granted"] = "granted"


class Maximum(Rule):
    """The largest single voucher, in fen (yuan in the file), inclusive."""

    amount: Amount


class Cap(Rule):
    """What one enterprise may have in all in a period, in fen (yuan in the file), and what happens at that limit."""

    stage: Literal["issue", "redeem", "payout"]
    subject: Literal["enterprise"] = "enterprise"
    period: Literal["year", "programme"] = "year"
    amount: Amount
    on_cap: Literal["refuse", "clamp"] = "refuse"


class Validity(Rule):
    """How long a voucher may be used: months or days from its issue, and never after a day."""

    months: Annotated[int, Field(ge=1, le=120)] | None = None
    days: Annotated[int, Field(ge=1, le=3660)] | None = None
    until: date | None = None


class Returns(Rule):
    """Where an amount that comes back goes: to the voucher, to the enterprise's quota, or to the budget."""

    to: Literal["voucher", "quota", "budget"]
