"""The forms of the answers about ledgers: programmes, statements, vouchers, enterprises, providers, entries, quotes."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from schemas.codes import Code, DeadLetterReason
from services.api.told import Answer, Hash, Message, Yuan


class Budget(Answer):
    """A budget: in all, issued, and what remains (negative where it was cut later)."""

    total: Yuan
    issued: Yuan
    remaining: Yuan


class BudgetPer(Budget):
    """A budget, and what it is for."""

    per: Literal["programme", "year"]


class BudgetPeriod(Budget):
    """A budget of a year."""

    period: str


class ProgrammeInShort(Answer):
    """A programme's rules in short, and where its ledger stands."""

    programme: str
    names: Message
    revision: int
    digest: Hash
    opens_on: date
    closes_on: date
    position: int
    budget: BudgetPer


class Programmes(Answer):
    """Programmes, by code."""

    programmes: list[ProgrammeInShort]


class Quota(Answer):
    """What an enterprise was granted in a period, of how much (null without a cap), and whether that is closed."""

    enterprise: str
    period: str
    used: Yuan
    limit: Yuan | None
    closed: bool


class QuotaWithHeadroom(Quota):
    """A quota, and what may still be granted in it: null without a cap, 0.00 when closed."""

    headroom: Yuan | None


class Voucher(Answer):
    """An issued voucher."""

    voucher_id: str
    enterprise: str
    kind: Literal["cash", "in_kind"]
    granted: Yuan
    remaining: Yuan
    status: Literal["active", "used", "expired"]


class Payable(Answer):
    """What a provider redeemed in all."""

    provider: str
    amount: Yuan


class Next(Answer):
    """What to go on after in each list; null where the list is whole."""

    quotas: str | None
    vouchers: int | None


class Statement(Answer):
    """What a programme stands at, as of a position. `periods` only with a budget per year."""

    programme: str
    position: int
    head_hash: Hash
    budget: Budget
    periods: list[BudgetPeriod] = Field(default=[])
    closed_for_all: list[str] = Field(default=[])
    quotas: list[Quota]
    vouchers: list[Voucher]
    payables: list[Payable]
    next: Next


class Quotas(Answer):
    """A page of quotas."""

    quotas: list[Quota]
    next: str | None


class Vouchers(Answer):
    """A page of vouchers."""

    vouchers: list[Voucher]
    next: int | None


class Origin(Answer):
    """The event that an entry was decided of."""

    id: str
    source: str
    type: str
    time: str


class Entry(Answer):
    """A decided event. What does not apply to it is left out."""

    position: int
    recorded_at: datetime
    kind: Literal["issued", "redeemed", "exhausted"]
    outcome: Literal["accepted", "refused"]
    code: Code | None = None
    message: Message
    event: Origin
    voucher_id: str | None = None
    enterprise: str | None = None
    provider: str | None = None
    period: str
    valid_until: date | None = None
    amount: Yuan | None = None
    granted: Yuan | None = None
    voucher_remaining: Yuan | None = None
    quota_used: Yuan | None = None
    quota_limit: Yuan | None = None
    budget_remaining: Yuan | None = None
    payable: Yuan | None = None
    hash: Hash


class Entries(Answer):
    """A page of entries, of a ledger that stood at `position`; `next` is the position to go on after."""

    programme: str
    position: int
    entries: list[Entry]
    next: int | None


class VoucherState(Answer):
    """A voucher with the entries that name it. `waiting` counts redemptions that wait for it to be issued."""

    programme: str
    voucher_id: str
    status: Literal["active", "used", "expired", "not_issued"]
    enterprise: str | None = None
    kind: Literal["cash", "in_kind"] | None = None
    granted: Yuan | None = None
    remaining: Yuan | None = None
    provider: str | None = None
    valid_until: date | None = None
    waiting: int
    entries: list[Entry]
    next: int | None


class Enterprise(Answer):
    """What an enterprise stands at. `refusals` has the newest first."""

    programme: str
    position: int
    enterprise: str
    quotas: list[QuotaWithHeadroom]
    vouchers: list[Voucher]
    vouchers_next: int | None
    refusals: list[Entry]


class Provider(Answer):
    """What a provider stands at."""

    programme: str
    position: int
    provider: str
    accredited: bool
    payable: Yuan
    entries: list[Entry]
    next: int | None


class Quote(Answer):
    """What the ledger would answer now; `rejected` is what could be no entry of it."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    programme: str | None = None
    outcome: Literal["accepted", "refused", "rejected", "duplicate", "waiting"]
    position: int | None = None
    code: Code | DeadLetterReason | None = None
    granted: Yuan | None = None
    message: Message


class Quotes(Answer):
    """A quote for each event, in their order."""

    events: list[Quote]
