"""The consumers on the real broker and the real database: what is decided, what is set aside, and that nothing else is harmed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from events_made import (
    ENTERPRISE,
    OTHER_ENTERPRISE,
    STRANGER,
    authority_of,
    exhausted_event,
    issue_event,
    providers_of,
    raw,
    redemption_event,
    uscc,
)
from eventually import eventually
from line import CHENGDU, dead_letters, entered, entries_of, pending, quick_settings, running, send, settled

from schemas.decoding import DETAIL_LENGTH_MAX
from schemas.letters import DeadLetter

ISSUED = f"voucher.issued:{CHENGDU}"
EXHAUSTED = f"quota.exhausted:{CHENGDU}"
PROVIDER, OTHER_PROVIDER = providers_of(CHENGDU)
REDEEMED = f"voucher.redeemed:{PROVIDER}"


@pytest.fixture
def settings(database_url, redis_url):
    return quick_settings(database_url, redis_url)


async def test_events_sent_before_the_first_start_are_decided(settings, redis, admin):
    await send(redis, *(issue_event(f"V{number}", amount="10000.00") for number in range(5)))
    async with running("issued", settings) as consumer:
        rows = await entered(admin, 5)
        await settled(redis, [ISSUED])
        assert consumer.ready() == (True, "reading")
    assert [row["voucher_id"] for row in rows] == [f"V{number}" for number in range(5)]
    assert all(row["accepted"] for row in rows)


async def test_a_started_group_is_kept_with_what_it_read(settings, redis, admin):
    for number in range(2):
        await send(redis, issue_event(f"V{number}"))
        async with running("issued", settings):
            await entered(admin, number + 1)
            await settled(redis, [ISSUED])
    assert await dead_letters(redis) == []


BAD_ISSUES = {
    "not_json": b'{"specversion":"1.0",',
    "not_json: binary garbage": bytes(range(256)) * 20,
    "not_json: NaN": raw(issue_event("bad")).replace(b'"1.0"', b'"1.0", "score": NaN', 1),
    "not_json: a string": b"",
    "not_cloudevent": raw(issue_event("bad", specversion="0.3")),
    "not_cloudevent: a list": b"[1, 2]",
    "not_cloudevent: no id": raw(issue_event("bad", id=None)),
    "unknown_type": raw(issue_event("bad", type="voucher.issued.v9")),
    "invalid_data": raw(issue_event("bad", amount="-1.00", fee="10.00")),
    "invalid_data: deep": raw(issue_event("bad", data__enterprise=None)),
    "wrong_stream: source": raw(issue_event("bad", source=f"urn:uscc:{STRANGER}")),
    "wrong_stream: another programme": raw(
        issue_event("bad", data__programme="guizhou-2024", source=f"urn:uscc:{authority_of(CHENGDU)}")
    ),
    "wrong_stream: a type of another stream": raw(redemption_event("good-1")),
    "programme_unknown": raw(issue_event("bad", data__programme="atlantis-2024")),
}


async def test_a_bad_entry_of_each_kind_is_set_aside_and_its_neighbours_do_not_notice(
    database_url, redis_url, redis, admin
):
    entries, bad_ids, good = [], {}, 0
    for data in BAD_ISSUES.values():
        entries += [(ISSUED, raw(issue_event(f"good-{good}", amount="10000.00"))), (ISSUED, data)]
        good += 1
    entries.append((ISSUED, raw(issue_event(f"good-{good}", amount="10000.00"))))
    ids = await send(redis, *entries)
    bad_ids = dict(zip(BAD_ISSUES, ids[1::2], strict=True))
    before = datetime.now(UTC)
    settings = quick_settings(database_url, redis_url, programmes=frozenset({CHENGDU, "guizhou-2024"}))
    async with running("issued", settings):
        rows = await entered(admin, good + 1)
        await settled(redis, [ISSUED])
    assert [row["voucher_id"] for row in rows] == [f"good-{number}" for number in range(good + 1)]
    assert all(row["accepted"] for row in rows)
    letters = await dead_letters(redis)
    assert [letter["entry_id"].encode() for letter in letters] == list(bad_ids.values())
    for letter, (label, data) in zip(letters, BAD_ISSUES.items(), strict=True):
        assert letter["reason"] == label.split(":", 1)[0], label
        assert letter["event"] == data, label
        assert letter["stream"] == ISSUED
        assert 0 < len(letter["detail"]) <= DETAIL_LENGTH_MAX
        assert before - timedelta(seconds=1) <= datetime.fromisoformat(letter["failed_at"]) <= datetime.now(UTC)
        assert letter.keys() == DeadLetter.model_fields.keys()
        DeadLetter.model_validate({**letter, "event": data.decode(errors="replace")})


async def test_an_entry_without_the_field_event_is_set_aside_with_all_it_had(settings, redis, admin):
    await redis.xadd(ISSUED, {"events": raw(issue_event("V0")), b"\xff": b"\x00"})
    await send(redis, issue_event("V1"))
    async with running("issued", settings):
        await entered(admin, 1)
        await settled(redis, [ISSUED])
    (letter,) = await dead_letters(redis)
    assert letter["reason"] == "not_cloudevent"
    assert letter["event"] == b"events=" + raw(issue_event("V0")) + b"\n\xff=\x00"


async def test_a_redemption_on_a_providers_stream_has_to_be_that_providers(settings, redis, admin):
    """By its source and by its data: either alone would let one provider spend in another's name."""
    issue = issue_event("V0")
    by_source = redemption_event("V0", 1, source=f"urn:uscc:{OTHER_PROVIDER}")
    by_provider = redemption_event("V0", 2, provider=OTHER_PROVIDER, source=f"urn:uscc:{PROVIDER}")
    await send(redis, issue)
    await send(redis, *((REDEEMED, raw(event)) for event in (by_source, by_provider, redemption_event("V0", 3))))
    async with running("issued", settings), running("redeemed", settings):
        await entered(admin, 2)
        await settled(redis, [ISSUED, REDEEMED])
    letters = await dead_letters(redis)
    assert [letter["reason"] for letter in letters] == ["wrong_stream"] * 2
    assert OTHER_PROVIDER in letters[0]["detail"]
    assert [letter["event"] for letter in letters] == [raw(by_source), raw(by_provider)]


