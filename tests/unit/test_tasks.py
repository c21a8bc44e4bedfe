"""Ending tasks, also those that lose a cancellation on the way."""

import asyncio

from services import tasks


async def test_a_task_that_loses_its_first_cancellation_is_ended_too(monkeypatch):
    monkeypatch.setattr(tasks, "_CANCELLED_AGAIN_AFTER_SECONDS", 0.01)
    lost = 0

    async def forgetful() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 1:
                    raise

    stubborn = asyncio.create_task(forgetful())
    done = asyncio.create_task(asyncio.sleep(0, "done"))
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.end(stubborn, done), 20)
    assert stubborn.cancelled()
    assert lost == 2
