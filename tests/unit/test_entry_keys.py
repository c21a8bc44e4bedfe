import uuid

import pytest
from events_made import as_inbound, exhausted_event, issue_event, raw, redemption_event
from hypothesis import example, given
from hypothesis import strategies as st

from services.ledger.entry import KEY_BYTES, contract_claim, event_key, redemption_claim

SOURCE = "urn:uscc:91510100MA0000001L"
OTHER_SOURCE = "urn:uscc:91510100MA0000002P"
PRINTABLE_TEXT = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", codec="utf-8"))
IDS = PRINTABLE_TEXT.map(lambda text: text[:128]).filter(bool)
UUID_LIKE = st.text("0123456789abcdefABCDEF- gx７é", min_size=36, max_size=36).map(
    lambda text: f"{text[:14]}7{text[15:]}"
)


def uuid7(milliseconds, rest=0):
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | rest))


@given(IDS | UUID_LIKE)
@example("12 34 56-1234-7000-8000-000000000000")  # what looks like hexadecimal, with spaces in it
@example("0190163d-8694-739b-aea5-966c26f8ad91")
def test_a_key_has_16_bytes_and_is_always_the_same(event_id):
    assert event_key(SOURCE, event_id) == event_key(SOURCE, event_id)
    assert len(event_key(SOURCE, event_id)) == KEY_BYTES == 16


@given(IDS | UUID_LIKE)
def test_a_key_differs_by_source(event_id):
    assert event_key(SOURCE, event_id) != event_key(OTHER_SOURCE, event_id)


@given(IDS | UUID_LIKE, IDS | UUID_LIKE)
def test_a_key_differs_by_id(one, other):
    assert (event_key(SOURCE, one) == event_key(SOURCE, other)) == (one == other)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**62 - 1), st.integers(0, 2**62 - 1))
def test_two_time_ordered_ids_of_one_millisecond_differ(milliseconds, one, other):
    first, second = uuid7(milliseconds, one), uuid7(milliseconds, other)
    assert (event_key(SOURCE, first) == event_key(SOURCE, second)) == (one == other)
    assert event_key(SOURCE, first) != event_key(OTHER_SOURCE, first)


@given(st.lists(st.integers(0, 2**48 - 1), unique=True), st.integers(0, 2**62 - 1))
def test_the_keys_of_time_ordered_ids_keep_their_order(moments, rest):
    keys = [event_key(SOURCE, uuid7(milliseconds, rest)) for milliseconds in sorted(moments)]
    assert keys == sorted(keys)


@pytest.mark.parametrize("source", [SOURCE, OTHER_SOURCE])
def test_the_time_of_a_time_ordered_id_goes_first(source):
    key = event_key(source, "0190163d-8694-739b-aea5-966c26f8ad91")
    assert key[:6] == bytes.fromhex("0190163d8694")
    assert event_key(source, "0190163D-8694-739B-AEA5-966C26F8AD91")[:6] == key[:6]


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "0190163d-8694-439b-aea5-966c26f8ad91",  # a random UUID: version 4
        "0190163g-8694-739b-aea5-966c26f8ad91",  # no hexadecimal
        "０190163d-8694-739b-aea5-966c26f8ad91",  # a digit, but a full-width one
        "0190163d-8694-739b-aea5-966c26f8ad9",  # one character short
        "7",
        "事件-1",
    ],
)
def test_any_other_id_has_a_key_that_its_text_does_not_show(event_id):
    assert event_key(SOURCE, event_id)[:6] != bytes.fromhex("0190163d8694")
    assert len({event_key(source, event_id)[:6] for source in (SOURCE, OTHER_SOURCE)}) == 2


@given(st.sampled_from(["", "R-", "R-2024-", "订单"]), st.lists(st.integers(0, 10**9 - 1), unique=True))
def test_the_keys_of_numbers_that_are_counted_up_keep_their_order(before, counts):
    for make in (event_key, contract_claim, redemption_claim):
        keys = [make(SOURCE, f"{before}{count:09d}") for count in sorted(counts)]
        assert keys == sorted(keys)
        assert len(set(keys)) == len(keys)


def test_the_count_of_a_number_stands_behind_two_bytes_of_its_owner_and_series():
    keys = [redemption_claim(owner, f"{series}0017") for owner in (SOURCE, OTHER_SOURCE) for series in ("R-", "S-")]
    assert {key[2:6] for key in keys} == {(17).to_bytes(4, "big")}
    assert len({key[:2] for key in keys}) == 4
    assert redemption_claim(SOURCE, "R-9" * 40) != redemption_claim(SOURCE, "R-9" * 39 + "R-8")


def test_source_and_id_are_not_run_together():
    assert event_key("urn:a", "b1") != event_key("urn:ab", "1")


def test_a_contract_and_a_redemption_are_told_apart_by_provider_and_by_number():
    claims = {
        make(provider, number)
        for make in (contract_claim, redemption_claim)
        for provider in ("91510100MA0000001L", "91510100MA0000002P")
        for number in ("1", "2", "")
    }
    assert len(claims) == 12
    assert {len(claim) for claim in claims} == {KEY_BYTES}
    assert contract_claim("a", "b1") != contract_claim("ab", "1")


def test_an_event_comes_with_its_keys():
    issue, redemption, closure = issue_event("V-1"), redemption_event("V-1"), exhausted_event()
    assert as_inbound(issue).claim == contract_claim(issue["data"]["contract"]["provider"], "HT-V-1")
    assert as_inbound(redemption).claim == redemption_claim(redemption["data"]["provider"], "R-V-1-1")
    assert as_inbound(closure).claim is None
    for event in (issue, redemption, closure):
        inbound = as_inbound(event)
        assert inbound.key == event_key(event["source"], event["id"])
        assert inbound.raw == raw(event)
        assert inbound.event.id == event["id"]
