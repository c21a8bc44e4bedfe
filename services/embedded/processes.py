"""The system's table of processes: what is needed to find a server whose keeper was killed.

Role: read it, from /proc or else from `ps`. It must not signal anything. A server is known by its command line and not
by a file with its process id: a number is used again, and a keeper can be killed before it has written one.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HAS_PROC = Path("/proc/self/stat").exists()


@dataclass(frozen=True, slots=True)
class Process:
    """A living process as the table has it; the parts of its command line are joined by blanks."""

    pid: int
    parent: int
    command: str


def table() -> list[Process]:
    """Every living process that this user may see; a zombie holds nothing any more and is left out."""
    if HAS_PROC:
        rows = (_read(int(entry.name)) for entry in os.scandir("/proc") if entry.name.isdigit())
        return [row for row in rows if row is not None]
    return _ask_ps()


def gone(pid: int) -> bool:
    """Whether the process has ended, also where nobody has collected it yet."""
    return _read(pid) is None if HAS_PROC else all(row.pid != pid for row in table())


def find(executables: Sequence[str], option: str, directory: Path) -> list[int]:
    """Find the processes that run one of these executables with this directory as the option's value.

    Children that were forked a moment ago still carry their parent's command line, and are left out.
    """
    names = "|".join(map(re.escape, executables))
    pattern = re.compile(rf"(^|/)({names}) (.* )?{re.escape(option)} {re.escape(str(directory))}( |$)", re.DOTALL)
    found = {row.pid: row.parent for row in table() if pattern.search(row.command)}
    return [pid for pid, parent in found.items() if parent not in found]


def _read(pid: int) -> Process | None:
    try:
        # The second field is a name that may hold anything, so the fields are counted after its closing bracket.
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None  # it ended between the listing and the look
    if state in {"Z", "X"}:
        return None
    return Process(pid, int(parent), os.fsdecode(command).replace("\0", " "))


def _ask_ps() -> list[Process]:
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,ppid=,stat=,command="],  # noqa: S607 - `ps` has no one place on the systems without /proc
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    rows = (line.split(None, 3) for line in os.fsdecode(listing).splitlines())
    return [Process(int(row[0]), int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")]
