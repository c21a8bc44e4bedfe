"""The three events in their usual spelling, as msgspec reads them from JSON.

What they have to be besides is looked at in ``schemas.plain``; ``schemas.forms`` says what can be read.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import fields

from schemas.events import Item, Kind, Organisation, Scope, Size

Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
Text128 = Annotated[str, Meta(min_length=1, max_length=128)]
Text256 = Annotated[str, Meta(min_length=1, max_length=256)]


class Envelope(Struct, gc=False):
    """The attributes of each event. The form takes any ``datacontenttype``; here it is known, for it is often there."""

    specversion: Literal["1.0"]
    id: Text128
    source: Text256
    time: str


class Redeemed(Struct, gc=False):
    """The data of a redemption."""

    redemption_id: Text128
    voucher_id: str
    programme: str
    provider: Text64
    amount: str
    order_number: Text128 | None = None
    invoice_number: Text128 | None = None
    item: Item | None = None


class RedeemedEvent(Envelope, gc=False):
    """A redemption."""

    type: Literal["voucher.redeemed.v1"]
    data: Redeemed
    subject: str | None = None
    datacontenttype: str | None = None


class Applicant(Struct, gc=False):
    """The enterprise in the data of an issue."""

    uscc: Text64
    organisation: Organisation
    name: Text256 | None = None
    size: Size | None = None
    industry: Text256 | None = None
    region: Text256 | None = None
    prior_year_revenue: str | None = None


class Contract(Struct, gc=False):
    """The contract in the data of an issue."""

    number: Text128
    provider: Text64
    fee: str
    signed_on: date
    ends_on: date | None = None


class Issued(Struct, gc=False):
    """The data of an issue."""

    voucher_id: str
    programme: str
    kind: Kind
    amount: str
    enterprise: Applicant
    contract: Contract
    valid_until: date | None = None


class IssuedEvent(Envelope, gc=False):
    """An issue."""

    type: Literal["voucher.issued.v1"]
    data: Issued
    subject: str | None = None
    datacontenttype: str | None = None


class Exhausted(Struct, gc=False):
    """The data of a closure."""

    programme: str
    scope: Scope
    period: str
    enterprise: Text64 | None = None
    reason: Text256 | None = None


class ExhaustedEvent(Envelope, gc=False):
    """A closure."""

    type: Literal["quota.exhausted.v1"]
    data: Exhausted
    subject: Text256 | None = None
    datacontenttype: str | None = None


def strings_of(kind: type[Struct]) -> int:
    """Return how many strings the JSON of an event has that says every field: its names, and the values that are no objects."""
    return sum(
        1 + (strings_of(field.type) if isinstance(field.type, type) and issubclass(field.type, Struct) else 1)
        for field in fields(kind)
    )
