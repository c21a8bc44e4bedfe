"""The rules: whether an issue, a redemption or a closure stands. Pure: no clock, no input or output, nothing changed.

The rules of each kind of event are asked in the order of the contract's codes, and the first that is broken gives the
code. What a rule's figure is, and which document it comes from, is in the programme's policy file. Amounts are fen.
"""

from datetime import date, datetime

from schemas.codes import Code
from schemas.events import Applicant, Event, IssuedData, QuotaExhausted, RedeemedData, VoucherIssued, VoucherRedeemed
from schemas.identifiers import is_uscc
from schemas.parts import SHARE_UNIT
from schemas.policy import Policy
from schemas.rules import When
from services.ledger.book import Book, Voucher
from services.ledger.calendar import add_validity, months_between
from services.ledger.entry import Decision, Inbound, Parked

ITEM_IF_NOT_SAID = "compute"
"""A redemption that does not say what was bought is one of compute, which the vouchers are for."""


def decide(
    book: Book, policy: Policy, inbound: Inbound, recorded_at: datetime, *, waited: bool = False
) -> Decision | Parked:
    """Decide one event by the policy and by what the book says so far.

    ``waited`` says that a redemption's wait for its voucher is over. Raises nothing on any event that could be read.
    """
    event: Event = inbound.event
    match event:
        case VoucherRedeemed():
            return decide_redemption(book, policy, event, inbound.claim, waited=waited)
        case VoucherIssued():
            return decide_issue(book, policy, event, inbound.claim, recorded_at)
        case QuotaExhausted():
            return decide_closure(book, policy, event)


def decide_issue(
    book: Book, policy: Policy, issue: VoucherIssued, claim: bytes | None, recorded_at: datetime
) -> Decision:
    """Decide whether a voucher is issued, and with how much."""
    data = issue.data
    enterprise = data.enterprise.uscc
    day = _attribution_day(policy, issue, recorded_at)
    period = policy.period_of(day)
    cap = policy.cap
    used = book.quota_used(enterprise, period)
    budget_left = policy.budget.amount - book.issued(policy.budget_period_of(period))
    decision = Decision(
        kind="issued",
        period=period,
        voucher_id=data.voucher_id,
        enterprise=enterprise,
        provider=data.contract.provider,
        amount=data.amount,
        quota_used=used,
        quota_limit=None if cap is None else cap.amount,
        budget_remaining=budget_left,
    )
    code = (
        _period_refusal(policy, day)
        or _applicant_refusal(policy, data.enterprise)
        or _contract_refusal(book, policy, data, claim)
        or _voucher_refusal(book, policy, data)
        or (Code.QUOTA_CLOSED if book.is_closed(enterprise, f"{day.year:04d}") else None)
    )
    granted = data.amount
    if code is None and cap is not None and used + data.amount > cap.amount:
        if cap.on_cap == "clamp":
            granted = max(cap.amount - used, 0)
            code = _clamp_refusal(policy, granted)
        else:
            code = Code.EXCEEDS_ANNUAL_CAP
    if code is None and granted > budget_left:
        code = Code.EXCEEDS_BUDGET
    if code is not None:
        return _refused(decision, code)

    decision.code = Code.CLAMPED_TO_CAP if granted < data.amount else None
    decision.claim = claim if policy.contract.one_voucher_each else None
    decision.granted = decision.voucher_remaining = granted
    issued_on = issue.time.astimezone(policy.period.zone).date()
    decision.valid_until = add_validity(policy.validity, issued_on, data.valid_until)
    decision.quota_used = used + granted
    decision.budget_remaining = budget_left - granted
    return decision


def issue_period(policy: Policy, issue: VoucherIssued, recorded_at: datetime) -> str:
    """Return the cap's period that an issue counts in: whose quota a book has to have loaded before it is decided."""
    return policy.period_of(_attribution_day(policy, issue, recorded_at))


def _attribution_day(policy: Policy, issue: VoucherIssued, recorded_at: datetime) -> date:
    match policy.period.attribution:
        case "occurred_at":
            return issue.time.astimezone(policy.period.zone).date()
        case "recorded_at":
            return recorded_at.astimezone(policy.period.zone).date()
        case "contract_signed_on":
            return issue.data.contract.signed_on


def _period_refusal(policy: Policy, day: date) -> Code | None:
    if day < policy.period.opens_on:
        return Code.PROGRAMME_NOT_OPEN
    if day > policy.period.closes_on:
        return Code.PROGRAMME_CLOSED
    return None


def _applicant_refusal(policy: Policy, applicant: Applicant) -> Code | None:
    eligible = policy.applicants
    if not is_uscc(applicant.uscc):
        return Code.ENTERPRISE_INVALID
    if applicant.organisation not in eligible.organisations:
        return Code.ORGANISATION_NOT_ELIGIBLE
    if eligible.sizes is not None and applicant.size not in eligible.sizes:
        return Code.SIZE_NOT_ELIGIBLE
    if eligible.industries is not None and applicant.industry not in eligible.industries:
        return Code.INDUSTRY_NOT_ELIGIBLE
    if eligible.regions is not None and applicant.region not in eligible.regions:
        return Code.REGION_NOT_ELIGIBLE
    floor = policy.revenue
    if floor is not None and applicant.organisation in floor.binds:
        revenue = applicant.prior_year_revenue
        if revenue is None or revenue < floor.minimum:
            return Code.REVENUE_BELOW_MINIMUM
    return None


