"""The answers' forms, for the OpenAPI document: what the documents of ``services.ledger`` and ``services.readmodel`` look like.

The documents are made there, and not read through these; tests hold each answer against them.
"""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from schemas.codes import Code, DeadLetterReason
from services.api.problems import Problem

Yuan = Annotated[str, StringConstraints(pattern=r"^-?[0-9]+\.[0-9]{2}$")]
"""CNY, a decimal string with two decimals."""
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(_Answer):
    """One sentence for people, in both languages."""

    zh: str
    en: str


class Budget(_Answer):
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


class ProgrammeInShort(_Answer):
    """A programme's rules in short, and where its ledger stands."""

    programme: str
    names: Message
    revision: int
    digest: Hash
    opens_on: date
    closes_on: date
    position: int
    budget: BudgetPer


class Programmes(_Answer):
    """Programmes, by code."""

    programmes: list[ProgrammeInShort]


class Quota(_Answer):
    """What an enterprise was granted in a period, of how much (null without a cap), and whether that is closed."""

    enterprise: str
    period: str
    used: Yuan
    limit: Yuan | None
    closed: bool


class QuotaWithHeadroom(Quota):
    """A quota, and what may still be granted in it: null without a cap, 0.00 when closed."""

    headroom: Yuan | None


class Voucher(_Answer):
    """An issued voucher."""

    voucher_id: str
    enterprise: str
    kind: Literal["cash", "in_kind"]
    granted: Yuan
    remaining: Yuan
    status: Literal["active", "used", "expired"]


class Payable(_Answer):
    """What a provider redeemed in all."""

    provider: str
    amount: Yuan


class Next(_Answer):
    """What to go on after in each list; null where the list is whole."""

    quotas: str | None
    vouchers: int | None


class Statement(_Answer):
    """What a programme stands at, as of a position. `periods` only with a budget per year."""

    programme: str
    position: int
    head_hash: Hash
    budget: Budget
    periods: list[BudgetPeriod] = []
    closed_for_all: list[str] = []
    quotas: list[Quota]
    vouchers: list[Voucher]
    payables: list[Payable]
    next: Next


class Quotas(_Answer):
    """A page of quotas."""

    quotas: list[Quota]
    next: str | None


class Vouchers(_Answer):
    """A page of vouchers."""

    vouchers: list[Voucher]
    next: int | None


class Origin(_Answer):
    """The event that an entry was decided of."""

    id: str
    source: str
    type: str
    time: str


class Entry(_Answer):
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


class Entries(_Answer):
    """A page of entries, of a ledger that stood at `position`; `next` is the position to go on after."""

    programme: str
    position: int
    entries: list[Entry]
    next: int | None


class VoucherState(_Answer):
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


class Enterprise(_Answer):
    """What an enterprise stands at. `refusals` has the newest first."""

    programme: str
    position: int
    enterprise: str
    quotas: list[QuotaWithHeadroom]
    vouchers: list[Voucher]
    vouchers_next: int | None
    refusals: list[Entry]


class Provider(_Answer):
    """What a provider stands at."""

    programme: str
    position: int
    provider: str
    accredited: bool
    payable: Yuan
    entries: list[Entry]
    next: int | None


class Quote(_Answer):
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


class Quotes(_Answer):
    """A quote for each event, in their order."""

    events: list[Quote]


class Reader(_Answer):
    """A consumer of a stream: how long ago it last asked for entries, and how many it holds."""

    name: str
    last_read_seconds: float
    pending: int


class Queue(_Answer):
    """A stream: what is on it, what waits, what is pending and since when, who reads. What it has not is null."""

    stream: str
    length: int
    lag: int | None
    pending: int | None
    oldest_pending_seconds: float | None
    consumers: int | None
    dead_letters: int
    last_read_seconds: float | None
    oldest_pending_deliveries: int | None
    oldest_waiting_seconds: float | None
    entered: int
    last_id: str
    acknowledged: int | None
    readers: list[Reader]


class Queues(_Answer):
    """A row for each stream."""

    streams: list[Queue]


class DeadLetter(_Answer):
    """What could not be decided, with its original bytes."""

    id: str
    event: str
    stream: str
    entry_id: str
    reason: str
    detail: str
    failed_at: str


class DeadLetters(_Answer):
    """A page of dead letters, the oldest first; `next` is the id to go on after."""

    dead_letters: list[DeadLetter]
    next: str | None


class Posted(_Answer):
    """What became of one event: on its stream to be decided, or malformed, with the reason that a dead letter of it would have."""

    id: str | None = None
    status: Literal["accepted", "malformed"]
    stream: str | None = None
    entry_id: str | None = None
    reason: DeadLetterReason | None = None
    detail: str | None = None


class PostedEvents(_Answer):
    """What became of each event, in their order. `durable`: the broker had all on its disk; null where it cannot say so."""

    events: list[Posted]
    accepted: int
    malformed: int
    durable: bool | None


class Check(_Answer):
    """One of the things that have to be well."""

    what: str
    ok: bool
    because: str


class Health(_Answer):
    """Whether all is well, and if not, why; `checks` when asked with `verbose`."""

    ok: bool
    because: str
    checks: list[Check] | None = None


_PROBLEMS: Final = {
    400: "The body cannot be read.",
    401: "No key, or an unknown one.",
    403: "The key is not good for this.",
    404: "There is none.",
    413: "The body is too large.",
    415: "Another media type is wanted.",
    422: "The request is not valid, or nothing in it is.",
    503: "A server behind this one is away: try again.",
}

Responses = dict[int | str, dict[str, Any]]


def answers(form: type[BaseModel], *problems: int, status: int = 200) -> Responses:
    """Return what a route answers: its form, and the problems that there can be; those of every route are added."""
    found: Responses = {status: {"model": form}}
    for number in sorted({401, 403, 422, 503, *problems}):
        found[number] = {"model": Problem, "description": _PROBLEMS[number]}
    return found
