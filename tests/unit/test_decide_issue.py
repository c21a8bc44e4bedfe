"""Issues: each rule at its boundary. Which code is given when several are broken: test_issue_precedence."""

import pytest
from events_made import (
    ENTERPRISE,
    OTHER_ENTERPRISE,
    STRANGER,
    as_inbound,
    assumed,
    exhausted_event,
    issue_event,
    policy_with,
    providers_of,
    redemption_event,
    shipped,
    uscc,
)
from hypothesis import given
from hypothesis import strategies as st
from ledger_in_memory import RECORDED_AT, LedgerInMemory

from schemas.codes import Code
from services.ledger.calendar import add_months
from services.ledger.decide import decide, issue_period
from services.ledger.recompute import WholeBook

CHENGDU = "chengdu-2024"
CLAMP = {"caps__0__on_cap": "clamp"}
BOTH_YEARS = {"period__closes_on": "2025-12-31"}


def code_of(event, **changes):
    """Return the code that an issue gets as the first event of a programme."""
    programme = event["data"]["programme"]
    return LedgerInMemory(policy_with(programme, **changes)).decide(event).code


# ---- Chengdu's rules, as published ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("programme", list(shipped()))
def test_a_good_issue_stands_in_every_programme(programme):
    policy = shipped()[programme]
    decision = LedgerInMemory(policy).decide(issue_event("V-1", programme=programme, amount="10000.00"))
    assert (decision.accepted, decision.code) == (True, None)
    assert decision.granted == decision.amount == decision.voucher_remaining == decision.quota_used == 10_000_00
    assert decision.quota_limit == policy.cap.amount
    assert decision.budget_remaining == policy.budget.amount - 10_000_00
    assert (decision.voucher_id, decision.enterprise) == ("V-1", ENTERPRISE)
    assert decision.provider == providers_of(programme)[0]
    assert decision.payable is None


@pytest.mark.parametrize(
    ("fee", "amount", "code"),
    [
        ("19999.99", "9999.99", Code.BELOW_MINIMUM),
        ("20000.00", "10000.00", None),
        ("20000.00", "10000.01", Code.EXCEEDS_CONTRACT_SHARE),
        ("19999.99", "10000.00", Code.EXCEEDS_CONTRACT_SHARE),
        ("20000.01", "10000.00", None),
        ("20000.01", "10000.01", Code.EXCEEDS_CONTRACT_SHARE),  # half a fen is not rounded up
        ("20000.02", "10000.01", None),
    ],
)
def test_half_of_the_contracts_fee_and_at_least_10_000(fee, amount, code):
    assert code_of(issue_event("V-1", fee=fee, amount=amount)) == code


@pytest.mark.parametrize(
    ("organisation", "revenue", "code"),
    [
        ("enterprise", "9999999.99", Code.REVENUE_BELOW_MINIMUM),
        ("enterprise", "10000000.00", None),
        ("enterprise", "0.00", Code.REVENUE_BELOW_MINIMUM),
        ("enterprise", None, Code.REVENUE_BELOW_MINIMUM),
        ("university", "0.00", None),
        ("university", None, None),
        ("research_institution", None, None),
    ],
)
def test_the_revenue_floor_binds_enterprises_only(organisation, revenue, code):
    event = issue_event(
        "V-1", data__enterprise__organisation=organisation, data__enterprise__prior_year_revenue=revenue
    )
    assert code_of(event) == code


def test_the_revenue_floor_can_be_made_to_bind_universities():
    event = issue_event("V-1", data__enterprise__organisation="university", data__enterprise__prior_year_revenue=None)
    assert code_of(event, revenue__binds=["enterprise", "university"]) == Code.REVENUE_BELOW_MINIMUM


def issued_960_000(policy):
    ledger = LedgerInMemory(policy)
    ledger.accept(issue_event("V-1", amount="500000.00"), issue_event("V-2", amount="460000.00"))
    return ledger


