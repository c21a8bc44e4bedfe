"""How the queues stand: ages, counts that only grow, and each consumer, on a real broker."""

import pytest
from eventually import eventually

from services.broker import DEAD_LETTERS, GROUP, ensure_groups, inbound_streams
from services.queues import queues

STREAM = "voucher.issued:chengdu-2024"


@pytest.fixture
def chengdu(policies):
    return {"chengdu-2024": policies["chengdu-2024"]}


async def row(redis, policies, stream=STREAM):
    return next(one for one in await queues(redis, policies) if one.stream == stream)


async def add(redis, *ages):
    """Add entries that were sent so many seconds ago, the oldest first."""
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    return [await redis.xadd(STREAM, {"event": b"{}"}, id=f"{now_ms - int(age * 1000)}-*") for age in ages]


async def read(redis, count, consumer="one"):
    return await redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count)


async def test_a_stream_that_is_not_there_and_one_that_nobody_reads(redis, chengdu):
    nothing = await row(redis, chengdu)
    assert (nothing.length, nothing.lag, nothing.consumers, nothing.oldest_waiting_seconds) == (0, 0, None, None)
    await add(redis, 60, 2)
    waiting = await row(redis, chengdu)
    assert (waiting.length, waiting.lag, waiting.consumers, waiting.entered, waiting.acknowledged) == (2, 2, None, 2, 0)
    assert 60 <= waiting.oldest_waiting_seconds < 90


async def test_what_waits_and_what_is_pending_have_their_ages(redis, chengdu):
    await ensure_groups(redis, inbound_streams(chengdu))
    ids = await add(redis, 300, 200, 100)
    await read(redis, 1)
    stands = await row(redis, chengdu)
    assert (stands.lag, stands.pending, stands.oldest_pending_deliveries) == (2, 1, 1)
    assert 300 <= stands.oldest_pending_seconds < 330
    assert 200 <= stands.oldest_waiting_seconds < 230
    assert (stands.entered, stands.acknowledged) == (3, 0)
    assert stands.last_id == ids[-1].decode()
    await redis.xack(STREAM, GROUP, ids[0])
    await read(redis, 10, "two")
    stands = await row(redis, chengdu)
    assert (stands.lag, stands.pending, stands.acknowledged, stands.oldest_waiting_seconds) == (0, 2, 1, None)
    assert {(reader.name, reader.pending) for reader in stands.readers} == {("one", 0), ("two", 2)}
    await eventually(lambda: _idle(redis, chengdu))


async def _idle(redis, policies):
    return (await row(redis, policies)).last_read_seconds > 0.05


async def test_what_is_handed_out_again_is_counted(redis, chengdu):
    await ensure_groups(redis, inbound_streams(chengdu))
    await add(redis, 1)
    await read(redis, 1)
    await redis.xautoclaim(STREAM, GROUP, "two", 0)
    assert (await row(redis, chengdu)).oldest_pending_deliveries == 2


async def test_entries_that_were_trimmed_stay_counted(redis, chengdu):
    await ensure_groups(redis, inbound_streams(chengdu))
    ids = await add(redis, 3, 2, 1)
    await read(redis, 2)
    await redis.xack(STREAM, GROUP, *ids[:2])
    await redis.xtrim(STREAM, minid=ids[2].decode(), approximate=False)
    stands = await row(redis, chengdu)
    assert (stands.length, stands.lag, stands.entered, stands.acknowledged) == (1, 1, 3, 2)


async def test_another_s_group_and_a_key_that_is_no_stream(redis, chengdu):
    await redis.xgroup_create(STREAM, "others", id="0", mkstream=True)
    assert (await row(redis, chengdu)).consumers is None
    await redis.set("voucher.issued:chengdu-2024", "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await queues(redis, chengdu)


async def test_dead_letters_are_counted_by_stream_or_taken_as_given(redis, chengdu):
    for stream in (STREAM, STREAM, "elsewhere"):
        await redis.xadd(DEAD_LETTERS, {"event": b"", "stream": stream})
    assert (await row(redis, chengdu)).dead_letters == 2
    assert (await row(redis, chengdu, DEAD_LETTERS)).dead_letters == 3
    given = {one.stream: one for one in await queues(redis, chengdu, {STREAM: 7})}
    assert given[STREAM].dead_letters == 7
