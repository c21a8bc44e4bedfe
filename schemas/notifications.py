"""Notifications: one CloudEvent per entry of the ledger, on ``notification:{programme}`` with the id ``<position>-0``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.moments import Instant
from schemas.money import Amount, AmountOrZero
from schemas.tracecontext import PATTERN


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Words(_Part):
    """What happened, for people."""

    zh: str
    en: str


class Origin(_Part):
    """The inbound event that was decided."""

    id: str
    source: str
    type: str
    time: Instant


class PolicyReference(_Part):
    """The policy that was applied: its code, and the SHA-256 of its content in hexadecimal."""

    code: str
    digest: str


class NotificationData(_Part):
    """What was decided, and the running figures after it. Money in yuan on the wire; what does not apply is left out."""

    position: Annotated[int, Field(ge=1)]
    outcome: Literal["accepted", "refused"]
    code: str | None = None
    message: Words
    event: Origin
    voucher_id: str | None = None
    enterprise: str | None = None
    provider: str | None = None
    amount: Amount | None = None
    granted: AmountOrZero | None = None
    period: str
    policy: PolicyReference
    voucher_remaining: AmountOrZero | None = None
    quota_used: AmountOrZero | None = None
    quota_limit: AmountOrZero | None = None
    budget_remaining: AmountOrZero | None = None
    payable: AmountOrZero | None = None
    quota_warning: Annotated[
        Literal[80, 95] | None, Field(description="this entry brought the cap to this share of it, in percent")
    ] = None
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="the leaf, SHA-256 in hexadecimal")]


class Notification(_Part):
    """One entry of the ledger, told to whoever reads the stream."""

    # What is always written may be counted on by those who read.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Field(description="<programme>:<position>")]
    source: Annotated[str, Field(description="urn:voucher-ledger:<programme>")]
    type: Literal[
        "voucher.issued.accepted.v1",
        "voucher.issued.refused.v1",
        "voucher.redeemed.accepted.v1",
        "voucher.redeemed.refused.v1",
        "quota.exhausted.accepted.v1",
        "quota.exhausted.refused.v1",
    ]
    subject: str
    time: Annotated[Instant, Field(description="when the ledger recorded the entry")]
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: Annotated[
        str | None,
        Field(
            pattern=PATTERN,
            description="that of the event, where it has one (W3C Trace Context)",
            exclude_if=lambda traceparent: traceparent is None,
        ),
    ] = None
    data: NotificationData
