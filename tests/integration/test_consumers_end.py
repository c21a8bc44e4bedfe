"""The end of a consumer: what it has in hand is finished, and being told to end is no failure."""

import asyncio
import contextlib
from collections.abc import Sequence
from unittest import mock

import pytest
from events_made import issue_event, uscc
from eventually import eventually
from line import BUILD, CHENGDU, dead_letters, entries_of, held_head, pending, quick_settings, running, send

from services import logs
from services.broker import InboundStream
from services.consumers.intake import RawEntry
from services.consumers.service import Consumer

ISSUED = f"voucher.issued:{CHENGDU}"


@pytest.fixture
def settings(database_url, redis_url):
    return quick_settings(database_url, redis_url)


async def test_a_batch_in_hand_is_finished_and_acknowledged_at_the_end(settings, redis, admin):
    settings = settings.model_copy(update={"graceful_seconds": 20})
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running("issued", settings))
        async with held_head(settings.database_url):
            issues = (issue_event(f"V{number}", enterprise=uscc(number)) for number in range(20))
            await send(redis, *issues, (ISSUED, b"garbage"))
            await eventually(lambda: pending(redis, ISSUED))
            ending = asyncio.create_task(stack.aclose())
            done, _ = await asyncio.wait([ending], timeout=0.3)
            assert not done
        await asyncio.wait_for(ending, 20)
    assert await pending(redis, ISSUED) == 0
    assert len(await entries_of(admin)) == 20
    assert len(await dead_letters(redis)) == 1


async def test_a_batch_that_cannot_be_finished_in_time_is_left_to_others(settings, redis, admin):
    settings = settings.model_copy(update={"graceful_seconds": 0.3})
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running("issued", settings))
        async with held_head(settings.database_url):
            await send(redis, issue_event("V0"))
            await eventually(lambda: pending(redis, ISSUED))
            await asyncio.wait_for(stack.aclose(), 20)
    assert await pending(redis, ISSUED) == 1
    assert await entries_of(admin) == []


async def told_to_end(consumer: Consumer) -> None:
    """Tell it as a signal does: by the loop, in no task."""
    asyncio.get_running_loop().call_soon(consumer.app.exit)
    await asyncio.sleep(0)


async def test_told_to_end_while_it_starts_or_ends_is_not_failed(settings):
    consumer = BUILD["issued"](settings)
    await told_to_end(consumer)
    assert not consumer.failed
    async with running("issued", settings) as consumer:
        await told_to_end(consumer)
        assert consumer.ready() == (False, "ending")
        await consumer.app.stop()
        consumer.app.exit()
        assert not consumer.failed
        assert consumer.ready() == (False, "ending")


async def test_ended_by_one_of_its_readers_is_failed(settings):
    consumer = BUILD["issued"](settings)
    consumer.app.exit()
    await told_to_end(consumer)
    assert consumer.failed


async def test_told_to_end_in_the_midst_of_its_start_it_ends_and_leaves_no_reader(settings, redis, monkeypatch):
    consumer = BUILD["issued"](settings.model_copy(update={"readers": 2}))
    _, *others = consumer.broker.subscribers
    begun = asyncio.Event()

    async def start_that_takes_long() -> None:
        while True:
            await others[0]._client.ping()  # fails once its connection is taken from under it
            begun.set()
            await asyncio.sleep(0.01)  # in a ping itself most cancellations are lost: see services.tasks

    monkeypatch.setattr(others[0], "start", start_that_takes_long)
    with mock.patch.object(logs, "set_up"):
        running = asyncio.create_task(consumer.run())
        await asyncio.wait_for(begun.wait(), 20)
        before = asyncio.all_tasks()
        await told_to_end(consumer)
        await asyncio.wait_for(running, 20)
    assert not consumer.failed
    assert [task for task in before if "_consume" in repr(task.get_coro()) and not task.done()] == []


async def test_a_reader_that_loses_its_cancellation_is_ended_all_the_same(settings, redis, monkeypatch):
    settings = settings.model_copy(update={"graceful_seconds": 0.1})
    lost: list[str] = []

    async def take(_: InboundStream, entries: Sequence[RawEntry]) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(entries[0].id.decode())
                if len(lost) > 1:
                    raise

    async with running("issued", settings) as consumer:
        monkeypatch.setattr(consumer, "take", take)
        await send(redis, issue_event("V0"))
        await eventually(lambda: pending(redis, ISSUED))
        await asyncio.wait_for(consumer.app.stop(), 20)
        assert len(lost) == 2
