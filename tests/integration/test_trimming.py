"""Trimming on the real broker: what any group still wants stays, whatever the groups do; what nobody wants and is old goes."""

import asyncio
import contextlib
import random
from datetime import timedelta

import pytest
from events_made import issue_event, uscc
from eventually import eventually
from line import CHENGDU, entered, notifications, notifying, pending, quick_settings, running, send, settled
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services import broker
from services.broker import GROUP, notification_stream
from services.consumers.service import served_policies
from services.consumers.trims import Trimmer
from services.queues import queues
from services.trimming import _TRIM, trim

STREAM = "voucher.redeemed:somebody"
ISSUED = f"voucher.issued:{CHENGDU}"
NODE_ENTRIES = 10
NOTHING = "0-0"
NO_END = f"{2**64 - 1}-0"

Id = tuple[int, int]


def of(text: bytes | str) -> Id:
    moment, number = (text.decode() if isinstance(text, bytes) else text).split("-")
    return int(moment), int(number)


def text_of(place: Id) -> str:
    return f"{place[0]}-{place[1]}"


@pytest.fixture
async def small_nodes(redis):
    """Let the broker keep few entries in a node: as many of those that could go may stay."""
    name = "stream-node-max-entries"
    before = (await redis.config_get(name))[name]
    await redis.config_set(name, NODE_ENTRIES)
    yield
    await redis.config_set(name, before)


class Groups:
    """A stream with groups that do as they like, and what is known of each at any moment."""

    def __init__(self, redis: Redis, chance: random.Random, first: Id) -> None:
        self.redis = redis
        self.chance = chance
        self.last = first

    async def step(self) -> None:
        act = self.chance.choices(
            [self.add, self.read, self.acknowledge, self.claim, self.delete, self.make, self.unmake, self.set_back],
            [40, 30, 25, 8, 2, 1, 0.5, 0.5],
        )[0]
        with contextlib.suppress(ResponseError):  # a group that is gone, or is there already
            await act()

    def group(self) -> str:
        return self.chance.choice([GROUP, "auditors", "another"])

    def consumer(self) -> str:
        return self.chance.choice(["one", "two"])

    async def add(self) -> None:
        for _ in range(self.chance.randint(1, 8)):
            moment, number = self.last
            following = [(moment, number + 1), (moment + 1, 0), (moment + self.chance.randint(1, 9), number)]
            self.last = self.chance.choice(following)
            await self.redis.xadd(STREAM, {"event": b"x" * 20}, id=text_of(self.last))

    async def read(self) -> None:
        await self.redis.xreadgroup(self.group(), self.consumer(), {STREAM: ">"}, count=self.chance.randint(1, 12))

    async def acknowledge(self) -> None:
        group = self.group()
        waiting = await self.redis.xpending_range(STREAM, group, "-", "+", 30)
        chosen = [row["message_id"] for row in waiting if self.chance.random() < 0.7]
        if chosen:
            await self.redis.xack(STREAM, group, *chosen)

    async def claim(self) -> None:
        await self.redis.xautoclaim(STREAM, self.group(), self.consumer(), 0, count=self.chance.randint(1, 10))

    async def delete(self) -> None:
        ids = await self.ids()
        if ids:
            await self.redis.xdel(STREAM, text_of(self.chance.choice(ids)))

    async def make(self) -> None:
        await self.redis.xgroup_create(STREAM, self.group(), id=self.chance.choice(["0", "$"]), mkstream=True)

    async def unmake(self) -> None:
        await self.redis.xgroup_destroy(STREAM, self.group())

    async def set_back(self) -> None:
        await self.redis.xgroup_setid(STREAM, self.group(), self.chance.choice(["0", text_of(self.last)]))

    async def ids(self) -> list[Id]:
        return [of(entry_id) for entry_id, _ in await self.redis.xrange(STREAM)]

    async def wanted(self) -> tuple[set[str], set[Id], Id]:
        """Return which groups there are, what is pending with any, and up to where all of them were given the stream."""
        groups = await self.redis.xinfo_groups(STREAM)
        open_ids: set[Id] = set()
        for group in groups:
            rows = await self.redis.xpending_range(STREAM, group["name"], "-", "+", 10_000)
            open_ids |= {of(row["message_id"]) for row in rows}
        given = min((of(group["last-delivered-id"]) for group in groups), default=(0, 0))
        return {group["name"].decode() for group in groups}, open_ids, given


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_the_groups_do_what_any_of_them_wants_stays_and_the_rest_goes(redis, small_nodes, seed):
    chance = random.Random(seed)
    # Usual moments, and numbers beside which a floating one cannot tell the next from the last.
    first = chance.choice([(1_760_000_000_000, 0), (2**53, 2**53), (2**63, 2**64 - 10**6)])
    stream = Groups(redis, chance, first)
    await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    trimmed = 0
    for _ in range(400):
        await stream.step()
        if chance.random() > 0.2:
            continue
        before, (names, open_ids, given) = await stream.ids(), await stream.wanted()
        limit = chance.choice([NOTHING, NO_END, text_of(chance.choice(before or [(0, 0)]))])
        gone = await trim(redis, STREAM, limit, group=GROUP)
        after = await stream.ids()
        removed = set(before) - set(after)
        assert len(removed) == gone
        assert after == before[len(removed) :], "the oldest go, and none from between"
        may_go = [
            one for one in before if one < of(limit) and one < given and all(one < other for other in open_ids)
        ]  # fmt: skip
        if GROUP not in names:
            assert not removed
            continue
        assert removed <= set(may_go)
        assert len(may_go) - len(removed) < NODE_ENTRIES
        trimmed += gone
    assert trimmed > 50


