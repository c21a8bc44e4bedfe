"""A short campaign in which every kind of fault comes up; and that each check finds what it is there to find."""

import asyncio
import copy
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chaos import check, places
from chaos.campaign import run
from chaos.evidence import DifferenceError, Evidence, Letter, Row
from chaos.faults import KINDS
from chaos.report import Course, report

SEED, SECONDS = 1, 78

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def campaign() -> Iterator[tuple[Course, Evidence]]:
    """Run one campaign for all tests of this module."""
    home = Path(tempfile.mkdtemp(prefix="vl-chaos-"))  # a short path: the servers' sockets are in there
    print(f"make chaos SECONDS={SECONDS} SEED={SEED}; data and logs, should it fail: {home}")
    yield asyncio.run(run(SEED, SECONDS, home, print))
    shutil.rmtree(home)


@pytest.fixture
def found(campaign: tuple[Course, Evidence]) -> Evidence:
    """Return what the campaign left behind, to be spoilt."""
    return copy.deepcopy(campaign[1])


def test_after_faults_of_every_kind_everything_is_as_it_has_to_be(campaign: tuple[Course, Evidence]) -> None:
    course, evidence = campaign
    print(report(course, evidence))
    assert {stretch.kind for stretch in course.stretches} >= {name for name, kind in KINDS.items() if not kind.slow}
    check.check(evidence)


def test_the_history_comes_up_against_every_limit(found: Evidence) -> None:
    codes = Counter(row["code"] for row in rows_of(found))
    assert codes.keys() >= {
        "exceeds_annual_cap", "exceeds_budget", "clamped_to_cap", "quota_closed", "exceeds_voucher_balance",
        "voucher_unknown", "voucher_exists",
    }  # fmt: skip
    assert {letter.reason for letter in found.letters} == {
        "not_json", "not_cloudevent", "unknown_type", "invalid_data", "wrong_stream", "programme_unknown",
        "id_reused_with_other_content",
    }  # fmt: skip


# ---- What the checks find ------------------------------------------------------------------------------------------------


def rows_of(found: Evidence, **wanted: object) -> list[Row]:
    """Return the entries that have these values."""
    return [
        row
        for rows in found.entries.values()
        for row in rows
        if all(row[name] == value for name, value in wanted.items())
    ]


def an_issue(found: Evidence) -> Row:
    return rows_of(found, kind="issued", accepted=True)[-1]


def a_redemption(found: Evidence) -> Row:
    return rows_of(found, kind="redeemed", accepted=True)[-1]


def lose_a_commit(found: Evidence) -> None:
    found.blocks.remove(next(block for block in found.blocks if (block.programme, block.last) in found.seen))


def lose_an_entry(found: Evidence) -> None:
    found.entries["chengdu-2024"].remove(rows_of(found, programme="chengdu-2024", kind="redeemed")[5])


def enter_twice(found: Evidence) -> None:
    found.entries["chengdu-2024"].append(rows_of(found, programme="chengdu-2024", kind="redeemed")[5])


def enter_what_nobody_said(found: Evidence) -> None:
    an_issue(found)["event"] = an_issue(found)["event"].replace(b'"amount"', b'"Amount"')


def leave_one_waiting(found: Evidence) -> None:
    found.parked.append(a_redemption(found)["event"])


def lose_a_dead_letter(found: Evidence) -> None:
    answered = {id_ for sent in found.sent for id_ in sent.ids}
    found.letters.remove(next(letter for letter in found.letters if letter.entry_id in answered))


def write_a_dead_letter_twice(found: Evidence) -> None:
    found.letters.append(found.letters[0])


def give_another_reason(found: Evidence) -> None:
    found.letters[0] = found.letters[0]._replace(reason="undecidable")


def set_a_good_event_aside(found: Evidence) -> None:
    row = a_redemption(found)
    stream = f"voucher.redeemed:{row['provider']}"
    found.letters.append(Letter(stream, b"1-1", row["event"], "undecidable"))


def go_back_to_old_rules(found: Evidence) -> None:
    last = found.blocks[-1]
    revisions = {policy.revision: digest for digest, policy in found.policies.items() if policy.code == last.programme}
    found.blocks[-1] = last._replace(policy=revisions[min(revisions)])


