"""Processes of a sample: the services as they run in production, and children that a bench measures in. All end with it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.stage import Place
from services.cli.supervise import PARENT
from services.settings import PREFIX

_END_SECONDS = 30
_TOLD_BYTES = 2_000
_LINE_MAX = 2**24


class ChildError(RuntimeError):
    """A process ended by itself, or said what it should not; the message has its last words."""


@dataclass(slots=True)
class Child:
    """A process, and the file that its words go to."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    def check(self) -> None:
        """Raise ChildError when it ended by itself."""
        if self.process.returncode is not None:
            raise ChildError(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it logged."""
        return self.log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace").strip()

    def cpu_seconds(self) -> float | None:
        """Return the processor time that it has used, None where nothing tells."""
        return machine.cpu_seconds(self.pid)

    def memory_bytes(self, field: str = "VmRSS") -> int | None:
        """Return its resident memory (``VmHWM``: the highest it was), None where nothing tells."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def environment(place: Place, programmes_folder: Path) -> dict[str, str]:
    """Return the environment of a service: the place's servers, the sample's programmes, and else the defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {
        "DATABASE_URL": place.database_url,
        "REDIS_URL": place.redis_url,
        f"{PREFIX}PROGRAMMES_DIR": str(programmes_folder),
        f"{PREFIX}LOG_LEVEL": "warning",
        PARENT: str(os.getpid()),
    }


@contextlib.asynccontextmanager
async def running(
    name: str, arguments: Sequence[str], log: Path, variables: Mapping[str, str] | None = None, *, talks: bool = False
) -> AsyncIterator[Child]:
    """Run a Python module with its arguments for as long as the context lasts; ``talks``: we have both its ends."""
    with log.open("ab") as words:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, env=variables or {**os.environ, PARENT: str(os.getpid())},
            stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if talks else words, stderr=words, limit=_LINE_MAX,
        )  # fmt: skip
    try:
        yield Child(name, process, log)
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def services(
    place: Place, programmes_folder: Path, counts: Mapping[str, int], settings: Mapping[str, str] | None = None
) -> AsyncIterator[list[Child]]:
    """Run so many processes of each service; ``settings`` are those that are not the defaults, by their variables."""
    variables = {**environment(place, programmes_folder), **(settings or {})}
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                running(
                    f"{name} {number}", ("services.cli", "run", name), place.folder / f"{name}-{number}.log", variables
                )
            )
            for name, count in counts.items()
            for number in range(count)
        ]


@contextlib.asynccontextmanager
async def measuring(module: str, task: Mapping[str, Any], folder: Path, name: str) -> AsyncIterator[Child]:
    """Run a module that measures in a process of its own, and return when it is ready for ``fire``. See ``startline``."""
    async with running(name, (module, json.dumps(task)), folder / f"{name}.log", talks=True) as child:
        if (line := await _line(child)) != "ready":
            raise ChildError(f"{name} said {line[:200]!r}")
        yield child


async def fire(children: Sequence[Child]) -> list[dict[str, Any]]:
    """Let the children begin all at once; return what each measured."""
    for child in children:
        if child.process.stdin is None:
            raise AssertionError("a measuring child has an input")
        child.process.stdin.write(b"go\n")
    return [json.loads(await _line(child)) for child in children]


async def _line(child: Child) -> str:
    if child.process.stdout is None:
        raise AssertionError("a measuring child has an output")
    line = await child.process.stdout.readline()
    if not line:
        raise ChildError(f"{child.name} ended with {await child.process.wait()}: {child.last_words()}")
    return line.decode().strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
