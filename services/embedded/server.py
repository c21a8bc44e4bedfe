"""One server process: started, waited for, stopped, killed, and found again when its keeper was killed.

Role: what PostgreSQL and Valkey have in common as processes. It must not know either of them, and it never signals a
process that it did not start unless that process's command line names the server's own directory.
"""

import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from services.embedded import processes
from services.embedded.account import Account
from services.embedded.home import EmbeddedError, Home

# Recovery after a crash replays what was written since the last checkpoint, which can take minutes on a slow disk.
PATIENCE_START = 300.0
POLL = 0.01


class Server(ABC):
    """A server of the home; a subclass says what to execute, when it is ready and how it is asked to end."""

    title: ClassVar[str]
    # Signals that ask it to end, the most polite first, with the seconds it is given before the next.
    farewell: ClassVar[Sequence[tuple[signal.Signals, float]]]
    # Names of its executable, and the option whose value is its directory: what an orphan is known by.
    executables: ClassVar[tuple[str, ...]]
    option: ClassVar[str]

    def __init__(self, home: Home, name: str) -> None:
        """Settle the paths; nothing is touched yet."""
        self._home = home
        self._directory = home.path / name
        self._log = home.path / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None if it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the server process is alive; one that died on its own, or was killed, is not."""
        return self.pid is not None

    @property
    @abstractmethod
    def url(self) -> str:
        """What a client connects to; known before the server runs."""

    @abstractmethod
    def _prepare(self) -> tuple[Account, list[str]]:
        """Make what the server needs, and say as whom it runs and with what command line."""

    @abstractmethod
    def _ready(self, pid: int, said: str) -> bool:
        """Whether it takes commands, given what it has logged since it was started."""

    def start(self) -> None:
        """Start it and return once it takes commands; does nothing if it runs.

        Raises EmbeddedError, with the last lines of its log, if it ends instead; or if the home is not held.
        """
        if self.running:
            return
        self._home.check_taken()
        account, command = self._prepare()
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            begin = os.fstat(log.fileno()).st_size
            self._process = process = account.launch(command, log)

        def settled() -> bool:
            return process.poll() is not None or self._ready(process.pid, self._said(begin))

        if wait_for(settled, PATIENCE_START) and self.running:
            return
        self.stop()
        last = "\n".join(self._said(begin).splitlines()[-12:])
        raise EmbeddedError(f"{self.title} did not come up; the end of {self._log}:\n{last}")

    def stop(self) -> None:
        """Ask it to end, and make it end if it does not; does nothing if it does not run.

        Raises EmbeddedError if it outlives even SIGKILL.
        """
        process = self._process
        if process is not None and process.poll() is None:
            self._end(process.pid, lambda: process.poll() is not None)
        self._process = None

    def kill(self) -> None:
        """SIGKILL it with all its children, and return when the last of them is gone; for tests of faults.

        Raises EmbeddedError if one of them outlives it.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)  # a stopped parent starts no further child while they are counted
        children = [row.pid for row in processes.table() if row.parent == process.pid]
        for pid in (process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        self._process = None
        if not wait_for(lambda: all(map(processes.gone, children)), 10):
            raise EmbeddedError(f"{self.title}: a child of process {process.pid} outlived SIGKILL.")

    def stop_orphans(self) -> None:
        """Stop the server that an earlier keeper of this home left running when it was killed.

        To be called with the home held and the server not started. Raises EmbeddedError if it outlives even SIGKILL.
        """
        if self.running:
            return
        self._home.check_taken()
        for pid in processes.find(self.executables, self.option, self._directory):
            self._end(pid, partial(processes.gone, pid))

    def _end(self, pid: int, gone: Callable[[], bool]) -> None:
        for number, patience in (*self.farewell, (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)  # one that a test has stopped would not hear the rest
            if wait_for(gone, patience):
                return
        raise EmbeddedError(f"{self.title}, process {pid}, outlived SIGKILL: it hangs in the kernel.")

    def _said(self, begin: int) -> str:
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")


def wait_for(condition: Callable[[], bool], patience: float) -> bool:
    """Look until the condition holds or the seconds are over; whether it held."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL)
    return True
