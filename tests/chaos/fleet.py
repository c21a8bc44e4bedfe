"""The services of a campaign, two of each kind, as processes with lines of their own, and kept running as their keeper would."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from commands import environment

from chaos.lines import Line, url_of_broker, url_of_database
from chaos.servers import Servers
from services.embedded.postgres import PORT
from services.ending import HUNG
from services.tasks import end

KINDS: Final = ("issued", "redeemed", "exhausted", "notifier")
CONSUMERS: Final = KINDS[:3]
NAMES: Final = tuple(f"{kind}-{number}" for kind in KINDS for number in (1, 2))
WAIT_SECONDS: Final = 10.0
"""How long a redemption waits for its voucher: some wait in vain, and some of what they wait for comes late."""
CLAIM_IDLE_SECONDS: Final = 2.0
GRACEFUL_SECONDS: Final = 3.0
ENDS_WITHIN_SECONDS: Final = 30.0
"""A service that was told to end and has not by then is at fault; it says itself where it hangs before that, and ends."""

_SETTINGS: Final = {
    "VOUCHER_LEDGER_CLAIM_IDLE_SECONDS": str(CLAIM_IDLE_SECONDS), "VOUCHER_LEDGER_CLAIM_EVERY_SECONDS": "0.5",
    "VOUCHER_LEDGER_EXPIRE_EVERY_SECONDS": "1", "VOUCHER_LEDGER_WAIT_HOURS": str(WAIT_SECONDS / 3600),
    "VOUCHER_LEDGER_BLOCK_MS": "500", "VOUCHER_LEDGER_BATCH_SIZE": "100", "VOUCHER_LEDGER_RETRY_SECONDS_MAX": "1",
    "VOUCHER_LEDGER_GRACEFUL_SECONDS": str(GRACEFUL_SECONDS), "VOUCHER_LEDGER_LOG_LEVEL": "warning",
}  # fmt: skip
_LOOK_EVERY_SECONDS: Final = 0.2
_STARTED_AGAIN_AFTER_SECONDS: Final = 0.5
_LISTENS_WITHIN_SECONDS: Final = 20.0


class Lines:
    """A service's two lines."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.database = Line(folder / f".s.PGSQL.{PORT}", servers.database.socket)
        self.broker = Line(folder / "valkey.sock", servers.broker.socket)

    def both(self) -> tuple[Line, Line]:
        """Return the two."""
        return self.database, self.broker


class Fleet:
    """The services by name; each is started again when it ends by itself."""

    def __init__(self, servers: Servers, folder: Path, programmes: Path) -> None:
        self.lines = {name: Lines(folder / "lines" / name, servers) for name in (*NAMES, *map(twin_of, NAMES))}
        self.log = folder / "services.log"
        self.deaths: Counter[str] = Counter()
        """Ends that nobody asked for, and such as were asked for and had another status than 0."""
        self._settings = _SETTINGS | {"VOUCHER_LEDGER_PROGRAMMES_DIR": str(programmes)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._changing = {name: asyncio.Lock() for name in self.lines}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the lines, start the services, and keep them; at the end none of them is left."""
        for lines in self.lines.values():
            for line in lines.both():
                await line.open()
        keeping = asyncio.create_task(self._keep())
        try:
            for name in NAMES:
                await self.start(name)
            yield
        finally:
            await end(keeping)
            for process in self._processes.values():
                process.kill()
                process.wait()
            for lines in self.lines.values():
                for line in lines.both():
                    await line.close()

    async def start(self, name: str, *, ahead_seconds: float = 0) -> None:
        """Start a service that does not run; with its clock ahead by so much, or behind."""
        async with self._changing[name]:
            self._start(name, ahead_seconds)

    async def kill(self, name: str) -> None:
        """Kill a service, and start it again."""
        async with self._changing[name]:
            if (process := self._processes.pop(name, None)) is not None:
                process.kill()
                await asyncio.to_thread(process.wait)
            self._start(name)

    async def restart(self, name: str, *, ahead_seconds: float = 0) -> None:
        """Tell a service to end, wait until it has, and start it again."""
        async with self._changing[name]:
            status = await self._end(name)
            assert status != HUNG, f"{name} did not end by itself, and was at: {self._hung_at()}"
            if status not in {None, 0}:
                self.deaths[f"{kind_of(name)} ({status}, when told to end)"] += 1
            self._start(name, ahead_seconds)

    async def freeze(self, name: str, seconds: float) -> None:
        """Stop a service where it is, and let it go on later."""
        process = self._processes.get(name)
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def twin(self, name: str) -> AsyncIterator[None]:
        """Have a second process under a service's name for as long as the context lasts, as after a careless deployment."""
        twin = twin_of(name)
        await self.start(twin)
        try:
            yield
        finally:
            async with self._changing[twin]:
                await self._end(twin)

    async def end(self) -> dict[str, int]:
        """Tell all of them to end, and return their exit statuses."""
        return {name: await self._ended(name) for name in NAMES}

    async def _ended(self, name: str) -> int:
        async with self._changing[name]:
            return await self._end(name) or 0

    def _start(self, name: str, ahead_seconds: float = 0) -> None:
        lines = self.lines[name]
        urls = {
            "DATABASE_URL": url_of_database(lines.database.path), "REDIS_URL": url_of_broker(lines.broker.path),
            "VOUCHER_LEDGER_CONSUMER_NAME": name.removesuffix(_TWIN), "PYTHONPATH": _path(),
        }  # fmt: skip
        command = ["-m", "chaos.skewed", str(ahead_seconds)] if ahead_seconds else ["-m", "services.cli"]
        self._started[name] = time.monotonic()
        with self.log.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *command, "run", kind_of(name)], env=environment(**urls, **self._settings), stderr=log
            )

    def _hung_at(self) -> str:
        return "\n".join(line for line in self.log.read_text().splitlines() if "ended by force" in line)

    async def _end(self, name: str) -> int | None:
        process = self._processes.pop(name, None)
        if process is None:
            return None
        began = time.monotonic()
        process.terminate()
        try:
            status = await asyncio.to_thread(process.wait, ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{name} did not end within {time.monotonic() - began:.0f} s of SIGTERM") from None
        # One that was started a moment ago has not got as far as to listen to signals.
        return 0 if status == -signal.SIGTERM and began - self._started[name] < _LISTENS_WITHIN_SECONDS else status

    async def _keep(self) -> None:
        while True:
            for name, process in list(self._processes.items()):
                if process.poll() is None or self._changing[name].locked():
                    continue
                async with self._changing[name]:
                    if self._processes.get(name) is not process:
                        continue  # someone has started it again while this waited for another
                    self.deaths[f"{kind_of(name)} ({process.returncode})"] += 1
                    await asyncio.sleep(_STARTED_AGAIN_AFTER_SECONDS)
                    self._start(name)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


_TWIN: Final = "-twin"


def twin_of(name: str) -> str:
    """Return the name of a second process of the same name."""
    return name + _TWIN


def kind_of(name: str) -> str:
    """Return which service it is."""
    return name.partition("-")[0]


def _path() -> str:
    return str(Path(__file__).parents[1])
