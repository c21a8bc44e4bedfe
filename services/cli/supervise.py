"""All services as processes of one group: started, started again when one dies, and ended together."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

import structlog

from services.ending import CLOSES_WITHIN_SECONDS
from services.settings import PREFIX
from services.tasks import end

log = structlog.get_logger()

SERVICES: Final = ("issued", "redeemed", "exhausted", "notifier", "monitor")
PARENT: Final = "VOUCHER_LEDGER_PARENT_PID"
"""Names the supervisor's process to a service, which ends when that is gone."""

_PAUSE_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
_STABLE_SECONDS: Final = 30.0
_SAID_WITHIN_SECONDS: Final = 5.0
"""Longer than a service takes to say why it has not ended; see ``ending``."""


class Supervisor:
    """Keeps the services running until it is told to stop."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        graceful_seconds: float,
        health_port: int | None = None,
        services: tuple[str, ...] = SERVICES,
    ) -> None:
        self._environment = {**os.environ, **environment, PARENT: str(os.getpid())}
        self._health_port = health_port
        self._graceful_seconds = graceful_seconds
        self._services = services
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    def environment_of(self, name: str) -> dict[str, str]:
        """Return what a service is started with: of several on one host, each has its health at a port of its own."""
        if not self._health_port:
            return self._environment
        port = self._health_port + self._services.index(name)
        return {**self._environment, f"{PREFIX}HEALTH_PORT": str(port)}

    async def run(self, stop: asyncio.Event) -> None:
        """Run all services; return when ``stop`` is set and the last of them has ended."""
        async with asyncio.TaskGroup() as group:
            for name in self._services:
                group.create_task(self._keep(name, stop))

    async def _keep(self, name: str, stop: asyncio.Event) -> None:
        loop, deaths = asyncio.get_running_loop(), 0
        while not stop.is_set():
            started = loop.time()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.cli", "run", name, env=self.environment_of(name)
            )
            self.processes[name] = process
            await self._until_either_ends(process, stop)
            if stop.is_set():
                return
            deaths = 0 if loop.time() - started > _STABLE_SECONDS else deaths
            pause = _PAUSE_SECONDS[min(deaths, len(_PAUSE_SECONDS) - 1)]
            deaths += 1
            log.error("a service ended by itself", which=name, status=process.returncode, again_in_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _until_either_ends(self, process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
        """Return when the process has ended, by itself or because it was time to stop: nothing is left running."""
        either = [asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*either)
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(
                process.wait(), self._graceful_seconds + CLOSES_WITHIN_SECONDS + _SAID_WITHIN_SECONDS
            )
        except TimeoutError:
            process.kill()
            await process.wait()


async def end_with_parent() -> None:
    """Ask this process to end once the supervisor that started it is gone; return at once when there is none."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return
    while os.getppid() == int(parent):  # noqa: ASYNC110  nothing tells a process that its parent is gone
        await asyncio.sleep(1)
    log.warning("the supervisor is gone: ending")
    os.kill(os.getpid(), signal.SIGTERM)
