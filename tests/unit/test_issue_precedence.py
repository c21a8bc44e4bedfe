"""Issues that break several rules: the first code that applies is given, in the contract's order."""

from itertools import combinations

import pytest
from events_made import STRANGER, as_inbound, assumed, issue_event, policy_with
from ledger_in_memory import RECORDED_AT

from schemas.codes import Code
from services.ledger.book import Voucher
from services.ledger.decide import decide
from services.ledger.recompute import WholeBook

CLAMP = {"caps__0__on_cap": "clamp"}
OF_ISSUES = list(Code)[: list(Code).index(Code.EXCEEDS_BUDGET) + 1]
EVERY_YEAR = ("2023", "2024", "2025")
STRICT = {
    "applicants__organisations": ["enterprise", "research_institution"],
    "applicants__sizes": ["small"],
    "applicants__industries": ["软件和信息服务业"],
    "applicants__regions": ["四川省"],
    "revenue__binds": ["enterprise", "research_institution", "university"],
    "contract__signed_from": "2024-01-01",
    "maximum": assumed(amount="500000.00"),
}

BROKEN_BY = {
    Code.PROGRAMME_NOT_OPEN: {"time": "2023-12-31T12:00:00+08:00"},
    Code.PROGRAMME_CLOSED: {"time": "2025-01-01T12:00:00+08:00"},
    Code.ENTERPRISE_INVALID: {"data__enterprise__uscc": "91510100MA0000001M"},
    Code.ORGANISATION_NOT_ELIGIBLE: {"data__enterprise__organisation": "university"},
    Code.SIZE_NOT_ELIGIBLE: {"data__enterprise__size": "large"},
    Code.INDUSTRY_NOT_ELIGIBLE: {"data__enterprise__industry": None},
    Code.REGION_NOT_ELIGIBLE: {"data__enterprise__region": "河南省"},
    Code.REVENUE_BELOW_MINIMUM: {"data__enterprise__prior_year_revenue": None},
    Code.PROVIDER_NOT_ACCREDITED: {"data__contract__provider": STRANGER},
    Code.CONTRACT_NOT_ELIGIBLE: {"data__contract__signed_on": "2023-12-31"},
    Code.KIND_NOT_OFFERED: {"data__kind": "in_kind"},
    Code.EXCEEDS_CONTRACT_SHARE: {"data__contract__fee": "0.01"},
    Code.BELOW_MINIMUM: {"data__amount": "9999.99"},
    Code.ABOVE_MAXIMUM: {"data__amount": "500000.01"},
}
"""The fields that break a rule; the other rules are broken by what the book says."""

NEVER_TOGETHER = [{Code.PROGRAMME_NOT_OPEN, Code.PROGRAMME_CLOSED}, {Code.BELOW_MINIMUM, Code.ABOVE_MAXIMUM}]
"""A day is not both before and after; an amount is not both, as a policy's maximum is never under its minimum."""


def decided_with(broken, **changes):
    """Decide an issue that breaks these rules and no other one."""
    fields = {place: value for code in broken for place, value in BROKEN_BY.get(code, {}).items()}
    fields.setdefault("data__contract__fee", "9000000.00")
    policy, issue = policy_with(**STRICT, **changes), as_inbound(issue_event("V-1", **fields))
    who = issue.event.data.enterprise.uscc
    book = WholeBook()
    if Code.CONTRACT_ALREADY_USED in broken:
        book.claims.add(issue.claim)
    if Code.VOUCHER_EXISTS in broken:
        book.vouchers["V-1"] = Voucher("cash", who, issue.event.data.contract.provider, None, 1)
    if Code.QUOTA_CLOSED in broken:
        book.closures.update((who, year) for year in EVERY_YEAR)
    if Code.EXCEEDS_ANNUAL_CAP in broken:
        book.quotas.update({(who, year): policy.cap.amount for year in EVERY_YEAR})
    if Code.EXCEEDS_BUDGET in broken:
        book.issued_by_period.update(dict.fromkeys(EVERY_YEAR, policy.budget.amount))
    return decide(book, policy, issue, RECORDED_AT)


def test_with_nothing_broken_the_issue_stands():
    assert decided_with([]).accepted


@pytest.mark.parametrize("code", OF_ISSUES)
def test_each_code_alone(code):
    assert decided_with([code]).code == code


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in combinations(OF_ISSUES, 2) if set(pair) not in NEVER_TOGETHER]
)
def test_of_two_codes_the_earlier_is_given(first, second):
    assert decided_with([first, second]).code == first


LADDERS = [
    [code for code in OF_ISSUES if code not in {left_out, also_left_out}]
    for left_out in sorted(NEVER_TOGETHER[0])
    for also_left_out in sorted(NEVER_TOGETHER[1])
]


@pytest.mark.parametrize(("ladder", "step"), [(ladder, step) for ladder in LADDERS for step in range(len(ladder))])
def test_of_all_codes_from_one_on_that_one_is_given(ladder, step):
    assert decided_with(ladder[step:]).code == ladder[step]


@pytest.mark.parametrize("code", OF_ISSUES[: OF_ISSUES.index(Code.EXCEEDS_ANNUAL_CAP)])
def test_under_clamp_every_code_before_the_caps_is_given_before_it(code):
    assert decided_with([code, Code.EXCEEDS_ANNUAL_CAP, Code.EXCEEDS_BUDGET], **CLAMP).code == code


def test_under_clamp_a_grant_under_the_minimum_is_judged_where_the_cap_is():
    assert decided_with([Code.EXCEEDS_ANNUAL_CAP], **CLAMP).code == Code.BELOW_MINIMUM
    assert decided_with([Code.EXCEEDS_ANNUAL_CAP, Code.EXCEEDS_BUDGET], **CLAMP).code == Code.BELOW_MINIMUM
    computed = CLAMP | {"minimum__binds": "computed"}
    assert decided_with([Code.EXCEEDS_ANNUAL_CAP, Code.EXCEEDS_BUDGET], **computed).code == Code.EXCEEDS_ANNUAL_CAP


def test_a_refused_issue_consumes_nothing():
    for code in OF_ISSUES:
        decision = decided_with([code])
        assert not decision.accepted
        assert decision.granted is decision.claim is decision.voucher_remaining is decision.valid_until is None
        budget, cap = 10_000_000_00, 1_000_000_00
        assert decision.quota_used == (cap if code == Code.EXCEEDS_ANNUAL_CAP else 0)
        assert decision.budget_remaining == (0 if code == Code.EXCEEDS_BUDGET else budget)