async def test_the_same_id_with_other_content_is_set_aside_and_the_same_content_is_not(settings, redis, admin):
    first = issue_event("V0", amount="10000.00", event_id="one")
    other = issue_event("V1", amount="20000.00", event_id="one")
    spaced = json.dumps(first, indent=2).encode()
    async with running("issued", settings):
        await send(redis, first, first)
        await send(redis, other)
        await send(redis, (ISSUED, spaced))
        await eventually(lambda: redis.xlen("dead-letter"))
        await send(redis, first, other)
        await settled(redis, [ISSUED])
    assert [row["voucher_id"] for row in await entries_of(admin)] == ["V0"]
    letters = await dead_letters(redis)
    assert [letter["reason"] for letter in letters] == ["id_reused_with_other_content"] * 2
    assert {letter["event"] for letter in letters} == {raw(other)}


async def test_only_the_programmes_of_the_settings_are_read(database_url, redis_url, redis, admin):
    for programme in (CHENGDU, "guizhou-2024", "henan-2023-2024"):
        await send(redis, issue_event("V0", programme=programme))
    settings = quick_settings(database_url, redis_url, programmes=frozenset({CHENGDU, "guizhou-2024"}))
    async with running("issued", settings):
        await settled(redis, [ISSUED, "voucher.issued:guizhou-2024"])
    assert await admin.fetchval("SELECT count(DISTINCT programme) FROM entry") == 2
    assert await redis.xinfo_groups("voucher.issued:henan-2023-2024") == []


async def test_only_the_providers_of_the_settings_are_read(database_url, redis_url, redis, admin):
    other = f"voucher.redeemed:{OTHER_PROVIDER}"
    await send(redis, redemption_event("V0"), redemption_event("V0", 2, provider=OTHER_PROVIDER))
    settings = quick_settings(database_url, redis_url, providers=frozenset({OTHER_PROVIDER}))
    async with running("redeemed", settings):
        await settled(redis, [other])
    assert await redis.xinfo_groups(REDEEMED) == []
    assert await admin.fetchval("SELECT provider FROM parked") == OTHER_PROVIDER


