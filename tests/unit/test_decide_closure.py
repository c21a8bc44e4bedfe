"""Closures: what closes a quota, for whom and for which period."""

import pytest
from events_made import (
    ENTERPRISE,
    OTHER_ENTERPRISE,
    exhausted_event,
    issue_event,
    policy_with,
    shipped,
)
from ledger_in_memory import LedgerInMemory

from schemas.codes import Code
from services.ledger.batch import Duplicate

CHENGDU = "chengdu-2024"
TWO_YEARS = {"period__closes_on": "2025-12-31"}
IN_2024, IN_2025 = "2024-12-31T23:59:59+08:00", "2025-01-01T00:00:00+08:00"


def test_a_closure_says_what_was_used():
    ledger = LedgerInMemory(shipped()[CHENGDU])
    ledger.accept(issue_event("V-1", amount="990000.01"))
    decision = ledger.decide(exhausted_event(ENTERPRISE))
    assert (decision.accepted, decision.code, decision.kind) == (True, None, "exhausted")
    assert (decision.enterprise, decision.period) == (ENTERPRISE, "2024")
    assert (decision.quota_used, decision.quota_limit) == (990_000_01, 1_000_000_00)
    assert decision.voucher_id is decision.provider is decision.amount is decision.granted is decision.claim is None
    assert decision.voucher_remaining is decision.budget_remaining is decision.payable is None


def test_a_closure_of_the_whole_programme_names_no_enterprise():
    decision = LedgerInMemory(shipped()[CHENGDU]).decide(exhausted_event())
    assert (decision.accepted, decision.enterprise) == (True, None)
    assert decision.quota_used is decision.quota_limit is None


def test_a_closure_where_there_is_no_cap():
    decision = LedgerInMemory(policy_with(caps=[])).decide(exhausted_event(ENTERPRISE))
    assert (decision.accepted, decision.quota_used, decision.quota_limit) == (True, 0, None)


@pytest.mark.parametrize(
    ("who", "period", "closed"),
    [
        (ENTERPRISE, "2024", {(ENTERPRISE, IN_2024)}),
        (ENTERPRISE, "2025", {(ENTERPRISE, IN_2025)}),
        (ENTERPRISE, "programme", {(ENTERPRISE, IN_2024), (ENTERPRISE, IN_2025)}),
        (ENTERPRISE, "2023", set()),
        (None, "2024", {(ENTERPRISE, IN_2024), (OTHER_ENTERPRISE, IN_2024)}),
        (None, "2025", {(ENTERPRISE, IN_2025), (OTHER_ENTERPRISE, IN_2025)}),
        (
            None,
            "programme",
            {(ENTERPRISE, IN_2024), (ENTERPRISE, IN_2025), (OTHER_ENTERPRISE, IN_2024), (OTHER_ENTERPRISE, IN_2025)},
        ),
    ],
)
def test_a_closed_quota_is_closed_for_whom_and_when_it_says(who, period, closed):
    ledger = LedgerInMemory(policy_with(**TWO_YEARS))
    ledger.accept(exhausted_event(who, period=period))
    asked = [(enterprise, time) for enterprise in (ENTERPRISE, OTHER_ENTERPRISE) for time in (IN_2024, IN_2025)]
    for number, (enterprise, time) in enumerate(asked):
        decision = ledger.decide(issue_event(f"V-{number}", enterprise=enterprise, time=time))
        assert decision.code == (Code.QUOTA_CLOSED if (enterprise, time) in closed else None)


def test_a_cap_over_the_whole_programme_is_closed_by_its_own_name():
    changes = {"caps__0__period": "programme", "budget__per": "programme"}
    ledger = LedgerInMemory(policy_with(**TWO_YEARS, **changes))
    ledger.accept(exhausted_event(ENTERPRISE, period="programme"))
    for number, time in enumerate((IN_2024, IN_2025)):
        assert ledger.decide(issue_event(f"V-{number}", time=time)).code == Code.QUOTA_CLOSED


def test_a_year_is_closed_where_the_cap_is_over_the_whole_programme_too():
    changes = {"caps__0__period": "programme", "budget__per": "programme"}
    ledger = LedgerInMemory(policy_with(**TWO_YEARS, **changes))
    ledger.accept(exhausted_event(ENTERPRISE, period="2024"))
    assert ledger.decide(issue_event("V-1", time=IN_2024)).code == Code.QUOTA_CLOSED
    assert ledger.decide(issue_event("V-2", time=IN_2025)).accepted


def test_an_issue_refused_for_a_closed_quota_consumes_nothing_and_leaves_its_contract_free():
    ledger = LedgerInMemory(policy_with(**TWO_YEARS))
    ledger.accept(exhausted_event(ENTERPRISE, period="2024"))
    refused = ledger.decide(issue_event("V-1", time=IN_2024, contract_number="HT-1"))
    assert (refused.quota_used, refused.budget_remaining, refused.claim) == (0, 10_000_000_00, None)
    ledger.accept(issue_event("V-1", time=IN_2025, contract_number="HT-1", event_id="the next year"))


def test_closing_what_is_closed_stands_and_changes_nothing():
    ledger = LedgerInMemory(shipped()[CHENGDU])
    ledger.accept(exhausted_event(ENTERPRISE))
    assert ledger.take(exhausted_event(ENTERPRISE)) == Duplicate()
    before = set(ledger.book.closures)
    ledger.accept(exhausted_event(ENTERPRISE, event_id="again"))
    assert ledger.book.closures == before
    assert len(ledger.rows) == 2


def test_a_closure_of_what_is_no_enterprise_is_refused_and_closes_nothing():
    ledger = LedgerInMemory(shipped()[CHENGDU])
    decision = ledger.decide(exhausted_event("91510100MA0000001M"))
    assert (decision.accepted, decision.code) == (False, Code.ENTERPRISE_INVALID)
    assert decision.quota_used is decision.quota_limit is None
    assert ledger.book.closures == set()


@pytest.mark.parametrize("period", ["2024", "2031", "programme"])
def test_a_closure_counts_in_the_period_that_it_names(period):
    event = exhausted_event(ENTERPRISE, period=period)
    assert LedgerInMemory(shipped()[CHENGDU]).decide(event).period == period
