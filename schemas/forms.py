"""The forms of the three inbound events, version 1: a CloudEvents 1.0 envelope in structured mode with its data, a model each.

Unknown envelope attributes are allowed and kept with the original bytes; unknown fields of ``data`` are ignored.
These models say what can be read, and the published JSON Schemas are made of them. What was read is held as an event of
``schemas.events``. Whether an event stands is decided by the ledger, not here.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, model_validator

from schemas import events
from schemas.cloudevent import CloudEvent
from schemas.events import EXHAUSTED, ISSUED, REDEEMED, Item, Kind, Organisation, Scope, Size
from schemas.identifiers import PRINTABLE, ClaimedUscc, Number, PeriodName, ProgrammeCode, VoucherId
from schemas.moments import Day
from schemas.money import Amount, AmountOrZero

Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)]


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
    scope: Scope
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


ADAPTERS: Final[dict[str, TypeAdapter[VoucherIssued] | TypeAdapter[VoucherRedeemed] | TypeAdapter[QuotaExhausted]]] = {
    ISSUED: TypeAdapter(VoucherIssued),
    REDEEMED: TypeAdapter(VoucherRedeemed),
    EXHAUSTED: TypeAdapter(QuotaExhausted),
}
"""The readers of the three types, built once."""


def event_of(form: "VoucherIssued | VoucherRedeemed | QuotaExhausted") -> events.Event:
    """Return the event that a form says."""
    match form:
        case VoucherIssued(data=data):
            applicant, contract = data.enterprise, data.contract
            return events.VoucherIssued(form.id, form.source, form.subject, form.time, events.IssuedData(
                data.voucher_id, data.programme, data.kind, data.amount,
                events.Applicant(
                    applicant.uscc, applicant.name, applicant.organisation, applicant.size, applicant.industry, applicant.region,
                    applicant.prior_year_revenue,
                ),
                events.Contract(contract.number, contract.provider, contract.fee, contract.signed_on, contract.ends_on),
                data.valid_until,
            ))  # fmt: skip
        case VoucherRedeemed(data=data):
            return events.VoucherRedeemed(form.id, form.source, form.subject, form.time, events.RedeemedData(
                data.redemption_id, data.voucher_id, data.programme, data.provider, data.amount, data.order_number,
                data.invoice_number, data.item,
            ))  # fmt: skip
        case QuotaExhausted(data=data):
            return events.QuotaExhausted(form.id, form.source, form.subject, form.time, events.ExhaustedData(
                data.programme, data.scope, data.enterprise, data.period, data.reason,
            ))  # fmt: skip
