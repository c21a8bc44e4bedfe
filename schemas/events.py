"""The three inbound events as they are held once they were read: amounts in fen, days and moments, names.

What can be read is said by the forms (``schemas.forms``); these say only what there is. They are small, since many are held at once.
"""

from datetime import date, datetime
from typing import ClassVar, Final, Literal, TypeAlias

from msgspec import Struct

ISSUED: Final = "voucher.issued.v1"
REDEEMED: Final = "voucher.redeemed.v1"
EXHAUSTED: Final = "quota.exhausted.v1"

Kind = Literal["cash", "in_kind"]
Organisation = Literal["enterprise", "research_institution", "university"]
Size = Literal["micro", "small", "medium", "large"]
Item = Literal["compute", "data_product", "goods"]
Scope = Literal["enterprise", "programme"]


# None of them can be part of a cycle, so the garbage collector need not know them.
class Applicant(Struct, frozen=True, gc=False):
    """The enterprise (or institute, or university) that a voucher is issued to; revenue in fen."""

    uscc: str
    name: str | None
    organisation: Organisation
    size: Size | None
    industry: str | None
    region: str | None
    prior_year_revenue: int | None


class Contract(Struct, frozen=True, gc=False):
    """The service contract that a voucher is granted for; ``fee`` in fen."""

    number: str
    provider: str
    fee: int
    signed_on: date
    ends_on: date | None


class IssuedData(Struct, frozen=True, gc=False):
    """What an authority says of a voucher it issues; ``amount`` in fen."""

    voucher_id: str
    programme: str
    kind: Kind
    amount: int
    enterprise: Applicant
    contract: Contract
    valid_until: date | None


class RedeemedData(Struct, frozen=True, gc=False):
    """What a provider says of a voucher it redeemed, in full or in part; ``amount`` in fen."""

    redemption_id: str
    voucher_id: str
    programme: str
    provider: str
    amount: int
    order_number: str | None
    invoice_number: str | None
    item: Item | None


class ExhaustedData(Struct, frozen=True, gc=False):
    """A quota that is used up: of one enterprise, or of the whole programme, in a period."""

    programme: str
    scope: Scope
    enterprise: str | None
    period: str
    reason: str | None


class VoucherIssued(Struct, frozen=True, gc=False):
    """An authority issued a voucher."""

    type: ClassVar[str] = ISSUED
    id: str
    source: str
    subject: str | None
    time: datetime
    data: IssuedData


class VoucherRedeemed(Struct, frozen=True, gc=False):
    """A provider redeemed a voucher, in full or in part."""

    type: ClassVar[str] = REDEEMED
    id: str
    source: str
    subject: str | None
    time: datetime
    data: RedeemedData


class QuotaExhausted(Struct, frozen=True, gc=False):
    """A quota is used up: later issues on it are refused."""

    type: ClassVar[str] = EXHAUSTED
    id: str
    source: str
    subject: str | None
    time: datetime
    data: ExhaustedData


Event: TypeAlias = VoucherIssued | VoucherRedeemed | QuotaExhausted
