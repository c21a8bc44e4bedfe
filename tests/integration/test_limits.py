"""The limits of a consumer: what happens at each, how it is seen, and that nothing is lost there."""

import asyncio
import contextlib
import re

import pytest
from events_made import issue_event, providers_of, raw, redemption_event, uscc
from eventually import eventually
from line import CHENGDU, dead_letters, entered, entries_of, pending, quick_settings, running, send, settled

from services import letters
from services.broker import DEAD_LETTERS, GROUP
from services.consumers import deadletters, service
from services.consumers.deadletters import DeadLetter, DeadLettersFullError, keep
from services.consumers.service import served_policies
from services.doctor import examine

ISSUED = f"voucher.issued:{CHENGDU}"
PROVIDER, OTHER_PROVIDER = providers_of(CHENGDU)
REDEEMED, OTHER_REDEEMED = (f"voucher.redeemed:{provider}" for provider in (PROVIDER, OTHER_PROVIDER))


@pytest.fixture
def settings(database_url, redis_url, monkeypatch):
    monkeypatch.setattr(service, "_HELD_UNREADY_SECONDS", 0.2)
    return quick_settings(database_url, redis_url)


def issues(count: int, first: int = 0) -> list[dict]:
    return [issue_event(f"V{number}", enterprise=uscc(number)) for number in range(first, first + count)]


def garbage(count: int, stream: str = ISSUED) -> list[tuple[str, bytes]]:
    return [(stream, b"garbage %d" % number) for number in range(count)]


async def found(settings, what: str):
    findings = await examine(settings, served_policies(settings))
    return next(finding for finding in findings if finding.what == what)


# ---- The size of an entry ------------------------------------------------------------------------------------------------


def issue_of(size: int, voucher_id: str) -> bytes:
    """Return a good event of so many bytes: an attribute that is not ours fills it up."""
    event = issue_event(voucher_id, enterprise=uscc(int(voucher_id[1:])), padding="")
    return raw({**event, "padding": "x" * (size - len(raw(event)))})


async def test_an_event_longer_than_the_limit_is_set_aside_whole_and_one_of_that_length_is_not(settings, redis, admin):
    limit = settings.entry_bytes_max
    sizes = {"V0": limit, "V1": limit + 1, "V2": 3 * 2**20, "V3": 1_000}
    sent = {voucher: issue_of(size, voucher) for voucher, size in sizes.items()}
    await send(redis, *((ISSUED, data) for data in sent.values()))
    async with running("issued", settings):
        rows = await entered(admin, 2)
        await settled(redis, [ISSUED])
    assert [row["voucher_id"] for row in rows] == ["V0", "V3"]
    kept = await dead_letters(redis)
    assert [letter["event"] for letter in kept] == [sent["V1"], sent["V2"]]
    assert {letter["reason"] for letter in kept} == {"invalid_data"}
    assert kept[0]["detail"] == f"the event has {limit + 1} bytes, at most {limit} are read"


async def test_what_is_too_long_to_be_sent_again_is_copied_on_the_broker(settings, redis, admin):
    much = {"a": b"x" * 700_000, b"\xff": b"y" * 700_000}
    await redis.xadd(ISSUED, much)
    await send(redis, *issues(1))
    async with running("issued", settings):
        await entered(admin, 1)
        await settled(redis, [ISSUED])
    (letter,) = await dead_letters(redis)
    assert letter["event"] == b"a=" + b"x" * 700_000 + b"\n\xff=" + b"y" * 700_000


async def test_what_its_producer_erased_before_it_could_be_copied_says_so(redis):
    await redis.xgroup_create(ISSUED, GROUP, id="0", mkstream=True)
    (id_,) = await send(redis, (ISSUED, long := b"x" * 2**21))
    await redis.xreadgroup(GROUP, "me", {ISSUED: ">"})
    await redis.xtrim(ISSUED, maxlen=0, approximate=False)
    await keep(redis, ISSUED, [DeadLetter(id_, long, "invalid_data", "too long")], 10)
    (letter,) = await dead_letters(redis)
    assert (letter["event"], letter["detail"]) == (
        b"", "too long (whoever wrote it has taken it off its stream meanwhile)",
    )  # fmt: skip