def test_at_the_edge_of_the_cap_under_refuse():
    ledger = issued_960_000(shipped()[CHENGDU])
    refused = ledger.decide(issue_event("V-3", amount="50000.00"))
    assert (refused.accepted, refused.code, refused.granted) == (False, Code.EXCEEDS_ANNUAL_CAP, None)
    assert (refused.quota_used, refused.quota_limit) == (960_000_00, 1_000_000_00)
    assert refused.budget_remaining == 9_040_000_00
    assert refused.claim is refused.voucher_remaining is refused.valid_until is None
    assert ledger.decide(issue_event("V-4", amount="40000.01")).code == Code.EXCEEDS_ANNUAL_CAP
    last = ledger.decide(issue_event("V-5", amount="40000.00"))
    assert (last.accepted, last.quota_used, last.budget_remaining) == (True, 1_000_000_00, 9_000_000_00)


def test_at_the_edge_of_the_cap_under_clamp():
    ledger = issued_960_000(policy_with(**CLAMP))
    clamped = ledger.decide(issue_event("V-3", amount="50000.00"))
    assert (clamped.accepted, clamped.code) == (True, Code.CLAMPED_TO_CAP)
    assert (clamped.amount, clamped.granted, clamped.voucher_remaining) == (50_000_00, 40_000_00, 40_000_00)
    assert (clamped.quota_used, clamped.budget_remaining) == (1_000_000_00, 9_000_000_00)
    other = ledger.decide(issue_event("V-4", amount="10000.00", enterprise=OTHER_ENTERPRISE))
    assert other.budget_remaining == 8_990_000_00
    assert ledger.decide(redemption_event("V-3", amount="40000.01")).code == Code.EXCEEDS_VOUCHER_BALANCE
    assert ledger.decide(redemption_event("V-3", 2, amount="40000.00")).accepted


def test_an_amount_that_fits_is_not_clamped():
    assert issued_960_000(policy_with(**CLAMP)).decide(issue_event("V-3", amount="40000.00")).code is None


@pytest.mark.parametrize(
    ("rest", "minimum", "code", "granted"),
    [
        ("10000.00", {"amount": "10000.00", "binds": "granted"}, Code.CLAMPED_TO_CAP, 10_000_00),
        ("9999.99", {"amount": "10000.00", "binds": "granted"}, Code.BELOW_MINIMUM, None),
        ("9999.99", {"amount": "10000.00", "binds": "computed"}, Code.CLAMPED_TO_CAP, 9_999_99),
        ("0.01", None, Code.CLAMPED_TO_CAP, 1),
        (None, {"amount": "10000.00", "binds": "granted"}, Code.BELOW_MINIMUM, None),
        (None, {"amount": "10000.00", "binds": "computed"}, Code.EXCEEDS_ANNUAL_CAP, None),
        (None, None, Code.EXCEEDS_ANNUAL_CAP, None),
    ],
)
def test_what_is_left_under_the_cap_may_be_too_little_to_be_granted(rest, minimum, code, granted):
    policy = policy_with(minimum=minimum and assumed(**minimum), **CLAMP)
    book = WholeBook(quotas={(ENTERPRISE, "2024"): policy.cap.amount - round(float(rest or 0) * 100)})
    decision = decide(book, policy, as_inbound(issue_event("V-1", amount="20000.00")), RECORDED_AT)
    assert (decision.code, decision.granted, decision.accepted) == (code, granted, granted is not None)


def test_ten_of_eleven_units_of_a_million_stand_against_a_budget_of_ten_million():
    ledger = LedgerInMemory(shipped()[CHENGDU])
    decisions = [ledger.decide(issue_event(f"V-{n}", amount="1000000.00", enterprise=uscc(n))) for n in range(11)]
    assert [decision.accepted for decision in decisions] == [True] * 10 + [False]
    assert [decision.budget_remaining for decision in decisions] == [n * 1_000_000_00 for n in range(9, -1, -1)] + [0]
    assert (decisions[10].code, decisions[10].quota_used) == (Code.EXCEEDS_BUDGET, 0)


