"""The traps of FastStream and of Redis Streams: each is laid, and the consumer does not go into it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest import mock

import pytest
from events_made import issue_event, raw
from eventually import eventually, eventually_now
from faststream.redis.parser import BinaryMessageFormatV1
from line import (
    BUILD,
    CHENGDU,
    dead_letters,
    entered,
    entries_of,
    held_head,
    pending,
    quick_settings,
    running,
    send,
    settled,
)
from processes_run import QUICK, Services, services_on

from services import broker, logs
from services.broker import FIELD, GROUP
from services.consumers.service import served_policies
from services.embedded import Servers, binaries
from services.queues import queues
from services.settings import Settings

ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture
def settings(database_url, redis_url):
    return quick_settings(database_url, redis_url)


# ---- Groups ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flushed", [True, False], ids=["flushed", "the group alone"])
async def test_a_group_lost_between_its_making_and_the_first_read_is_made_from_the_beginning_again(
    settings, redis, admin, flushed
):
    """FastStream would make it from the stream's end: what was sent before would be skipped, in silence."""
    consumer = BUILD["issued"](settings)
    async with contextlib.AsyncExitStack() as stack:
        with mock.patch.object(logs, "set_up"):
            await stack.enter_async_context(consumer.app.lifespan_context())
        if flushed:
            await redis.flushall()
            await send(redis, issue_event("V0"))
        else:
            await send(redis, issue_event("V0"))
            await redis.xgroup_destroy(ISSUED, GROUP)
        await consumer.app.start()
        stack.push_async_callback(consumer.app.stop)
        await entered(admin, 1)
        await send(redis, issue_event("V1", amount="10000.00"))
        await entered(admin, 2)
        await settled(redis, [ISSUED])


async def test_an_entry_in_hand_and_not_acknowledged_is_seen_though_the_lag_is_0(settings, redis):
    async with running("issued", settings), held_head(settings.database_url):
        await send(redis, issue_event("V0"))
        row = await eventually(lambda: pending_row(settings, redis))
        assert (row.lag, row.pending) == (0, 1)
        assert row.oldest_pending_seconds is not None
        assert row.oldest_pending_seconds > 0
        # It is handed out again and again, and still seen as the one that is pending for longest.
        await eventually(lambda: deliveries(settings, redis, at_least=3))


async def pending_row(settings, redis):
    rows = {row.stream: row for row in await queues(redis, served_policies(settings))}
    return rows[ISSUED] if rows[ISSUED].pending else None


async def deliveries(settings, redis, at_least: int) -> bool:
    row = await pending_row(settings, redis)
    return row is not None and (row.oldest_pending_deliveries or 0) >= at_least


# ---- What an entry may look like -----------------------------------------------------------------------------------------


async def test_a_document_whose_data_is_a_string_is_not_unwrapped(settings, redis, admin):
    """FastStream's own parser would take the string for the message."""
    within = raw(issue_event("V0")).decode()
    wrapped = [
        json.dumps({"data": within, "headers": {}}).encode(),
        json.dumps({**issue_event("V1"), "data": within}).encode(),
    ]
    await send(redis, *((ISSUED, data) for data in wrapped), issue_event("V2"))
    async with running("issued", settings):
        (row,) = await entered(admin, 1)
        await settled(redis, [ISSUED])
    assert row["voucher_id"] == "V2"
    letters = await dead_letters(redis)
    assert [letter["event"] for letter in letters] == wrapped
    assert {letter["reason"] for letter in letters} == {"not_cloudevent"}


async def test_the_field_event_alone_counts_whatever_else_an_entry_has(settings, redis, admin):
    event, other = raw(issue_event("V0")), raw(issue_event("V1"))
    await redis.xadd(ISSUED, {"__data__": other, FIELD: event, "data": other, b"\xff\x00": b""})
    await redis.xadd(ISSUED, {"__data__": other})
    async with running("issued", settings):
        (row,) = await entered(admin, 1)
        await settled(redis, [ISSUED])
    assert (row["voucher_id"], row["event"]) == ("V0", event)
    (letter,) = await dead_letters(redis)
    assert (letter["reason"], letter["event"]) == ("not_cloudevent", b"__data__=" + other)


async def test_a_producer_s_reply_to_is_not_obeyed(settings, redis, admin):
    event = raw(issue_event("V0"))
    frame = await BinaryMessageFormatV1.encode(
        message=event, reply_to="a-channel", headers={"reply_to": "a-channel"}, correlation_id="1"
    )
    async with redis.pubsub() as listener, running("issued", settings):
        await listener.subscribe("a-channel")
        await redis.xadd(ISSUED, {"__data__": frame, FIELD: event, "reply_to": "a-channel"})
        await entered(admin, 1)
        await settled(redis, [ISSUED])
        await redis.publish("a-channel", "the first")
        heard = await eventually(lambda: listener.get_message(ignore_subscribe_messages=True))
    assert heard["data"] == b"the first"
    assert await redis.keys() == [ISSUED.encode()]


# ---- Settings ------------------------------------------------------------------------------------------------------------


def test_no_read_can_be_told_to_wait_longer_than_the_client_does():
    (longest,) = [part.le for part in Settings.model_fields["block_ms"].metadata if hasattr(part, "le")]
    assert longest < broker.connection_options()["socket_timeout"] * 1000


# ---- A broker that refuses, seen from outside ------------------------------------------------------------------------------


