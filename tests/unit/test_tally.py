"""What a batch's line in the log counts, from the outcomes that the ledger gives."""

import pytest
from events_made import OTHER_ENTERPRISE, exhausted_event, issue_event, policy_with, redemption_event, shipped, uscc
from ledger_in_memory import LedgerInMemory

from schemas.codes import DeadLetterReason
from services.consumers.deadletters import DeadLetter
from services.consumers.tally import Tally, by_reason

CHENGDU = "chengdu-2024"


def tally_of(ledger: LedgerInMemory, *events) -> Tally:
    tally = Tally()
    tally.add(CHENGDU, [ledger.take(event) for event in events])
    return tally


@pytest.fixture
def ledger() -> LedgerInMemory:
    return LedgerInMemory(shipped()[CHENGDU])


def test_entries_are_counted_by_what_was_decided(ledger):
    tally = tally_of(
        ledger,
        *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(3)),
        issue_event("V3", amount="9999.99"),
        issue_event("V4", amount="9999.98"),
        issue_event("V0", contract_number="another", event_id="another"),
    )
    assert (tally.accepted, tally.refused) == (3, {"below_minimum": 2, "voucher_exists": 1})
    assert (tally.duplicates, tally.parked, tally.positions) == (0, 0, {CHENGDU: [1, 6]})


def test_what_made_no_entry_is_told_apart(ledger):
    ledger.accept(issue_event("V0"))
    tally = tally_of(
        ledger,
        issue_event("V0"),
        redemption_event("V9"),
        issue_event("V0", amount="20000.00"),  # the id of before, and something else
        issue_event("V1", enterprise=OTHER_ENTERPRISE),
    )
    assert (tally.accepted, tally.refused, tally.duplicates, tally.parked) == (1, {}, 1, 1)
    assert tally.positions == {CHENGDU: [2, 2]}


def test_a_batch_without_an_entry_has_no_positions(ledger):
    ledger.accept(issue_event("V0"))
    tally = tally_of(ledger, issue_event("V0"))
    assert (tally.accepted, tally.duplicates, tally.positions) == (0, 1, {})
    tally.add(CHENGDU, [])
    assert tally.positions == {}


def test_redemptions_that_an_issue_let_go_are_counted_with_it(ledger):
    waiting = [redemption_event("V1", number, amount="60000.00") for number in range(2)]
    assert tally_of(ledger, *waiting).parked == 2
    tally = tally_of(ledger, issue_event("V0"), issue_event("V1", enterprise=OTHER_ENTERPRISE))
    assert (tally.accepted, tally.refused) == (3, {"exceeds_voucher_balance": 1})
    assert tally.positions == {CHENGDU: [1, 4]}
    assert [row["position"] for row in ledger.rows] == [1, 2, 3, 4]


def test_what_was_cut_to_the_cap_stands():
    ledger = LedgerInMemory(policy_with(caps__0__on_cap="clamp"))
    tally = tally_of(ledger, issue_event("V0", amount="960000.00"), issue_event("V1", amount="50000.00"))
    assert ledger.rows[-1]["code"] == "clamped_to_cap"
    assert (tally.accepted, tally.refused) == (2, {})


def test_programmes_are_counted_together_but_keep_their_positions(ledger):
    tally = tally_of(ledger, issue_event("V0"))
    tally.add("another", [ledger.take(exhausted_event())])
    assert (tally.accepted, tally.positions) == (2, {CHENGDU: [1, 1], "another": [2, 2]})


def test_dead_letters_are_counted_by_their_reason():
    reasons = [DeadLetterReason.NOT_JSON, DeadLetterReason.WRONG_STREAM, DeadLetterReason.NOT_JSON]
    assert by_reason([DeadLetter(b"1-0", b"", one, "") for one in reasons]) == {"not_json": 2, "wrong_stream": 1}
