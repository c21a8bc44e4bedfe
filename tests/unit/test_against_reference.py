"""Whatever happens, in whatever order: the ledger says what a plain model, written from the contract alone, says."""

import json
import os
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import cache

from events_made import (
    as_inbound,
    assumed,
    exhausted_event,
    issue_event,
    policy_with,
    providers_of,
    redemption_event,
    uscc,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledger_in_memory import RECORDED_AT, LedgerInMemory, origin_of
from reference import FIGURES, Reference

from schemas.codes import DeadLetterReason
from services.ledger.batch import Decided, Duplicate, Rejected, Waiting

# A run's length says nothing on a machine that others use too, so no example has a deadline. Explaining a failure, beyond the
# smallest history that shows it, would take minutes and add nothing.
UNHURRIED = settings(
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    phases=[phase for phase in Phase if phase != Phase.explain],
)

ENTERPRISES = [uscc(1), uscc(2), uscc(3), "91510100MA0000001M"]  # the last one's check digit is wrong
PROVIDERS = [*providers_of("chengdu-2024"), uscc(9)]  # the last one is not accredited
VOUCHERS = [f"V-{number}" for number in range(6)]
TIMES = [
    "2023-12-31T15:59:59.999999Z",
    "2023-12-31T16:00:00Z",
    "2024-06-15T12:00:00+08:00",
    "2024-06-30T23:30:00Z",
    "2024-12-31T15:59:59.999999Z",
    "2024-12-31T16:00:00Z",
    "2025-03-01T00:00:00-08:00",
    "2025-12-31T15:59:59Z",
    "2025-12-31T16:00:00Z",
]
AMOUNTS = ["9.99", "10.00", "15.00", "30.00", "40.00", "45.01", "60.00", "60.01"]
USES = ["0.01", "5.00", "10.00", "20.00", "30.00", "60.00"]
MONEY = {
    "amount", "granted", "voucher_remaining", "quota_used", "quota_limit", "budget_remaining", "payable",
}  # fmt: skip


@cache
def small_programme(
    on_cap, binds, budget_per, cap_period, redeemed_by, attribution, one_voucher_each, validity_days, in_kind
):
    """Chengdu's rules over two years, with limits so small that a few vouchers reach them, and its switches set otherwise."""
    kinds = {"kinds__in_kind": assumed(covers=["goods"], providers=PROVIDERS[1:2])} if in_kind else {}
    return policy_with(
        period__closes_on="2025-12-31",
        contract__signed_from="2023-01-01",
        period__attribution=attribution,
        budget__amount="250.00",
        budget__per=budget_per,
        providers__redeemed_by=redeemed_by,
        contract__one_voucher_each=one_voucher_each,
        minimum=assumed(amount="10.00", binds=binds),
        maximum=assumed(amount="60.00"),
        rates=[assumed(share="0.60", when={"organisations": ["university"]}), assumed(share="0.50")],
        caps=[assumed(stage="issue", period=cap_period, amount="100.00", on_cap=on_cap)] if on_cap else [],
        validity=assumed(days=validity_days) if validity_days else None,
        **kinds,
    )


PROGRAMMES = st.tuples(
    st.sampled_from(["refuse", "refuse", "clamp", "clamp", None]),
    st.sampled_from(["granted", "computed"]),
    # A budget by the year with a cap over the whole programme is a combination that no programme may ask for.
    st.sampled_from([("programme", "year"), ("year", "year"), ("programme", "programme")]),
    st.sampled_from(["accredited", "contract"]),
    st.sampled_from(["occurred_at", "recorded_at"]),
    st.booleans(),
    st.sampled_from([None, 180]),
    st.booleans(),
).map(lambda choice: small_programme(*choice[:2], *choice[2], *choice[3:]))

SOMETIMES_A_STRANGER = st.sampled_from([*PROVIDERS[:2] * 4, PROVIDERS[2]])
APPLICANTS = st.sampled_from(
    [
        *[{}] * 4,
        {"data__enterprise__organisation": "university", "data__enterprise__prior_year_revenue": None},
        {"data__enterprise__prior_year_revenue": "9999999.99"},
        {"data__enterprise__prior_year_revenue": "10000000.00"},
        {"data__contract__signed_on": "2022-12-31"},
    ]
)
IN_BOTH_YEARS = st.sampled_from(TIMES[1:-1])


def in_yuan(row):
    """Return what the ledger wrote in a row, as the reference says it."""
    source, event_id = origin_of(row)
    figures = {name: row[name] for name in FIGURES}
    figures |= {name: Decimal(row[name]) / 100 for name in MONEY if row[name] is not None}
    fate = "accepted" if row["accepted"] else "refused"
    return {"fate": fate, "source": source, "id": event_id, "position": row["position"], **figures}


class LedgerAndReference(RuleBasedStateMachine):
    """Events of all kinds, good and bad, first and again, against both."""

    @initialize(policy=PROGRAMMES)
    def open(self, policy):
        self.policy = policy
        self.ledger = LedgerInMemory(policy)
        self.reference = Reference(policy)
        self.sent = []

    def both(self, event):
        """Let both take the event, compare all they say, and return what it was."""
        before = len(self.ledger.rows)
        outcome = self.ledger.take(event)
        first, *freed = self.reference.take(event, self.ledger.batch.recorded_at)
        written = [in_yuan(row) for row in self.ledger.rows[before:]]
        match outcome:
            case Decided():
                assert written == [first, *freed]
                assert outcome.position == first["position"]
                assert (outcome.decision.accepted, outcome.decision.code) == (
                    first["fate"] == "accepted", first["code"],
                )  # fmt: skip
            case Duplicate():
                assert (first["fate"], written, freed) == ("duplicate", [], [])
            case Waiting():
                assert (first["fate"], written, freed) == ("parked", [], [])
            case Rejected():
                assert (first["fate"], written, freed) == ("conflict", [], [])
                assert outcome.reason == DeadLetterReason.ID_REUSED_WITH_OTHER_CONTENT
        return first["fate"]

    def first_time(self, event):
        self.sent.append(event)
        assert self.both(event) not in {"duplicate", "conflict"}

    @rule(
        voucher=st.sampled_from(VOUCHERS),
        enterprise=st.sampled_from([*ENTERPRISES[:3] * 3, ENTERPRISES[3]]),
        applicant=APPLICANTS,
        provider=SOMETIMES_A_STRANGER,
        kind=st.sampled_from(["cash", "cash", "in_kind"]),
        amount=st.sampled_from(AMOUNTS),
        fee=st.sampled_from(["120.00", "120.00", "120.02", "60.00", "15.00"]),
        contract=st.sampled_from([None, None, "HT-1", "HT-2"]),
        time=st.sampled_from(TIMES),
        until=st.sampled_from([None, None, "2024-12-31"]),
    )
    def issue(self, voucher, enterprise, applicant, provider, kind, amount, fee, contract, time, until):
        number = len(self.sent)
        self.first_time(
            issue_event(
                voucher, amount=amount, enterprise=enterprise, fee=fee, provider=provider, time=time,
                contract_number=contract or f"HT-of-{number}", event_id=f"event-{number}",
                data__kind=kind, data__valid_until=until, **applicant,
            )
        )  # fmt: skip

    # An event with something wrong in every other place seldom comes as far as the limits; these do.
    @rule(
        enterprise=st.sampled_from(ENTERPRISES[:2]),
        amount=st.sampled_from(["10.00", "30.00", "45.01", "60.00", "60.00"]),
        time=IN_BOTH_YEARS,
    )
    def issue_within_the_rules(self, enterprise, amount, time):
        number = len(self.sent)
        self.first_time(
            issue_event(
                f"V-{number}", amount=amount, enterprise=enterprise, fee="120.02", time=time, event_id=f"event-{number}"
            )
        )

    @precondition(lambda self: self.reference.waiting)
    @rule(which=st.integers(0, 10**6), amount=st.sampled_from(["10.00", "30.00", "60.00"]), time=IN_BOTH_YEARS)
    def issue_what_is_waited_for(self, which, amount, time):
        number, waiting = len(self.sent), self.reference.waiting
        voucher_id = waiting[which % len(waiting)]["data"]["voucher_id"]
        self.first_time(
            issue_event(
                voucher_id, amount=amount, enterprise=ENTERPRISES[number % 3], fee="120.02", time=time,
                contract_number=f"HT-of-{number}", event_id=f"event-{number}",
            )
        )  # fmt: skip

    @precondition(lambda self: self.reference.standing("issued"))
    @rule(
        which=st.integers(0, 10**6),
        amount=st.sampled_from(USES),
        provider=st.sampled_from(PROVIDERS[:2]),
        redemption=st.sampled_from([None, None, "R-1"]),
        time=IN_BOTH_YEARS,
    )
    def use_what_was_issued(self, which, amount, provider, redemption, time):
        number, issued = len(self.sent), self.reference.standing("issued")
        self.first_time(
            redemption_event(
                issued[which % len(issued)]["voucher_id"], amount=amount, provider=provider, time=time,
                redemption_id=redemption or f"R-of-{number}", event_id=f"event-{number}",
            )
        )  # fmt: skip

    @rule(
        voucher=st.sampled_from(VOUCHERS),
        provider=SOMETIMES_A_STRANGER,
        amount=st.sampled_from(USES),
        redemption=st.sampled_from([None, None, None, "R-1"]),
        item=st.sampled_from(["compute", "compute", None, "goods"]),
        time=st.sampled_from(TIMES),
    )
    def redeem(self, voucher, provider, amount, redemption, item, time):
        number = len(self.sent)
        self.first_time(
            redemption_event(
                voucher, amount=amount, provider=provider, redemption_id=redemption or f"R-of-{number}", time=time,
                event_id=f"event-{number}", data__item=item,
            )
        )  # fmt: skip

    # Seldom, or a whole run would be refused.
    @precondition(lambda self: len(self.sent) % 8 == 7)
    @rule(
        enterprise=st.sampled_from([*ENTERPRISES, *ENTERPRISES, None]),
        period=st.sampled_from(["2024", "2025", "programme"]),
    )
    def close(self, enterprise, period):
        self.first_time(exhausted_event(enterprise, period=period, event_id=f"event-{len(self.sent)}"))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 10**6), spelling=st.sampled_from(["same bytes", "other order", "an extra attribute"]))
    def deliver_again(self, which, spelling):
        event = self.sent[which % len(self.sent)]
        if spelling == "other order":
            event = dict(reversed(event.items()))
        elif spelling == "an extra attribute":
            event = {**event, "traceparent": "00-1"}
        assert self.both(event) == "duplicate"

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 10**6))
    def use_its_id_for_another_event(self, which):
        event = self.sent[which % len(self.sent)]
        assert self.both({**event, "time": "2024-07-07T07:07:07Z"}) == "conflict"

    @precondition(lambda self: self.reference.waiting)
    @rule(which=st.integers(0, 10**6))
    def end_a_wait(self, which):
        waiting = self.reference.waiting[which % len(self.reference.waiting)]
        (event,) = (one for one in self.sent if one["id"] == waiting["id"])
        row = self.ledger.end_wait(event)
        assert in_yuan(row) == self.reference.end_wait(waiting["source"], waiting["id"])
        assert row["code"] == "voucher_unknown"

    @rule(days=st.sampled_from([0, 1, 60]))
    def commit(self, days):
        self.ledger.next_batch(self.ledger.batch.recorded_at + timedelta(days))

    @invariant()
    def nothing_is_negative_or_over_its_limit(self):
        for row in self.ledger.rows:
            assert all(row[name] >= 0 for name in MONEY if row[name] is not None)
            assert row["quota_limit"] is None or row["quota_used"] <= row["quota_limit"]
            if row["accepted"] and row["kind"] == "issued":
                assert 0 < row["granted"] <= row["amount"]

    @invariant()
    def positions_have_no_gap(self):
        assert [row["position"] for row in self.ledger.rows] == list(range(1, self.ledger.book.position + 1))

    @invariant()
    def what_was_used_up_was_used_up_once(self):
        for row in self.ledger.rows:
            assert row["claim"] is None or row["accepted"]
        claims = Counter(row["claim"] for row in self.ledger.rows if row["claim"] is not None)
        assert all(count == 1 for count in claims.values())

    @invariant()
    def refused_events_consume_nothing_and_sums_agree(self):
        book, policy = self.ledger.book, self.policy
        issued, quotas, payables, remaining = Counter(), Counter(), Counter(), Counter()
        for row in self.ledger.rows:
            if row["accepted"] and row["kind"] == "issued":
                issued["programme" if policy.budget.per == "programme" else row["period"]] += row["granted"]
                quotas[row["enterprise"], row["period"]] += row["granted"]
                remaining[row["voucher_id"]] += row["granted"]
            elif row["accepted"] and row["kind"] == "redeemed":
                payables[row["provider"]] += row["amount"]
                remaining[row["voucher_id"]] -= row["amount"]
        assert book.issued_by_period == issued
        assert book.quotas == quotas
        assert book.payables == payables
        assert {voucher_id: voucher.remaining for voucher_id, voucher in book.vouchers.items()} == remaining
        assert all(amount <= policy.budget.amount for amount in issued.values())