def test_the_budget_is_used_to_the_last_fen():
    ledger = LedgerInMemory(policy_with(budget__amount="30000.00"))
    ledger.accept(issue_event("V-1", amount="20000.00"))
    assert ledger.decide(issue_event("V-2", amount="10000.01")).code == Code.EXCEEDS_BUDGET
    ledger.accept(issue_event("V-3", amount="10000.00"))


def test_a_clamped_amount_is_what_the_budget_is_asked_for():
    ledger = LedgerInMemory(policy_with(budget__amount="1100000.00", **CLAMP))
    ledger.accept(issue_event("V-1", amount="950000.00"))
    ledger.accept(issue_event("V-2", amount="100000.01", enterprise=OTHER_ENTERPRISE))
    assert ledger.decide(issue_event("V-3", amount="60000.00")).code == Code.EXCEEDS_BUDGET
    ledger = LedgerInMemory(policy_with(budget__amount="1000000.00", **CLAMP))
    ledger.accept(issue_event("V-1", amount="950000.00"))
    assert ledger.decide(issue_event("V-2", amount="60000.00")).granted == 50_000_00


# ---- Days, years and periods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("2023-12-31T15:59:59.999999Z", Code.PROGRAMME_NOT_OPEN),
        ("2023-12-31T16:00:00Z", None),
        ("2024-01-01T00:00:00+08:00", None),
        ("2024-12-31T15:59:59.999999Z", None),
        ("2024-12-31T16:00:00Z", Code.PROGRAMME_CLOSED),
        ("2024-12-31T23:59:59-08:00", Code.PROGRAMME_CLOSED),
    ],
)
def test_a_programme_is_open_on_its_own_days(time, code):
    assert code_of(issue_event("V-1", time=time)) == code


def test_the_year_turns_at_16_00_utc_on_31_december():
    beijing = "beijing-2023-2025"
    policy = policy_with(beijing, budget__amount="2000000.00")
    ledger = LedgerInMemory(policy)

    def issue(voucher_id, amount, time, enterprise=ENTERPRISE):
        event = issue_event(voucher_id, programme=beijing, amount=amount, time=time, enterprise=enterprise)
        decision = ledger.decide(event)
        assert issue_period(policy, as_inbound(event).event, RECORDED_AT) == decision.period
        return decision.period, decision.code, decision.quota_used, decision.budget_remaining

    old, new = "2024-12-31T15:59:59.999999Z", "2024-12-31T16:00:00Z"
    assert issue("V-1", "2000000.00", old) == ("2024", None, 2_000_000_00, 0)
    assert issue("V-2", "0.01", old) == ("2024", Code.EXCEEDS_ANNUAL_CAP, 2_000_000_00, 0)
    assert issue("V-3", "0.01", old, OTHER_ENTERPRISE) == ("2024", Code.EXCEEDS_BUDGET, 0, 0)
    assert issue("V-4", "1999999.99", new) == ("2025", None, 1_999_999_99, 1)
    assert issue("V-5", "0.01", "2025-01-01T00:00:00+08:00") == ("2025", None, 2_000_000_00, 0)
    assert issue("V-6", "0.01", "2024-01-01T00:00:00+08:00")[1] == Code.EXCEEDS_ANNUAL_CAP


@pytest.mark.parametrize(
    ("attribution", "period"), [("occurred_at", "2025"), ("recorded_at", "2024"), ("contract_signed_on", "2023")]
)
def test_a_year_is_that_of_the_date_that_the_policy_names(attribution, period):
    policy = policy_with(period__opens_on="2023-01-01", period__attribution=attribution, period__closes_on="2025-12-31")
    event = issue_event("V-1", time="2025-02-01T00:00:00Z", data__contract__signed_on="2023-06-01")
    decision = decide(WholeBook(), policy, as_inbound(event), RECORDED_AT)
    assert (decision.period, decision.code) == (period, None)
    assert issue_period(policy, as_inbound(event).event, RECORDED_AT) == period