async def test_what_is_read_while_it_is_trimmed_is_given_to_every_group_once(redis, redis_url, small_nodes):
    count, groups = 3_000, (GROUP, "auditors")
    for group in groups:
        await redis.xgroup_create(STREAM, group, id="0", mkstream=True)
    seen: dict[str, list[bytes]] = {group: [] for group in groups}

    async def read(group: str, consumer: str) -> None:
        client = broker.connect(redis_url)
        while len(seen[group]) < count:
            for _, entries in await client.xreadgroup(group, consumer, {STREAM: ">"}, count=7, block=20) or []:
                assert all(fields for _, fields in entries), "given, and gone"
                seen[group] += [entry_id for entry_id, _ in entries]
                await client.xack(STREAM, group, *(entry_id for entry_id, _ in entries))
        await client.aclose()

    async def write() -> list[bytes]:
        client = broker.connect(redis_url)
        ids = [await client.xadd(STREAM, {"event": b"%d" % number}) for number in range(count)]
        await client.aclose()
        return ids

    readers = [asyncio.create_task(read(group, name)) for group in groups for name in ("one", "two")]
    writing = asyncio.create_task(write())
    trimmed = 0
    async with asyncio.timeout(100):  # who waits for what was trimmed waits for ever
        while not all(task.done() for task in (writing, *readers)):
            trimmed += await trim(redis, STREAM, NO_END, group=GROUP)
    await asyncio.gather(*readers)
    for group in groups:
        assert sorted(seen[group], key=of) == await writing
    trimmed += await trim(redis, STREAM, NO_END, group=GROUP)
    assert trimmed > count - NODE_ENTRIES - 1
    assert trimmed + await redis.xlen(STREAM) == count


