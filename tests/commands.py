"""The installed command `voucher-ledger`, run as its users run it: in a process of its own, in a folder of their choice."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from events_made import Wire, raw, shipped
from eventually import eventually_now
from verified import verify_all_of

from services import broker
from services.cli.home import read_note
from services.embedded import processes
from services.queues import Queue, queues

Result = TypeVar("Result")

COMMAND = str(Path(sys.executable).with_name("voucher-ledger"))
SERVICES = ("issued", "redeemed", "exhausted", "notifier", "monitor")


def environment(**variables: str) -> dict[str, str]:
    """Return the environment without any setting of ours but these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VOUCHER_LEDGER_") and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    return kept | variables


def run(
    *arguments: str, cwd: Path, stdin: bytes | None = None, seconds: float = 60, **variables: str
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [COMMAND, *arguments], cwd=cwd, input=stdin, capture_output=True, check=False, timeout=seconds,
        env=environment(**variables),
    )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def answer(*arguments: str, cwd: Path, status: int = 0, **variables: str) -> Any:
    """Run a command with --json, and return the one document that it prints."""
    done = run(*arguments, "--json", cwd=cwd, **variables)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def write_events(path: Path, *events: Wire | bytes) -> Path:
    lines = (event if isinstance(event, bytes) else raw(event) for event in events)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@contextlib.contextmanager
def up(home: Path, cwd: Path, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `up` with all its services reading; whatever the test did, nothing of it is left running."""
    with (cwd / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [COMMAND, "up", "--home", str(home)], cwd=cwd, env=environment(**variables), stderr=log
        )
    try:
        eventually_now(lambda: process.poll() is not None or reading(home), 60, "up")
        assert process.poll() is None, (cwd / "up.log").read_text()
        yield process
        if (running := read_note(home)) is not None:
            asyncio.run(verify_all_of(running.database_url))
    finally:
        process.terminate()
        process.wait(60)


def on_broker(home: Path, act: Callable[[broker.Redis], Awaitable[Result]]) -> Result:
    """Do something on the broker of what is up in the home, as any client of it can."""
    running = read_note(home)
    assert running is not None, "nothing is up"

    async def connected() -> Result:
        client = broker.connect(running.redis_url)
        try:
            return await act(client)
        finally:
            await client.aclose()

    return asyncio.run(connected())


def queues_of(home: Path) -> dict[str, Queue]:
    return {row.stream: row for row in on_broker(home, lambda client: queues(client, shipped()))}


def settle(home: Path) -> dict[str, Queue]:
    """Wait until nothing waits on any stream; return how they stand, by stream."""

    def rows() -> dict[str, Queue]:
        found = queues_of(home)
        return {} if any(row.lag or row.pending for row in found.values()) else found

    return eventually_now(rows, 30, "nothing waits")


def position_of(home: Path, programme: str = "chengdu-2024") -> int:
    running = read_note(home)
    assert running is not None, "nothing is up"

    async def ask() -> int:
        connection = await asyncpg.connect(running.database_url)
        try:
            return await connection.fetchval("SELECT position FROM head WHERE programme = $1", programme) or 0
        finally:
            await connection.close()

    return asyncio.run(ask())


def reading(home: Path) -> bool:
    """Whether what is up in the home reads every inbound stream at this moment."""
    if read_note(home) is None:
        return False
    inbound = [row for row in queues_of(home).values() if row.stream.startswith(("voucher.", "quota."))]
    return all(row.last_read_seconds is not None and row.last_read_seconds < 2 for row in inbound)


def services_of(parent: int) -> list[int]:
    """Return the service processes that an `up` has started."""
    return [row.pid for row in processes.table() if row.parent == parent and "services.cli run" in row.command]


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def servers_of(home: Path) -> list[int]:
    """Return the embedded servers that run in the home."""
    return [
        *processes.find(("postgres",), "-D", home / "postgres"),
        *processes.find(("valkey-server", "redis-server"), "--dir", home / "valkey"),
    ]