def test_a_cap_and_a_budget_may_count_over_the_whole_programme():
    changes = {"caps__0__period": "programme", "budget__per": "programme", "budget__amount": "1500000.00"}
    ledger = LedgerInMemory(policy_with(**BOTH_YEARS, **changes))
    ledger.accept(issue_event("V-1", amount="900000.00", time="2024-03-01T00:00:00Z"))
    decision = ledger.decide(issue_event("V-2", amount="100000.01", time="2025-03-01T00:00:00Z"))
    assert (decision.period, decision.code) == ("programme", Code.EXCEEDS_ANNUAL_CAP)
    event = issue_event("V-3", amount="600000.01", enterprise=OTHER_ENTERPRISE, time="2025-03-01T00:00:00Z")
    assert ledger.decide(event).code == Code.EXCEEDS_BUDGET


def test_a_cap_by_the_year_under_a_budget_for_the_whole_programme():
    ledger = LedgerInMemory(policy_with(**BOTH_YEARS, budget__per="programme", budget__amount="1500000.00"))
    ledger.accept(issue_event("V-1", amount="1000000.00", time="2024-03-01T00:00:00Z"))
    decision = ledger.decide(issue_event("V-2", amount="500000.01", time="2025-03-01T00:00:00Z"))
    assert (decision.period, decision.code) == ("2025", Code.EXCEEDS_BUDGET)
    assert (decision.quota_used, decision.budget_remaining) == (0, 500_000_00)


def test_a_programme_without_a_cap():
    decision = LedgerInMemory(policy_with(caps=[])).decide(issue_event("V-1", amount="10000000.00"))
    assert (decision.accepted, decision.quota_limit, decision.quota_used) == (True, None, 10_000_000_00)


@pytest.mark.parametrize(
    ("rule", "stated", "last"),
    [
        (None, None, None),
        (None, "2024-08-01", "2024-08-01"),
        (assumed(months=6), None, "2024-11-06"),
        (assumed(months=6), "2024-08-01", "2024-08-01"),
        (assumed(days=10, until="2024-05-12"), None, "2024-05-12"),
    ],
)
def test_a_voucher_is_valid_from_its_issue(rule, stated, last):
    decision = LedgerInMemory(policy_with(validity=rule)).decide(issue_event("V-1", data__valid_until=stated))
    assert str(decision.valid_until) == str(last)


@pytest.mark.parametrize("attribution", ["occurred_at", "recorded_at", "contract_signed_on"])
def test_a_voucher_is_valid_from_its_issue_whatever_date_its_cap_counts_on(attribution):
    policy = policy_with(period__attribution=attribution, validity=assumed(months=3))
    event = issue_event("V-1", time="2024-11-05T10:00:00+08:00", data__contract__signed_on="2024-01-10")
    issued_on = as_inbound(event).event.time.date()
    assert decide(WholeBook(), policy, as_inbound(event), RECORDED_AT).valid_until == add_months(issued_on, 3)


# ---- Each of the other rules ---------------------------------------------------------------------------------------------

TERM = {"contract__term_months_max": 12}
WINDOW = {"contract__signed_from": "2024-02-01", "contract__signed_until": "2024-04-30"}


