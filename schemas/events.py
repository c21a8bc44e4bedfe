"""The three inbound events, version 1: a CloudEvents 1.0 envelope in structured mode with its data, as one model each.

Unknown envelope attributes are allowed and kept with the original bytes; unknown fields of ``data`` are ignored.
These models say what can be read. Whether an event stands is decided by the ledger, not here.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, model_validator

from schemas.cloudevent import CloudEvent
from schemas.identifiers import PRINTABLE, ClaimedUscc, Number, PeriodName, ProgrammeCode, VoucherId
from schemas.moments import Day
from schemas.money import Amount, AmountOrZero

ISSUED: Final = "voucher.issued.v1"
REDEEMED: Final = "voucher.redeemed.v1"
EXHAUSTED: Final = "quota.exhausted.v1"

Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)]

Kind = Literal["cash", "in_kind"]
Organisation = Literal["enterprise", "research_institution", "university"]
Size = Literal["micro", "small", "medium", "large"]
Item = Literal["compute", "data_product", "goods"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Applicant(_Data):
    """The enterprise (or institute, or university) that a voucher is issued to."""

    uscc: ClaimedUscc
    name: Text | None = None
    organisation: Organisation
    size: Size | None = None
    industry: Text | None = None
    region: Text | None = None
    prior_year_revenue: AmountOrZero | None = None


class Contract(_Data):
    """The service contract that a voucher is granted for; ``fee`` in yuan on the wire."""

    number: Number
    provider: ClaimedUscc
    fee: Amount
    signed_on: Day
    ends_on: Day | None = None


class IssuedData(_Data):
    """What an authority says of a voucher it issues."""

    voucher_id: VoucherId
    programme: ProgrammeCode
    kind: Kind
    amount: Amount
    enterprise: Applicant
    contract: Contract
    valid_until: Day | None = None


class RedeemedData(_Data):
    """What a provider says of a voucher it redeemed, in full or in part."""

    redemption_id: Number
    voucher_id: VoucherId
    programme: ProgrammeCode
    provider: ClaimedUscc
    amount: Amount
    order_number: Number | None = None
    invoice_number: Number | None = None
    item: Item | None = None


class ExhaustedData(_Data):
    """A quota that is used up: of one enterprise, or of the whole programme, in a period."""

    programme: ProgrammeCode
    scope: Literal["enterprise", "programme"]
    enterprise: ClaimedUscc | None = None
    period: PeriodName
    reason: Text | None = None

    @model_validator(mode="after")
    def _names_its_enterprise(self) -> Self:
        if (self.enterprise is not None) != (self.scope == "enterprise"):
            raise ValueError("an enterprise is named with the scope 'enterprise', and only then")
        return self


class VoucherIssued(CloudEvent):
    """An authority issued a voucher."""

    type: Literal["voucher.issued.v1"]
    data: IssuedData

    @property
    def subject_of_data(self) -> str | None:
        """What ``subject`` has to be: the voucher's id."""
        return self.data.voucher_id


class VoucherRedeemed(CloudEvent):
    """A provider redeemed a voucher, in full or in part."""

    type: Literal["voucher.redeemed.v1"]
    data: RedeemedData

    @property
    def subject_of_data(self) -> str | None:
        """What ``subject`` has to be: the voucher's id."""
        return self.data.voucher_id


class QuotaExhausted(CloudEvent):
    """A quota is used up: later issues on it are refused."""

    type: Literal["quota.exhausted.v1"]
    data: ExhaustedData

    @property
    def subject_of_data(self) -> str | None:
        """What ``subject`` has to be: the enterprise, or anything where the whole programme is meant."""
        return self.data.enterprise


Event = VoucherIssued | VoucherRedeemed | QuotaExhausted

ADAPTERS: Final[dict[str, TypeAdapter[VoucherIssued] | TypeAdapter[VoucherRedeemed] | TypeAdapter[QuotaExhausted]]] = {
    ISSUED: TypeAdapter(VoucherIssued),
    REDEEMED: TypeAdapter(VoucherRedeemed),
    EXHAUSTED: TypeAdapter(QuotaExhausted),
}
"""The readers of the three types, built once."""
