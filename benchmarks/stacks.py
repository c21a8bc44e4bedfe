"""py-spy on a running process: a flame graph, or stacks to count. Pure but for running it."""

import asyncio
import contextlib
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from benchmarks.registry import SkippedError

_RATE_HZ = 200
_ATTACH_SECONDS = 1.0
_OURS = re.compile(r"\((schemas|services)/(?!cli/)")


def py_spy() -> str:
    """Return the program; raise SkippedError when it is not installed."""
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise SkippedError("py-spy is not installed: pip install '.[bench]'")
    return found


@contextlib.asynccontextmanager
async def recording(pid: int, output: Path, form: Literal["raw", "flamegraph"]) -> AsyncIterator[None]:
    """Record a process's Python stacks, where it is on a core, for as long as the context lasts."""
    process = await asyncio.create_subprocess_exec(
        py_spy(), "record", "--pid", str(pid), "--rate", str(_RATE_HZ), "--format", form, "--output", str(output),
        "--nonblocking", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await asyncio.sleep(_ATTACH_SECONDS)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
    if not output.exists():  # noqa: ASYNC240  nothing else is running
        raise SkippedError(f"py-spy could not look into the process: {said.decode(errors='replace').strip()[-300:]}")


def _without_line(frame: str) -> str:
    place, found, _ = frame.rpartition(":")
    return f"{place})" if found else frame


def shares(raw: str, limit: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shares (0 to 1) of the functions that most samples were in: themselves, and with what they call.

    The second tells of this project's functions only, without the command line's: all samples are in those.
    """
    itself, below = Counter[str](), Counter[str]()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";")]
        itself[frames[-1]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)
    total = sum(itself.values()) or 1
    for frame in [frame for frame in below if not _OURS.search(frame)]:
        del below[frame]
    return tuple({name: count / total for name, count in counted.most_common(limit)} for counted in (itself, below))  # type: ignore[return-value]  # two of them
