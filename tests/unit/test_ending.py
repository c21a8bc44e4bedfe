"""A service that was told to end ends; one that hangs says where, and is ended."""

import asyncio
import json
import signal
import subprocess
import sys
import threading

import pytest

from services.ending import HUNG, where

SERVICE = """
import asyncio, contextlib, time
from services import ending, logs
from services.settings import Settings

ending.CLOSES_WITHIN_SECONDS = {closes_within}
logs.set_up(Settings(log_format="json"), "issued")

async def waits_for_what_will_not_come():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

async def service():
    stopping = asyncio.Event()
    ending.at_signals(stopping.set, 0.1)
    print("ready", flush=True)
    await stopping.wait()
    {what}

asyncio.run(service())
"""


def told_to_end(what: str, closes_within: float = 0.3) -> tuple[int, str]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE.format(what=what, closes_within=closes_within)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_a_service_that_ends_in_time_ends_by_itself():
    assert told_to_end("await asyncio.sleep(0.01)", closes_within=20) == (0, "")


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("await waits_for_what_will_not_come()", "in waits_for_what_will_not_come > "),
        ("time.sleep(3600)", "in service"),
    ],
)
def test_a_service_that_hangs_says_where_and_is_ended(what, found):
    status, said = told_to_end(what)
    assert status == HUNG
    (line,) = map(json.loads, said.splitlines())
    assert (line["event"], line["level"]) == ("told to end, and has not: ended by force", "error")
    assert any(found in at for at in line["at"])


async def test_where_a_task_waits_is_told_down_to_the_last_call():
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer(), name="one of ours")
    await asyncio.sleep(0)
    (at,) = (
        told for told in where(asyncio.get_running_loop(), threading.get_ident()) if told.startswith("one of ours: ")
    )
    task.cancel()
    places = at.removeprefix("one of ours: ").split(" > ")
    assert [place.rpartition(" in ")[2] for place in places[:3]] == ["outer", "inner", "wait"]
    assert places[0].startswith("tests/unit/test_ending.py:")