async def test_letters_go_to_the_broker_some_at_a_time_by_number_and_by_bytes(redis, monkeypatch):
    monkeypatch.setattr(deadletters, "AT_ONCE_MAX", 3)
    monkeypatch.setattr(deadletters, "AT_ONCE_BYTES_MAX", 100)
    await redis.xgroup_create(ISSUED, GROUP, id="0", mkstream=True)
    sizes = [10, 10, 10, 10, 95, 10, 300, 1, 0, 99, 1, 1]
    ids = await send(redis, *((ISSUED, b"x" * size) for size in sizes))
    await redis.xreadgroup(GROUP, "me", {ISSUED: ">"})
    some = [DeadLetter(id_, b"x" * size, "not_json", "no") for id_, size in zip(ids, sizes, strict=True)]
    parts = [[len(letter.raw) for letter in part] for part in deadletters._at_once(some)]
    assert parts == [[10, 10, 10], [10], [95], [10], [300], [1, 0, 99], [1, 1]]
    await keep(redis, ISSUED, some, 100)
    assert [len(letter["event"]) for letter in await dead_letters(redis)] == sizes
    assert await pending(redis, ISSUED) == 0


# ---- The number of dead letters ------------------------------------------------------------------------------------------


async def test_at_the_limit_of_dead_letters_a_stream_is_held_and_goes_on_when_there_is_room(settings, redis, admin):
    settings = settings.model_copy(update={"dead_letters_max": 3})
    await send(redis, *issues(2), *garbage(5))
    async with running("issued", settings) as consumer:
        await entered(admin, 2)
        await eventually(lambda: "dead letters are kept already" in consumer.ready().because)
        assert "replay or discard" in consumer.ready().because
        assert await redis.xlen(DEAD_LETTERS) == 3
        # The good ones of the batch and the two letters for which there is no room: none is acknowledged.
        assert await pending(redis, ISSUED) == 4
        finding = await found(settings, "dead letters")
        assert (finding.ok, finding.found) == (False, "3 of at most 3")
        assert "replay or discard" in finding.advice
        kept = [letter async for letter in letters.letters(redis)]
        assert await letters.discard(redis, kept[0])
        assert await letters.discard(redis, kept[1])
        await settled(redis, [ISSUED])
        await eventually(lambda: consumer.ready().ok)
    assert [letter["event"] for letter in await dead_letters(redis)] == [b"garbage 2", b"garbage 3", b"garbage 4"]
    assert len(await entries_of(admin)) == 2


async def test_while_one_stream_is_held_others_without_bad_entries_go_on(settings, redis, admin):
    settings = settings.model_copy(update={"dead_letters_max": 1})
    await redis.xadd(DEAD_LETTERS, {"event": b"the one that there may be"})
    async with running("issued", settings), running("redeemed", settings) as consumer:
        await send(redis, *garbage(1, REDEEMED))
        await eventually(lambda: not consumer.ready().ok)
        await send(redis, *issues(3))
        await entered(admin, 3)
        await send(redis, redemption_event("V0", provider=OTHER_PROVIDER))
        await entered(admin, 4)
        await settled(redis, [ISSUED, OTHER_REDEEMED])
        assert await pending(redis, REDEEMED) == 1


async def test_however_many_keep_at_once_the_limit_is_never_passed_and_each_letter_is_one(redis):
    await redis.xgroup_create(ISSUED, GROUP, id="0", mkstream=True)
    ids = await send(redis, *garbage(40))
    await redis.xreadgroup(GROUP, "me", {ISSUED: ">"})
    some = [DeadLetter(id_, b"x", "not_json", "no") for id_ in ids]

    async def try_to_keep(part: list[DeadLetter]) -> None:
        with contextlib.suppress(DeadLettersFullError):
            await keep(redis, ISSUED, part, 25)

    await asyncio.gather(*(try_to_keep(some[first : first + 20]) for first in (0, 5, 10, 15, 20)))
    assert await redis.xlen(DEAD_LETTERS) == 25
    assert await pending(redis, ISSUED) == 15
    await keep(redis, ISSUED, some, 40)
    assert sorted(letter["entry_id"].encode() for letter in await dead_letters(redis)) == sorted(ids)


async def test_a_stream_with_many_bad_entries_leaves_room_for_the_others(settings, redis, admin):
    """Half of one producer's entries are bad: it may not fill up what another needs for a single one."""
    settings = settings.model_copy(update={"dead_letters_max": 50, "dead_letter_share_of": 20, "batch_size": 10})
    good = [issue_event(f"V{number}", enterprise=uscc(number)) for number in range(60)]
    async with running("issued", settings) as flooded, running("redeemed", settings) as other:
        await send(redis, *(one for pair in zip(good, garbage(60), strict=True) for one in pair))
        await eventually(lambda: "40 dead letters are kept already" in flooded.ready().because)
        assert await redis.xlen(DEAD_LETTERS) == 40
        await send(redis, *garbage(2, REDEEMED))
        await settled(redis, [REDEEMED])
        assert await redis.xlen(DEAD_LETTERS) == 42
        assert other.ready().ok


