"""The parts of a campaign: the seed decides the history and the schedule, a line does what it is told, a clock is moved."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from eventually import eventually

from chaos.faults import KINDS
from chaos.history import digest, write_history
from chaos.lines import Line, State
from chaos.schedule import write_schedule
from schemas.decoding import UndecodableError, decode

TESTS = str(Path(__file__).parents[1])


def python(program: str, **variables: str) -> str:
    """Run a program in a process of its own, and return what it prints."""
    environment = os.environ | {"PYTHONPATH": TESTS} | variables
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_seed_gives_the_same_history_byte_for_byte_in_any_process() -> None:
    written = "from chaos.history import digest, write_history; print(digest(write_history(7, 60)))"
    assert {python(written, PYTHONHASHSEED=hash_seed) for hash_seed in ("1", "2")} == {digest(write_history(7, 60))}
    assert digest(write_history(7, 60)) != digest(write_history(8, 60))


def test_a_history_says_of_each_entry_whether_it_can_be_read() -> None:
    for message in write_history(7, 60):
        readable = message.reason in {None, "wrong_stream", "programme_unknown"} or message.field != b"event"
        try:
            decode(message.data)
        except UndecodableError:
            assert not readable, message
        else:
            assert readable, message


def test_a_schedule_deals_every_kind_before_any_again_and_leaves_a_quarter_quiet() -> None:
    assert write_schedule(7, 600) == write_schedule(7, 600) != write_schedule(8, 600)
    periods = write_schedule(7, 600)
    assert sum(not period.faults for period in periods) * 4 == len(periods)
    assert 600 <= sum(period.seconds for period in periods) < 700
    times = Counter(fault.kind for period in periods for fault in period.faults)
    assert times.keys() == KINDS.keys()
    assert max(times.values()) - min(times.values()) <= 1
    assert {len(period.faults) for period in periods} == {0, 1, 2, 3}


@pytest_asyncio.fixture(loop_scope="session")
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """Open a line to a server that answers each line of text with itself."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.readline():
            heard.write(text)
            heard.flush()
            writer.write(text)
        writer.close()

    with (tmp_path / "heard").open("wb") as heard:
        async with await asyncio.start_unix_server(answer, tmp_path / "server"):
            opened = Line(tmp_path / "line", tmp_path / "server")
            await opened.open()
            yield opened
            await opened.close()


async def test_a_line_passes_on(line: Line) -> None:
    reader, writer = await asyncio.open_unix_connection(line.path)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    writer.close()


async def test_a_cut_line_lets_nobody_in_and_nobody_stay(line: Line) -> None:
    reader, writer = await asyncio.open_unix_connection(line.path)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    with line.being(State.CUT):
        assert await reader.read() == b""
        again, other = await asyncio.open_unix_connection(line.path)
        assert await again.read() == b""
        other.close()
    writer.close()


async def test_a_stalled_line_loses_nothing(line: Line) -> None:
    reader, writer = await asyncio.open_unix_connection(line.path)
    with line.being(State.STALLED):
        writer.write(b"one\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.2)
    assert await reader.readline() == b"one\n"
    writer.close()


async def test_over_a_deaf_line_the_service_is_heard_and_hears_nothing(line: Line, tmp_path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(line.path)
    with line.being(State.DEAF):
        writer.write(b"one\n")
        await eventually((tmp_path / "heard").read_bytes)
        assert (tmp_path / "heard").read_bytes() == b"one\n"
    assert await reader.read() == b""
    writer.close()


def test_a_wrong_clock_is_the_ledgers() -> None:
    said = python("from chaos.skewed import *; move_clock(-3600); print(append._now().isoformat())")
    behind = datetime.now(UTC) - datetime.fromisoformat(said)
    assert timedelta(minutes=59) < behind < timedelta(minutes=61)
