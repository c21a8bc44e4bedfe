"""Waiting for something to come true: by looking again and again until a deadline, never by sleeping for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 0.02


async def eventually(
    what: Callable[[], Result | Awaitable[Result]], seconds: float = PATIENCE_SECONDS, told: str = ""
) -> Result:
    """Return the first true answer; fail with the last one when there is none within the seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {told or what}, but {answer!r}"
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def eventually_now(what: Callable[[], Result], seconds: float = PATIENCE_SECONDS, told: str = "") -> Result:
    """Do the same where no loop runs."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {told or what}, but {answer!r}"
        time.sleep(_LOOK_EVERY_SECONDS)
    return answer
