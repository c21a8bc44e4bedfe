"""The rules that a programme can be made of. Each names its source and whether that is published or assumed."""

from functools import cached_property
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from schemas.events import Item, Kind, Organisation, Size
from schemas.money import Amount
from schemas.parts import CalendarDay, Names, Part, Rule, Share, Some, Uscc, Whole, YesOrNo, Zone


class Authority(Rule):
    """Who issues: the only source accepted on the programme's issue stream."""

    uscc: Uscc
    names: Names


class Period(Rule):
    """When vouchers are issued, both days included, and which date an issue counts on."""

    opens_on: CalendarDay
    closes_on: CalendarDay
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

    organisations: Some[Organisation]
    sizes: Some[Size] | None = None
    industries: Some[str] | None = None
    regions: Some[str] | None = None


class Revenue(Rule):
    """The prior year's main revenue, in fen (yuan in the file), at or over which the organisations it binds are eligible."""

    minimum: Amount
    binds: Some[Organisation]


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

    signed_from: CalendarDay | None = None
    signed_until: CalendarDay | None = None
    term_months_max: Annotated[Whole, Field(ge=1, le=120)] | None = None
    """Of contracts whose event says when they end (``ends_on``); an authority that leaves that out vouches for the term."""
    one_voucher_each: YesOrNo = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.signed_from is not None and self.signed_until is not None and self.signed_until < self.signed_from:
            raise ValueError("signed_until is before signed_from")
        return self


class KindRule(Rule):
    """What one kind of voucher buys, and, where that is narrower than the accredited ones, from whom."""

    covers: Some[Item]
    providers: Some[Uscc] | None = None


class When(Part):
    """The attributes that a rate is for; one left out matches all."""

    organisations: Some[Organisation] | None = None
    sizes: Some[Size] | None = None
    industries: Some[str] | None = None
    regions: Some[str] | None = None
    kinds: Some[Kind] | None = None


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

    months: Annotated[Whole, Field(ge=1, le=120)] | None = None
    days: Annotated[Whole, Field(ge=1, le=3660)] | None = None
    until: CalendarDay | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.months is None and self.days is None and self.until is None:
            raise ValueError("say months, days or until; without a validity leave the table out")
        return self


class Returns(Rule):
    """Where an amount that comes back goes: to the voucher, to the enterprise's quota, or to the budget."""

    to: Literal["voucher", "quota", "budget"]