def lose_a_block(found: Evidence) -> None:
    del found.blocks[-1]


def grant_more_than_the_budget(found: Evidence) -> None:
    an_issue(found)["granted"] += 10**11


def grant_a_fen_over_a_cap(found: Evidence) -> None:
    row = max(rows_of(found, programme="guizhou-2024", kind="issued", accepted=True), key=lambda row: row["quota_used"])
    row["granted"] += row["quota_limit"] - row["quota_used"] + 1


def redeem_a_fen_too_much(found: Evidence) -> None:
    next(row for row in rows_of(found, kind="redeemed", accepted=True) if row["voucher_remaining"] == 0)["amount"] += 1


def issue_a_voucher_twice(found: Evidence) -> None:
    first, second = rows_of(found, programme="guizhou-2024", kind="issued", accepted=True)[:2]
    second["voucher_id"] = first["voucher_id"]


def err_by_a_fen(found: Evidence) -> None:
    a_redemption(found)["payable"] += 1


def accept_what_is_refused(found: Evidence) -> None:
    rows_of(found, code="exceeds_voucher_balance")[0].update(accepted=True, code=None)


def leave_a_gap(found: Evidence) -> None:
    for row in found.entries["beijing-2023-2025"][100:]:
        row["position"] += 1


def leave_a_quota_open(found: Evidence) -> None:
    row = next(row for row in rows_of(found, kind="exhausted") if b'"urn:voucher-ledger:' in row["event"])
    row["event"] = row["event"].replace(b'"urn:voucher-ledger:', b'"urn:uscc:')


def tell_one_too_few(found: Evidence) -> None:
    found.notified["guizhou-2024"].pop()


def tell_a_platform_twice(found: Evidence) -> None:
    found.told["guizhou-2024"].insert(7, found.told["guizhou-2024"][6])


def tell_in_another_order(found: Evidence) -> None:
    told = found.notified["chengdu-2024"]
    told[3], told[4] = (told[3][0], told[4][1]), (told[4][0], told[3][1])


def end_a_wait_early(found: Evidence) -> None:
    rows_of(found, code="voucher_unknown")[0]["recorded_at"] -= timedelta(minutes=5)


SPOILT: list[tuple[Callable[[Evidence], None], Callable[[Evidence], None]]] = [
    (lose_a_commit, check.what_was_seen_stands),
    (lose_an_entry, places.every_event_has_one_place),
    (enter_twice, places.every_event_has_one_place),
    (enter_what_nobody_said, places.every_event_has_one_place),
    (leave_one_waiting, places.every_event_has_one_place),
    (lose_a_dead_letter, places.every_dead_letter_is_right),
    (write_a_dead_letter_twice, places.every_dead_letter_is_right),
    (give_another_reason, places.every_dead_letter_is_right),
    (set_a_good_event_aside, places.every_dead_letter_is_right),
    (go_back_to_old_rules, check.the_newest_rules_decide),
    (lose_a_block, check.the_newest_rules_decide),
    (grant_more_than_the_budget, check.no_limit_is_passed),
    (grant_a_fen_over_a_cap, check.no_limit_is_passed),
    (redeem_a_fen_too_much, check.no_limit_is_passed),
    (issue_a_voucher_twice, check.no_limit_is_passed),
    (err_by_a_fen, check.the_model_agrees),
    (accept_what_is_refused, check.the_model_agrees),
    (leave_a_gap, check.the_model_agrees),
    (leave_a_quota_open, check.every_quota_used_up_is_closed_once),
    (tell_one_too_few, check.every_notification_is_an_entry),
    (tell_a_platform_twice, check.every_notification_is_an_entry),
    (tell_in_another_order, check.every_notification_is_an_entry),
    (end_a_wait_early, check.no_wait_ended_early),
]


def test_every_check_is_tried() -> None:
    assert {by for _, by in SPOILT} == set(check.CHECKS)


@pytest.mark.parametrize(("spoil", "by"), SPOILT, ids=lambda one: one.__name__)
def test_a_check_finds(found: Evidence, spoil: Callable[[Evidence], None], by: Callable[[Evidence], None]) -> None:
    spoil(found)
    with pytest.raises(DifferenceError):
        by(found)