@pytest.fixture
def processes(database_url, redis_url, redis, tmp_path) -> Iterator[Services]:
    """Return a way to run services as processes, on the test's database, as a user of the broker that a test may restrict."""
    url = redis_url.replace("unix://", "unix://restricted:secret@")
    servers = Servers(tmp_path, database_url, url)
    with services_on(servers, tmp_path / "log", **{**QUICK, "VOUCHER_LEDGER_RETRY_SECONDS_MAX": "0.2"}) as services:
        yield services


@pytest.fixture
async def restricted(redis) -> AsyncIterator[str]:
    await redis.execute_command("ACL", "SETUSER", "restricted", "on", ">secret", "~*", "&*", "+@all")
    yield "restricted"
    await redis.execute_command("ACL", "DELUSER", "restricted")


async def text_in_its_place(redis) -> None:
    async with redis.pipeline() as pipeline:
        pipeline.delete(ISSUED)
        pipeline.set(ISSUED, "text")
        await pipeline.execute()


async def no_right_to_read(redis) -> None:
    await redis.execute_command("ACL", "SETUSER", "restricted", "-xreadgroup", "-xgroup")


async def nothing_left(redis) -> None:
    await redis.flushall()


REFUSALS = {"WRONGTYPE": text_in_its_place, "NOPERM": no_right_to_read, "NOGROUP": nothing_left}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_consumer_whose_read_is_refused_ends_with_1_says_why_and_asks_no_more(
    redis, restricted, processes, tmp_path, refusal
):
    processes.start("issued", "issued")
    await eventually(lambda: is_reading(redis), 30)
    before = await asked(redis)
    await REFUSALS[refusal](redis)
    process = processes.running.pop("issued")
    assert await asyncio.to_thread(process.wait, 30) == 1, processes.log()
    log = (tmp_path / "log").read_text()
    told = {"NOGROUP": "no longer exists", "NOPERM": "no permissions", "WRONGTYPE": "WRONGTYPE"}[refusal]
    assert [line for line in log.splitlines() if ISSUED in line and told in line], log
    reads = await asked(redis) - before
    assert reads < 2_000
    print(f"{refusal}: {reads} reads until the end")


@pytest.mark.parametrize("refusal", ["WRONGTYPE", "NOPERM"])
async def test_a_consumer_that_is_refused_from_the_start_ends_with_1_and_says_why(
    redis, restricted, processes, refusal
):
    await REFUSALS[refusal](redis)
    processes.start("issued", "issued")
    process = processes.running.pop("issued")
    assert await asyncio.to_thread(process.wait, 30) == 1
    told = {"NOPERM": "no permissions", "WRONGTYPE": "wrong kind of value"}[refusal]
    assert f"voucher-ledger: broker: {ISSUED}: " in processes.log(), processes.log()
    assert told in processes.log(), processes.log()
    assert "Traceback" not in processes.log(), processes.log()


_READERS = Settings.model_fields["readers"].default


async def is_reading(redis) -> bool:
    if not await redis.exists(ISSUED):
        return False
    if not await redis.xinfo_groups(ISSUED):
        return False
    names = [row["name"] for row in await redis.xinfo_consumers(ISSUED, GROUP)]
    return all(any(name.endswith(b"-%d" % number) for name in names) for number in range(_READERS))


async def asked(redis) -> int:
    told = (await redis.info("commandstats")).get("cmdstat_xreadgroup", {})
    return told.get("calls", 0) + told.get("rejected_calls", 0)


@pytest.fixture
def unsaveable(tmp_path) -> Iterator[tuple[str, Path]]:
    """Run a Valkey that is to save its memory to a file; give its URL, and the file, in whose way a test can put something."""
    import subprocess  # noqa: PLC0415  here alone

    folder = tmp_path / "v"
    folder.mkdir()
    command = [binaries.find_valkey(), "--dir", folder, "--port", "0", "--unixsocket", folder / "s", "--save", "3600 1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually_now((folder / "s").exists)
        yield f"unix://{folder / 's'}", folder / "dump.rdb"
    finally:
        process.kill()
        process.wait()


async def test_a_broker_that_can_save_nothing_refuses_and_nothing_is_lost(database_url, unsaveable, admin):
    """MISCONF: every writing command is refused, and reading for a group is one. It ends as failed, and goes on when started later."""
    url, file = unsaveable
    settings = quick_settings(database_url, url)
    client = broker.connect(url)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        async with running("issued", settings) as consumer:
            await send(client, issue_event("V0"))
            await entered(admin, 1)
            async with held_head(database_url):
                await send(client, issue_event("V1", amount="10000.00"))
                await eventually(lambda: pending(client, ISSUED))
                file.unlink(missing_ok=True)
                file.mkdir()
                await client.bgsave()
                await eventually(lambda: cannot_save(client))
            await eventually(lambda: consumer.app.stopping)
            assert consumer.failed
            # FastStream goes on asking meanwhile, and between two refusals its reader looks alive.
            for _ in range(50):
                assert consumer.ready() == (False, f"readers stopped: {ISSUED}")
                await asyncio.sleep(0.01)
        file.rmdir()
        await client.bgsave()
        await eventually(lambda: can_save(client))
        async with running("issued", settings):
            rows = await entered(admin, 2)
            await settled(client, [ISSUED])
    assert [row["voucher_id"] for row in rows] == ["V0", "V1"]
    assert len(await entries_of(admin)) == 2


async def cannot_save(client) -> bool:
    return (await client.info("persistence"))["rdb_last_bgsave_status"] == "err"


async def can_save(client) -> bool:
    return (await client.info("persistence"))["rdb_last_bgsave_status"] == "ok"