@pytest.mark.parametrize("first", ["issued", "redeemed"])
async def test_a_redemption_and_its_issue_meet_in_either_order(settings, redis, admin, first):
    issue, redemption = issue_event("V0", amount="50000.00"), redemption_event("V0", amount="20000.00")
    async with running("issued", settings), running("redeemed", settings):
        if first == "issued":
            await send(redis, issue)
            await entered(admin, 1)
            await send(redis, redemption)
        else:
            await send(redis, redemption)
            await eventually(lambda: admin.fetchval("SELECT count(*) FROM parked"))
            await settled(redis, [REDEEMED])
            assert await entries_of(admin) == []
            await send(redis, issue)
        rows = await entered(admin, 2)
        await settled(redis, [ISSUED, REDEEMED])
    assert [row["kind"] for row in rows] == ["issued", "redeemed"]
    assert [row["voucher_remaining"] for row in rows] == [50_000_00, 30_000_00]
    assert await admin.fetchval("SELECT count(*) FROM parked") == 0


async def test_a_redemption_whose_wait_is_over_is_refused_and_stays_so(database_url, redis_url, redis, admin):
    settings = quick_settings(database_url, redis_url, wait_hours=0)
    async with running("issued", settings), running("redeemed", settings):
        await send(redis, redemption_event("V0"))
        (row,) = await entered(admin, 1)
        assert (row["accepted"], row["code"]) == (False, "voucher_unknown")
        await send(redis, issue_event("V0"), redemption_event("V0"))
        rows = await entered(admin, 2)
        await settled(redis, [ISSUED, REDEEMED])
    assert rows[1]["voucher_remaining"] == 100_000_00
    assert await admin.fetchval("SELECT count(*) FROM parked") == 0


async def test_the_authority_closes_an_enterprises_quota_and_then_the_whole_programme(settings, redis, admin):
    async with running("issued", settings), running("exhausted", settings):
        await send(redis, issue_event("V0"), issue_event("V1", enterprise=OTHER_ENTERPRISE))
        await entered(admin, 2)
        await send(redis, exhausted_event(ENTERPRISE))
        await entered(admin, 3)
        await send(redis, issue_event("V2"), issue_event("V3", enterprise=OTHER_ENTERPRISE))
        rows = await entered(admin, 5)
        assert [row["code"] for row in rows] == [None, None, None, "quota_closed", None]
        await send(redis, exhausted_event())
        await entered(admin, 6)
        await send(redis, issue_event("V4", enterprise=OTHER_ENTERPRISE), issue_event("V5", enterprise=uscc(3)))
        rows = await entered(admin, 8)
        await settled(redis, [ISSUED, EXHAUSTED])
    assert [row["code"] for row in rows[5:]] == [None, "quota_closed", "quota_closed"]
    assert [row["enterprise"] for row in rows if row["kind"] == "exhausted"] == [ENTERPRISE, None]


async def test_a_closure_by_anybody_else_is_set_aside(settings, redis, admin):
    await send(redis, (EXHAUSTED, raw(exhausted_event(ENTERPRISE, source=f"urn:uscc:{PROVIDER}"))))
    async with running("exhausted", settings):
        await settled(redis, [EXHAUSTED])
    assert [letter["reason"] for letter in await dead_letters(redis)] == ["wrong_stream"]
    assert await entries_of(admin) == []


async def test_what_is_acknowledged_is_in_the_ledger(settings, redis, admin):
    """Many batches, looked at all the while: whatever left the pending list was committed before."""
    settings = settings.model_copy(update={"batch_size": 20, "readers": 2})
    await send(redis, *(issue_event(f"V{number}", enterprise=uscc(number)) for number in range(300)))
    async with running("issued", settings):
        done = False
        while not done:
            (group,) = await redis.xinfo_groups(ISSUED) or ({"lag": 300, "pending": 0},)
            acknowledged = 300 - group["lag"] - group["pending"]
            assert await admin.fetchval("SELECT count(*) FROM entry") >= acknowledged
            done = acknowledged == 300
    assert await pending(redis, ISSUED) == 0
    assert len(await entries_of(admin)) == 300