@pytest.mark.parametrize(
    ("changes", "fields", "code"),
    [
        ({}, {"data__enterprise__uscc": "91510100MA0000001M"}, Code.ENTERPRISE_INVALID),
        ({}, {"data__enterprise__uscc": uscc(1).lower()}, Code.ENTERPRISE_INVALID),
        ({}, {"data__enterprise__uscc": "成都"}, Code.ENTERPRISE_INVALID),
        (
            {"applicants__organisations": ["enterprise"]},
            {"data__enterprise__organisation": "university"},
            Code.ORGANISATION_NOT_ELIGIBLE,
        ),
        ({"applicants__sizes": ["small", "micro"]}, {"data__enterprise__size": "large"}, Code.SIZE_NOT_ELIGIBLE),
        ({"applicants__sizes": ["small", "micro"]}, {"data__enterprise__size": None}, Code.SIZE_NOT_ELIGIBLE),
        ({"applicants__sizes": ["small", "micro"]}, {"data__enterprise__size": "micro"}, None),
        ({}, {"data__enterprise__size": None}, None),
        ({"applicants__industries": ["金融"]}, {"data__enterprise__industry": "教育"}, Code.INDUSTRY_NOT_ELIGIBLE),
        ({"applicants__industries": ["金融"]}, {"data__enterprise__industry": None}, Code.INDUSTRY_NOT_ELIGIBLE),
        ({"applicants__industries": ["金融"]}, {"data__enterprise__industry": "金融"}, None),
        ({"applicants__regions": ["河南省"]}, {"data__enterprise__region": "四川省"}, Code.REGION_NOT_ELIGIBLE),
        ({"applicants__regions": ["河南省"]}, {"data__enterprise__region": None}, Code.REGION_NOT_ELIGIBLE),
        ({"applicants__regions": ["河南省"]}, {"data__enterprise__region": "河南省"}, None),
        ({"revenue": None}, {"data__enterprise__prior_year_revenue": None}, None),
        ({}, {"data__contract__provider": STRANGER}, Code.PROVIDER_NOT_ACCREDITED),
        ({}, {"data__contract__provider": providers_of(CHENGDU)[1]}, None),
        (WINDOW, {"data__contract__signed_on": "2024-01-31"}, Code.CONTRACT_NOT_ELIGIBLE),
        (WINDOW, {"data__contract__signed_on": "2024-02-01"}, None),
        (WINDOW, {"data__contract__signed_on": "2024-04-30"}, None),
        (WINDOW, {"data__contract__signed_on": "2024-05-01"}, Code.CONTRACT_NOT_ELIGIBLE),
        (TERM, {"data__contract__ends_on": "2025-05-01"}, None),
        (TERM, {"data__contract__ends_on": "2025-05-02"}, Code.CONTRACT_NOT_ELIGIBLE),
        (TERM, {}, None),  # an end that is not said breaks no rule
        ({}, {"data__contract__ends_on": "2099-12-31"}, None),
        ({}, {"data__kind": "in_kind"}, Code.KIND_NOT_OFFERED),
        ({"maximum": assumed(amount="100000.00")}, {"data__amount": "100000.00"}, None),
        ({"maximum": assumed(amount="100000.00")}, {"data__amount": "100000.01"}, Code.ABOVE_MAXIMUM),
        ({"minimum": None}, {"data__amount": "0.01"}, None),
        ({"minimum": assumed(amount="10000.00", binds="computed")}, {"data__amount": "9999.99"}, Code.BELOW_MINIMUM),
    ],
)
def test_a_rule_at_its_boundary(changes, fields, code):
    assert code_of(issue_event("V-1", **fields), **changes) == code


def test_a_contract_is_for_one_voucher_of_its_provider():
    ledger = LedgerInMemory(shipped()[CHENGDU])
    here, there = providers_of(CHENGDU)
    refused = issue_event("V-0", amount="9999.99", provider=here, contract_number="HT-1")
    assert ledger.decide(refused).code == Code.BELOW_MINIMUM  # which leaves the contract as it was
    ledger.accept(issue_event("V-1", provider=here, contract_number="HT-1"))
    again = issue_event("V-2", provider=here, contract_number="HT-1", enterprise=OTHER_ENTERPRISE)
    assert ledger.decide(again).code == Code.CONTRACT_ALREADY_USED
    ledger.accept(issue_event("V-3", provider=there, contract_number="HT-1"))