# ---- The share of dead letters -------------------------------------------------------------------------------------------

JUDGED_BY = {"dead_letter_share_of": 100, "dead_letter_share_max": 0.95, "batch_size": 20}


async def test_a_stream_of_which_nearly_all_is_bad_is_held_and_a_mended_release_goes_on(settings, redis, admin):
    settings = settings.model_copy(update=JUDGED_BY)
    good = issues(3)
    await send(redis, *garbage(300), *good)
    async with running("issued", settings) as consumer:
        await eventually(lambda: "are dead letters: is it this release" in consumer.ready().because)
        assert re.search(rf"\d+ of the last \d+ entries of {re.escape(ISSUED)}", consumer.ready().because)
        kept = await redis.xlen(DEAD_LETTERS)
        assert kept <= JUDGED_BY["dead_letter_share_of"]
        assert await pending(redis, ISSUED) == JUDGED_BY["batch_size"]
        held = await eventually(lambda: is_held(settings))
        assert held.found == f"held: {ISSUED}"
        assert await entries_of(admin) == []
    async with running("issued", settings.model_copy(update={"dead_letter_share_max": 1.0})) as consumer:
        await entered(admin, 3)
        await settled(redis, [ISSUED])
        assert consumer.ready().ok
    assert sorted(letter["event"] for letter in await dead_letters(redis)) == sorted(data for _, data in garbage(300))


async def is_held(settings):
    finding = await found(settings, "streams go on")
    return None if finding.ok else finding


async def test_a_producer_that_sends_nearly_nothing_but_bad_entries_holds_nobody_else_up(settings, redis, admin):
    settings = settings.model_copy(update=JUDGED_BY)
    async with running("issued", settings), running("redeemed", settings) as consumer:
        await send(redis, issue_event("V0"))
        await send(redis, *garbage(200, REDEEMED))
        await eventually(lambda: REDEEMED in consumer.ready().because)
        await send(
            redis, *(redemption_event("V0", number, provider=OTHER_PROVIDER, amount="1.00") for number in range(50))
        )
        await entered(admin, 51)
        await settled(redis, [OTHER_REDEEMED])
        assert await pending(redis, REDEEMED) == JUDGED_BY["batch_size"]


async def test_what_a_dead_consumer_left_on_another_stream_is_taken_over_while_one_is_held(settings, redis, admin):
    settings = settings.model_copy(update=JUDGED_BY)
    for stream in (REDEEMED, OTHER_REDEEMED):
        await redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    await send(redis, *garbage(200, REDEEMED), redemption_event("V0", provider=OTHER_PROVIDER))
    for stream in (REDEEMED, OTHER_REDEEMED):
        await redis.xreadgroup(GROUP, "a consumer that is dead now", {stream: ">"})
    async with running("redeemed", settings):
        await settled(redis, [OTHER_REDEEMED])
        assert await admin.fetchval("SELECT count(*) FROM parked") == 1
        assert await pending(redis, REDEEMED) > 0


async def test_many_bad_entries_among_good_ones_keep_none_of_those_from_being_decided(settings, redis, admin):
    """A flood, mixed with good entries and on another producer's stream; every entry has its place in the end."""
    async with running("issued", settings), running("redeemed", settings) as consumer:
        await send(redis, *issues(50))
        await entered(admin, 50)
        uses = [redemption_event(f"V{number % 50}", number, amount="1.00") for number in range(300)]
        others = [redemption_event(f"V{number}", 1_000, amount="1.00", provider=OTHER_PROVIDER) for number in range(50)]
        mixed = [one for use in uses for one in (*garbage(10, REDEEMED), use)]
        await send(redis, *mixed, *others, *garbage(1_000, OTHER_REDEEMED))
        rows = await entered(admin, 400, seconds=60)
        await settled(redis, [REDEEMED, OTHER_REDEEMED], seconds=60)
        assert consumer.ready().ok
    assert all(row["accepted"] for row in rows)
    assert await redis.xlen(DEAD_LETTERS) == 4_000
