"""One campaign from its beginning to its evidence: servers, services, producers and faults, side by side."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

from commands import environment

from chaos.evidence import Evidence, gather
from chaos.faults import PRODUCERS, Fault, World, inflict
from chaos.fleet import Fleet
from chaos.history import digest, vouchers_of, write_history
from chaos.lines import Line, url_of_broker
from chaos.producers import Producers
from chaos.programmes import Rules
from chaos.report import Course
from chaos.schedule import Period, write_schedule
from chaos.servers import Servers
from chaos.settling import settle
from chaos.watching import Platform, Watcher
from services.tasks import end

Tell = Callable[[str], None]

_VERIFIED_WITHIN_SECONDS = 300
_TOLD_AFTER_SECONDS = 5


async def run(seed: int, seconds: float, home: Path, tell: Tell) -> tuple[Course, Evidence]:
    """Run a campaign in an empty folder, whose path has to be short; return its course and what it left behind.

    Raises AssertionError when it does not settle, a service does not end, or ``verify`` finds something; nothing else was checked yet.
    """
    messages, schedule = write_history(seed, seconds), write_schedule(seed, seconds)
    course = Course(seed, seconds, digest(messages))
    rules = Rules(home / "programmes", vouchers_of(seconds))
    # As it is deployed, and as it is embedded.
    appendfsync: Literal["always", "everysec"] = "always" if seed % 2 else "everysec"
    servers = Servers(home / "servers", appendfsync)
    fleet = Fleet(servers, home, rules.folder)
    watcher, platform = Watcher(servers), Platform(servers)
    async with (
        servers.running(),
        _opened(Line(home / "lines" / PRODUCERS / "valkey.sock", servers.broker.socket)) as line,
        Producers(url_of_broker(line.path), messages) as producers,
    ):
        async with fleet.running(), _meanwhile(watcher.run()), _meanwhile(platform.run()):
            async with asyncio.TaskGroup() as group:
                group.create_task(_fail(World(servers, fleet, line, rules), schedule, course, tell))
                await producers.publish()
                course.published_at = time.monotonic()
            tell("nothing fails any more: settling")
            began = time.monotonic()
            course.lost_by_broker = await settle(servers, producers, messages, platform)
            assert not course.lost_by_broker or appendfsync == "everysec", "the broker answered what it had not on disk"
            course.settled_seconds = time.monotonic() - began
            course.moved, course.deaths = watcher.moved, fleet.deaths
            statuses = await fleet.end()
            assert set(statuses.values()) == {0}, f"told to end, and ended with {statuses}"
        await _verify(servers, rules.folder)
        return course, await gather(servers, rules.policies, messages, producers.sent, platform.told, watcher.seen)


async def _fail(world: World, schedule: list[Period], course: Course, tell: Tell) -> None:
    for period in schedule:
        began = time.monotonic()
        tell("; ".join(f"{one.kind} ({one.target}, {one.seconds} s)" for one in period.faults) or "nothing fails")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_inflict(world, fault, tell)) for fault in period.faults]
        await asyncio.sleep(max(began + period.seconds - time.monotonic(), 0))
        course.add_period(
            [(fault, task.result()) for fault, task in zip(period.faults, tasks, strict=True)], began, time.monotonic()
        )


async def _inflict(world: World, fault: Fault, tell: Tell) -> float:
    await asyncio.sleep(fault.after)
    began = time.monotonic()
    await inflict(world, fault)
    took = time.monotonic() - began
    if took > fault.seconds + _TOLD_AFTER_SECONDS:
        tell(f"{fault.kind} ({fault.target}) was over after {took:.1f} s")
    return began


async def _verify(servers: Servers, programmes: Path) -> None:
    """Have the command verify every ledger."""
    settings = {"DATABASE_URL": servers.database_url, "VOUCHER_LEDGER_PROGRAMMES_DIR": str(programmes)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "verify", env=environment(**settings),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), _VERIFIED_WITHIN_SECONDS)
    assert process.returncode == 0, said.decode()


@contextlib.asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have something done for as long as the context lasts; what it fails with is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)
    if not task.cancelled():
        task.result()


@contextlib.asynccontextmanager
async def _opened(line: Line) -> AsyncIterator[Line]:
    await line.open()
    try:
        yield line
    finally:
        await line.close()
