"""Ending what runs beside: tasks are cancelled until they have ended."""

import asyncio
from typing import Any, Final

_CANCELLED_AGAIN_AFTER_SECONDS: Final = 0.2


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks, and return when the last of them has ended; what they raise is theirs to be asked for.

    One cancellation is not enough: before Python 3.12 ``asyncio.wait_for``, which the drivers of the database and of the broker
    use, loses one that comes in the same moment as its result. A task that does nothing but ask the broker loses nine of ten.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCELLED_AGAIN_AFTER_SECONDS)