LedgerAndReference.TestCase.settings = settings(UNHURRIED, max_examples=250, stateful_step_count=40)
test_ledger_and_reference_agree = LedgerAndReference.TestCase


@st.composite
def histories(draw):
    """Draw one issue with uses that all fit on it, in any order, some of them delivered more than once."""
    uses = draw(st.lists(st.sampled_from(["0.01", "5.00", "7.50", "12.00"]), min_size=1, max_size=5))
    issue = issue_event("V-1", amount="60.00", fee="120.00")
    redemptions = [
        redemption_event("V-1", number, amount=amount, provider=draw(st.sampled_from(PROVIDERS[:2])))
        for number, amount in enumerate(uses)
    ]
    events = [issue, *redemptions]
    again = draw(st.lists(st.sampled_from(events), max_size=4))
    return events, draw(st.permutations(events + again))


def final_figures(events, commits):
    policy = small_programme("refuse", "granted", "year", "year", "accredited", "occurred_at", True, None, False)
    ledger = LedgerInMemory(policy)
    for number, event in enumerate(events):
        ledger.take(event)
        if number in commits:
            ledger.next_batch(RECORDED_AT + timedelta(number))
    book, rows = ledger.book, ledger.rows
    assert not any(ledger.batch.waiting.values())
    assert all(row["accepted"] for row in rows)
    return book.position, book.issued_by_period, book.quotas, book.payables, book.vouchers["V-1"], book.claims, sorted(
        json.dumps(origin_of(row)) for row in rows
    )  # fmt: skip


@settings(UNHURRIED, max_examples=150)
@given(history=histories(), commits=st.sets(st.integers(0, 9)))
def test_any_order_of_an_issue_and_its_redemptions_gives_the_same_final_figures(history, commits):
    events, shuffled = history
    assert final_figures(shuffled, commits) == final_figures(events, set())


def test_waiting_redemptions_are_decided_longest_waiting_first():
    policy = small_programme("refuse", "granted", "year", "year", "accredited", "occurred_at", True, None, False)
    ledger = LedgerInMemory(policy)
    for number in (3, 1, 2):
        assert ledger.take(redemption_event("V-1", number, amount="30.00")) == Waiting()
    ledger.accept(issue_event("V-1", amount="60.00", fee="120.00"))
    assert [(json.loads(row["event"])["id"], row["code"]) for row in ledger.rows] == [
        ("issue-V-1", None),
        ("redemption-V-1-3", None),
        ("redemption-V-1-1", None),
        ("redemption-V-1-2", "exceeds_voucher_balance"),
    ]
    assert as_inbound(redemption_event("V-1", 3, amount="30.00")).key in ledger.batch.known
