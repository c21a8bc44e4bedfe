"""The end of a service: it was told to, and has some seconds. One that has not ended by then says what it is at, and is ended.

Nothing is lost by that: a service may be killed at any moment. But whoever keeps it would kill it without a word, and one that
hangs on its way out would not be started again until then.
"""

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog

from services.failures import place

log = structlog.get_logger()

CLOSES_WITHIN_SECONDS: Final = 10.0
"""How long closing may take, once the batch in flight had its time (VOUCHER_LEDGER_GRACEFUL_SECONDS)."""
HUNG: Final = 70
"""The exit status of a service that did not end by itself."""


def at_signals(act: Callable[[], None], graceful_seconds: float | None = None) -> None:
    """Call ``act`` in the running loop at SIGTERM and SIGINT; the first time, the process's time to end begins, where it has one."""
    loop = asyncio.get_running_loop()
    last_resort = threading.Timer(
        (graceful_seconds or 0) + CLOSES_WITHIN_SECONDS, _end_by_force, [loop, threading.get_ident()]
    )
    last_resort.daemon = True

    def told() -> None:
        if graceful_seconds is not None and last_resort.ident is None:
            last_resort.start()
        act()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)


def _end_by_force(loop: asyncio.AbstractEventLoop, thread: int) -> None:
    try:
        log.error("told to end, and has not: ended by force", at=where(loop, thread))
    finally:
        os._exit(HUNG)


def where(loop: asyncio.AbstractEventLoop, thread: int) -> list[str]:
    """Return what the loop's thread is at, and where each of its tasks waits: the outermost call first, no values."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  there is no other way to see another thread
    at = [
        "thread: " + " > ".join(_told(one.f_code.co_filename, line, one.f_code.co_name) for one, line in _walked(frame))
    ]
    return at + [f"{task.get_name()}: " + " > ".join(_waits(task.get_coro())) for task in asyncio.all_tasks(loop)]


def _walked(frame: Any) -> list[tuple[Any, int]]:
    return list(traceback.walk_stack(frame))[::-1] if frame is not None else []


_AWAITED: Final = {"cr_frame": "cr_await", "gi_frame": "gi_yieldfrom"}
"""What has the frame of a coroutine, or of a generator that is one; and beside it what has that which it awaits."""


def _waits(awaited: Any) -> Iterator[str]:
    """Yield the calls of a coroutine that waits: each awaits the next, until one awaits something that is no code of Python's."""
    while awaited is not None:
        frame_at = next((name for name in _AWAITED if getattr(awaited, name, None) is not None), None)
        if frame_at is None:
            yield type(awaited).__name__
            return
        frame = getattr(awaited, frame_at)
        yield _told(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        awaited = getattr(awaited, _AWAITED[frame_at])


def _told(filename: str, line: int, name: str) -> str:
    return f"{place(filename)}:{line} in {name}"
