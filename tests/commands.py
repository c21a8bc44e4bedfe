"""The installed command `voucher-ledger`, run as its users run it: in a process of its own, in a folder of their choice."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from events_made import Wire, raw
from eventually import eventually_now

from services.embedded import processes

COMMAND = str(Path(sys.executable).with_name("voucher-ledger"))
SERVICES = ("issued", "redeemed", "exhausted", "notifier")


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
        eventually_now(lambda: process.poll() is not None or reading(home, cwd), 60, "up")
        assert process.poll() is None, (cwd / "up.log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(60)


def reading(home: Path, cwd: Path) -> bool:
    """Whether what is up in the home reads every inbound stream."""
    done = run("queues", "--json", cwd=cwd, VOUCHER_LEDGER_HOME=str(home))
    if done.returncode:
        return False
    rows = json.loads(done.stdout)["streams"]
    return all(row["consumers"] for row in rows if row["stream"].startswith(("voucher.", "quota.")))


def services_of(parent: int) -> list[int]:
    """Return the service processes that an `up` has started."""
    return [row.pid for row in processes.table() if row.parent == parent and "services.cli run" in row.command]


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