def test_a_contract_may_be_for_more_vouchers_where_the_policy_says_so():
    ledger = LedgerInMemory(policy_with(contract__one_voucher_each=False))
    for voucher_id in ("V-1", "V-2"):
        decision = ledger.decide(issue_event(voucher_id, contract_number="HT-1"))
        assert (decision.accepted, decision.claim) == (True, None)


def test_a_voucher_is_issued_once():
    ledger = LedgerInMemory(shipped()[CHENGDU])
    ledger.accept(issue_event("V-1"))
    again = issue_event("V-1", enterprise=OTHER_ENTERPRISE, contract_number="HT-2", event_id="another")
    decision = ledger.decide(again)
    assert (decision.code, decision.quota_used) == (Code.VOUCHER_EXISTS, 0)


RATES = [
    assumed(share="0.30", when={"sizes": ["large"]}),
    assumed(share="0.60", when={"organisations": ["university"], "regions": ["四川省"]}),
    assumed(share="0.20", when={"industries": ["金融"], "kinds": ["cash"]}),
]


@pytest.mark.parametrize(
    ("applicant", "share"),
    [
        ({"size": "large"}, 30),
        ({"size": "large", "organisation": "university"}, 30),  # the first that matches is the one
        ({"organisation": "university"}, 60),
        ({"organisation": "university", "region": "河南省", "industry": "金融"}, 20),
        ({"industry": "金融"}, 20),
        ({"size": None, "industry": "金融"}, 20),
        ({}, 0),  # no rate is for this applicant
    ],
)
def test_the_first_rate_that_matches_is_the_one(applicant, share):
    fields = {f"data__enterprise__{name}": value for name, value in applicant.items()}
    for amount, code in (("%d000.00", None), ("%d000.01", Code.EXCEEDS_CONTRACT_SHARE)):
        event = issue_event("V-1", amount=amount % share if share else "1.00", fee="100000.00", **fields)
        expected = code if share else Code.EXCEEDS_CONTRACT_SHARE
        assert code_of(event, rates=RATES, minimum=None) == expected


def test_a_rate_may_be_for_one_kind_of_voucher():
    rates = [assumed(share="0.30", when={"kinds": ["in_kind"]}), assumed(share="0.50")]
    policy = policy_with(rates=rates, kinds__in_kind=assumed(covers=["goods"]))
    ledger = LedgerInMemory(policy)
    over = issue_event("V-1", amount="30000.01", fee="100000.00", data__kind="in_kind")
    assert ledger.decide(over).code == Code.EXCEEDS_CONTRACT_SHARE
    ledger.accept(issue_event("V-2", amount="50000.00", fee="100000.00"))
    ledger.accept(issue_event("V-3", amount="30000.00", fee="100000.00", data__kind="in_kind"))


@given(st.integers(1, 10**15), st.integers(1, 10**15), st.sampled_from(["0.333333", "0.50", "1", "0.000001"]))
def test_the_share_is_exact_in_whole_fen(fee, amount, share):
    policy = policy_with(rates__0__share=share, minimum=None, caps=[], budget__amount="10000000000000.00")
    event = issue_event("V-1", amount=f"{amount // 100}.{amount % 100:02d}", fee=f"{fee // 100}.{fee % 100:02d}")
    millionths = {"0.333333": 333_333, "0.50": 500_000, "1": 1_000_000, "0.000001": 1}[share]
    fits = amount <= fee * millionths // 1_000_000
    decision = decide(WholeBook(), policy, as_inbound(event), RECORDED_AT)
    assert decision.code == (None if fits else Code.EXCEEDS_CONTRACT_SHARE)


def test_deciding_changes_nothing_in_the_book():
    book = WholeBook()
    decide(book, shipped()[CHENGDU], as_inbound(issue_event("V-1")), RECORDED_AT)
    decide(book, shipped()[CHENGDU], as_inbound(exhausted_event()), RECORDED_AT)
    assert book == WholeBook()