async def test_a_stream_that_nobody_reads_or_that_is_not_there_is_left_alone(redis):
    assert await trim(redis, STREAM, NO_END, group=GROUP) == 0
    for number in range(500):
        await redis.xadd(STREAM, {"event": number})
    await redis.xgroup_create(STREAM, "another", id="$")
    assert await trim(redis, STREAM, NO_END, group=GROUP) == 0
    await redis.set("text", "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await trim(redis, "text", NO_END, group=GROUP)


async def test_a_broker_whose_memory_is_full_is_trimmed_all_the_same(redis):
    await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for number in range(500):
        await redis.xadd(STREAM, {"event": number})
    await redis.xreadgroup(GROUP, "one", {STREAM: ">"}, noack=True)
    await redis.script_load(_TRIM)
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await redis.xadd(STREAM, {"event": "one more"})
        assert await trim(redis, STREAM, NO_END, group=GROUP) > 300
    finally:
        await redis.config_set("maxmemory", 0)


async def test_an_entry_goes_when_it_was_kept_for_as_long_as_was_said(redis):
    (stream,) = broker.issued_streams({CHENGDU: served_policies(quick_settings("", ""))[CHENGDU]})
    seconds, _ = await redis.time()
    hours_ago = [int((seconds - hours * 3600) * 1000) for hours in range(72, 0, -1)]
    for moment in hours_ago:
        await redis.xadd(ISSUED, {"event": b"x" * 5_000}, id=f"{moment}-0")  # too long to share a node
    await redis.xgroup_create(ISSUED, GROUP, id="$")
    for days, left in ((4, 72), (2, 48), (1, 24), (0, 1)):
        trimmer = Trimmer(redis, [stream], timedelta(days=days), 60, {})
        before = await redis.xlen(ISSUED)
        # The entry at the very limit may be some seconds older than that by now.
        assert abs(await trimmer.trim(stream) - (before - left)) <= 1
        assert abs(await redis.xlen(ISSUED) - left) <= 1


def issues(first: int, count: int):
    return [issue_event(f"V{n}", enterprise=uscc(n), amount="10000.00") for n in range(first, first + count)]


async def test_consumers_trim_what_was_acknowledged_and_the_queues_say_so(database_url, redis_url, redis, admin):
    settings = quick_settings(database_url, redis_url, keep_days=0, trim_every_seconds=0.05)
    await send(redis, *issues(0, 150))
    await redis.xgroup_create(ISSUED, "auditors", id="0")
    async with running("issued", settings) as consumer:
        await entered(admin, 150)
        await settled(redis, [ISSUED])
        # Another group wants it still.
        assert await redis.xlen(ISSUED) == 150
        await redis.xreadgroup("auditors", "one", {ISSUED: ">"}, count=100, noack=True)
        await eventually(lambda: is_short(redis, ISSUED, 70))
        assert await redis.xlen(ISSUED) > 50
        await redis.xgroup_destroy(ISSUED, "auditors")
        await eventually(lambda: is_short(redis, ISSUED, 20))
        await send(redis, *issues(150, 10))
        await entered(admin, 160)
        await settled(redis, [ISSUED])
        assert consumer.ready().ok
        rows = {row.stream: row for row in await queues(redis, served_policies(settings))}
    assert (rows[ISSUED].lag, rows[ISSUED].pending) == (0, 0)
    assert await redis.xlen(ISSUED) <= rows[ISSUED].length < 31  # it is trimmed on


async def is_short(redis, stream: str, length: int) -> bool:
    return await redis.xlen(stream) <= length


async def test_a_batch_in_hand_and_what_waits_behind_it_are_not_trimmed(database_url, redis_url, redis, admin):
    settings = quick_settings(database_url, redis_url, keep_days=0, trim_every_seconds=0.05, batch_size=20)
    await send(redis, *issues(0, 100))
    await redis.xgroup_create(ISSUED, GROUP, id="0")
    await redis.xreadgroup(GROUP, "killed", {ISSUED: ">"}, count=50)
    patient = settings.model_copy(update={"claim_every_seconds": 60, "claim_idle_seconds": 60})
    async with running("issued", patient):
        await entered(admin, 50)
        await eventually(lambda: has_pending(redis, 50))
        assert await trim(redis, ISSUED, NO_END, group=GROUP) == 0
        assert await redis.xlen(ISSUED) == 100
    async with running("issued", settings):
        await entered(admin, 100)
        await eventually(lambda: is_short(redis, ISSUED, 20))


async def has_pending(redis, count: int) -> bool:
    return await pending(redis, ISSUED) == count


async def test_as_many_notifications_as_wanted_stay_and_the_notifier_goes_on_from_where_it_was(
    database_url, redis_url, ledger, redis, admin, small_nodes
):
    stream = notification_stream(CHENGDU)
    settings = quick_settings(database_url, redis_url, keep_notifications=30)
    await redis.xgroup_create(stream, "a platform", id="0", mkstream=True)
    async with running("issued", settings), notifying(settings) as notifier:
        await send(redis, *issues(0, 100))
        await entered(admin, 100)
        await eventually(lambda: has_told(redis, stream, 100))
        assert await redis.xlen(stream) == 100, "a group was not given them yet"
        await redis.xgroup_destroy(stream, "a platform")
        await eventually(lambda: is_short(redis, stream, 30 + NODE_ENTRIES))
        await send(redis, *issues(100, 50))
        await eventually(lambda: has_told(redis, stream, 150))
        await eventually(lambda: is_short(redis, stream, 30 + NODE_ENTRIES))
        assert notifier.ready().ok
    async with notifying(settings):
        await send(redis, *issues(150, 1))
        async with running("issued", settings):
            await eventually(lambda: has_told(redis, stream, 151))
    ids = [of(entry_id) for entry_id, _ in await notifications(redis)]
    assert len(ids) >= 30
    assert ids == [(position, 0) for position in range(152 - len(ids), 152)]


async def has_told(redis, stream: str, position: int) -> bool:
    last = await redis.xrevrange(stream, count=1)
    return bool(last) and of(last[0][0]) == (position, 0)
