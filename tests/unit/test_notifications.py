"""What follows from an entry: when a quota is warned of, when it is exhausted, and the one event that says so."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from events_made import ENTERPRISE, assumed, issue_event, policy_with, raw

from schemas.decoding import decode
from schemas.events import EXHAUSTED
from schemas.notifications import Notification
from services.notifications import (
    exhausted_event,
    exhausted_event_id,
    exhausts,
    moment_text,
    notification,
    quota_warning,
)

LIMIT = 1_000_000_00
SMALLEST = 10_000_00


def issue_row(used: int, granted: int | None, limit: int | None = LIMIT, **columns: object) -> dict:
    """Return an entry of an issue, after which so much is used."""
    return {
        "programme": "chengdu-2024", "position": 7, "recorded_at": datetime(2024, 5, 6, 2, tzinfo=UTC), "kind": "issued",
        "accepted": granted is not None, "code": None if granted is not None else "exceeds_annual_cap", "voucher_id": "V0",
        "enterprise": ENTERPRISE, "provider": None, "period": "2024", "amount": granted or 1, "granted": granted,
        "voucher_remaining": granted, "quota_used": used, "quota_limit": limit, "budget_remaining": 0, "payable": None,
        "event": raw(issue_event("V0")), "leaf": bytes(32), **columns,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "warning"),
    [
        (0, 79_99, None),
        (0, 80_00, 80),
        (79_99, 80_00, 80),
        (80_00, 80_01, None),
        (80_00, 94_99, None),
        (80_00, 95_00, 95),
        (94_99, 95_00, 95),
        (95_00, 100_00, None),
        (0, 100_00, 95),
        (79_99, 95_00, 95),
    ],
)
def test_a_quota_is_warned_of_by_the_entry_that_brings_it_there_and_by_no_other(before, after, warning):
    assert quota_warning(issue_row(after, after - before, limit=100_00)) == warning


def test_shares_are_not_rounded():
    """80 % of 0.99 yuan is 79.2 fen: 79 are not there yet."""
    assert quota_warning(issue_row(79, 1, limit=99)) is None
    assert quota_warning(issue_row(80, 1, limit=99)) == 80


@pytest.mark.parametrize("row", [issue_row(LIMIT, None), issue_row(LIMIT, 1, limit=None)])
def test_what_grants_nothing_or_has_no_limit_neither_warns_nor_exhausts(row):
    assert quota_warning(row) is None
    assert not exhausts(row, policy_with())


@pytest.mark.parametrize(
    ("left_before", "left_after", "is_exhausted"),
    [
        (SMALLEST, 0, True),
        (SMALLEST, SMALLEST, False),
        (SMALLEST + 1, SMALLEST, False),
        (SMALLEST, SMALLEST - 1, True),
        (SMALLEST - 1, 0, False),
        (LIMIT, 0, True),
        (LIMIT, SMALLEST, False),
        (LIMIT, SMALLEST - 1, True),
    ],
)
def test_a_quota_is_exhausted_by_the_entry_that_leaves_less_than_the_smallest_voucher(
    left_before, left_after, is_exhausted
):
    row = issue_row(LIMIT - left_after, left_before - left_after or 1)
    assert exhausts(row, policy_with()) is is_exhausted


def test_without_a_minimum_a_quota_is_exhausted_when_it_is_used_up_exactly():
    policy = policy_with(minimum=None)
    assert exhausts(issue_row(LIMIT, 1), policy)
    assert not exhausts(issue_row(LIMIT - 1, 1), policy)


def test_a_minimum_that_binds_only_what_is_asked_for_leaves_smaller_vouchers_to_clamp():
    """Under `clamp` with the minimum on the amount computed, whatever is left can still be granted."""
    clamped = policy_with(caps__0__on_cap="clamp", minimum=assumed(amount="10000.00", binds="computed"))
    assert not exhausts(issue_row(LIMIT - 1, 100), clamped)
    assert exhausts(issue_row(LIMIT, 100), clamped)


def test_the_event_of_an_exhausted_quota_follows_from_what_it_says():
    row = issue_row(LIMIT, SMALLEST)
    later = issue_row(LIMIT, SMALLEST, position=8)
    assert exhausted_event_id(row) == exhausted_event_id(later) == f"chengdu-2024:{ENTERPRISE}:2024:exhausted"
    assert exhausted_event_id(row) != exhausted_event_id(issue_row(LIMIT, SMALLEST, period="2025"))
    event = decode(exhausted_event(row), EXHAUSTED)
    assert (event.id, event.source) == (exhausted_event_id(row), "urn:voucher-ledger:chengdu-2024")
    assert (event.data.scope, event.data.enterprise, event.data.period) == ("enterprise", ENTERPRISE, "2024")


def test_a_notification_carries_what_applies_and_leaves_out_the_rest():
    told = json.loads(notification(issue_row(800_000_00, 10_000_00), b"\xab" * 32))
    Notification.model_validate(told)
    assert told["id"] == "chengdu-2024:7"
    assert told["type"] == "voucher.issued.accepted.v1"
    assert told["data"]["quota_warning"] == 80
    assert told["data"]["policy"] == {"code": "chengdu-2024", "digest": "ab" * 32}
    assert told["data"]["quota_used"] == "800000.00"
    assert told["data"].keys().isdisjoint({"code", "provider", "payable"})
    refused = json.loads(notification(issue_row(LIMIT, None), b""))
    assert refused["type"] == "voucher.issued.refused.v1"
    assert refused["data"].keys().isdisjoint({"granted", "quota_warning", "voucher_remaining"})
    assert set(refused["data"]["message"]) == {"zh", "en"}


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("sent", "told"),
    [(TRACEPARENT, TRACEPARENT), ("nonsense", None), (5, None), ([TRACEPARENT], None), ({"traceparent": TRACEPARENT}, None)],
)  # fmt: skip
def test_the_events_trace_context_is_carried_on_as_it_is_or_left_out(sent, told):
    event = {**issue_event("V0"), "traceparent": sent}
    document = json.loads(notification(issue_row(0, 1, event=raw(event)), bytes(32)))
    Notification.model_validate(document)
    assert document.get("traceparent") == told
    assert "traceparent" not in document["data"]["event"]
    del event["traceparent"]
    document.pop("traceparent", None)
    assert document == json.loads(notification(issue_row(0, 1, event=raw(event)), bytes(32)))


def test_moments_are_told_in_utc_to_the_microsecond():
    beijing = timezone(timedelta(hours=8))
    assert moment_text(datetime(2025, 1, 1, 0, 0, 0, 5, tzinfo=beijing)) == "2024-12-31T16:00:00.000005Z"