def _contract_refusal(book: Book, policy: Policy, data: IssuedData, claim: bytes | None) -> Code | None:
    contract, rule = data.contract, policy.contract
    if contract.provider not in policy.providers.codes:
        return Code.PROVIDER_NOT_ACCREDITED
    if rule.signed_from is not None and contract.signed_on < rule.signed_from:
        return Code.CONTRACT_NOT_ELIGIBLE
    if rule.signed_until is not None and contract.signed_on > rule.signed_until:
        return Code.CONTRACT_NOT_ELIGIBLE
    if (
        rule.term_months_max is not None
        and contract.ends_on is not None
        and months_between(contract.signed_on, contract.ends_on) > rule.term_months_max
    ):
        return Code.CONTRACT_NOT_ELIGIBLE
    if rule.one_voucher_each and claim is not None and book.is_claimed(claim):
        return Code.CONTRACT_ALREADY_USED
    return None


def _voucher_refusal(book: Book, policy: Policy, data: IssuedData) -> Code | None:
    if data.kind not in policy.kinds:
        return Code.KIND_NOT_OFFERED
    if book.is_issued(data.voucher_id):
        return Code.VOUCHER_EXISTS
    if data.amount * SHARE_UNIT > data.contract.fee * _share(policy, data):
        return Code.EXCEEDS_CONTRACT_SHARE
    if policy.minimum is not None and data.amount < policy.minimum.amount:
        return Code.BELOW_MINIMUM
    if policy.maximum is not None and data.amount > policy.maximum.amount:
        return Code.ABOVE_MAXIMUM
    return None


def _share(policy: Policy, data: IssuedData) -> int:
    """Return the share of the contract fee that may be granted, in millionths; none where no rate is for this applicant."""
    return next((rate.share for rate in policy.rates if rate.when is None or _matches(rate.when, data)), 0)


def _matches(when: When, data: IssuedData) -> bool:
    applicant = data.enterprise
    return (
        (when.organisations is None or applicant.organisation in when.organisations)
        and (when.sizes is None or applicant.size in when.sizes)
        and (when.industries is None or applicant.industry in when.industries)
        and (when.regions is None or applicant.region in when.regions)
        and (when.kinds is None or data.kind in when.kinds)
    )


def _clamp_refusal(policy: Policy, granted: int) -> Code | None:
    """Say whether what is left under the cap is too little to be granted."""
    minimum = policy.minimum
    if minimum is not None and minimum.binds == "granted" and granted < minimum.amount:
        return Code.BELOW_MINIMUM
    return Code.EXCEEDS_ANNUAL_CAP if granted == 0 else None


def decide_redemption(
    book: Book, policy: Policy, redemption: VoucherRedeemed, claim: bytes | None, *, waited: bool
) -> Decision | Parked:
    """Decide whether a redemption stands: what was used counts on the day it was used, whenever it is reported."""
    data = redemption.data
    day = redemption.time.astimezone(policy.period.zone).date()
    voucher = book.voucher(data.voucher_id)
    payable = book.payable(data.provider)
    decision = Decision(
        kind="redeemed",
        period=policy.period_of(day),
        voucher_id=data.voucher_id,
        provider=data.provider,
        amount=data.amount,
        payable=payable,
    )
    if day < policy.period.opens_on:
        return _refused(decision, Code.PROGRAMME_NOT_OPEN)
    if data.provider not in policy.providers.codes:
        return _refused(decision, Code.PROVIDER_NOT_ACCREDITED)
    if voucher is None:
        return _refused(decision, Code.VOUCHER_UNKNOWN) if waited else Parked(data.voucher_id, data.provider)

    decision.enterprise = voucher.enterprise
    decision.voucher_remaining = voucher.remaining
    code = _use_refusal(book, policy, voucher, data, claim, day)
    if code is not None:
        return _refused(decision, code)
    decision.claim = claim
    decision.voucher_remaining = voucher.remaining - data.amount
    decision.payable = payable + data.amount
    return decision


def _use_refusal(
    book: Book, policy: Policy, voucher: Voucher, data: RedeemedData, claim: bytes | None, day: date
) -> Code | None:
    kind = policy.kinds.get(voucher.kind)
    if policy.providers.redeemed_by == "contract" and data.provider != voucher.provider:
        return Code.PROVIDER_NOT_ACCREDITED
    if kind is not None and kind.providers is not None and data.provider not in kind.providers:
        return Code.PROVIDER_NOT_ACCREDITED
    if voucher.valid_until is not None and day > voucher.valid_until:
        return Code.VOUCHER_EXPIRED
    if kind is None or (data.item or ITEM_IF_NOT_SAID) not in kind.covers:
        return Code.ITEM_NOT_COVERED
    if claim is not None and book.is_claimed(claim):
        return Code.REDEMPTION_EXISTS
    if data.amount > voucher.remaining:
        return Code.EXCEEDS_VOUCHER_BALANCE
    return None


def decide_closure(book: Book, policy: Policy, closure: QuotaExhausted) -> Decision:
    """Decide whether a quota is closed. Closing what is closed already changes nothing, and stands."""
    data = closure.data
    decision = Decision(kind="exhausted", period=data.period, enterprise=data.enterprise)
    if data.enterprise is not None:
        if not is_uscc(data.enterprise):
            return _refused(decision, Code.ENTERPRISE_INVALID)
        decision.quota_used = book.quota_used(data.enterprise, data.period)
        decision.quota_limit = None if policy.cap is None else policy.cap.amount
    return decision


def _refused(decision: Decision, code: Code) -> Decision:
    decision.accepted = False
    decision.code = code
    return decision
