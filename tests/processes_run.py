"""Services as processes of their own on servers of their own, to be killed and started again."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import environment

from services.embedded import Servers

QUICK = {
    "VOUCHER_LEDGER_CLAIM_IDLE_SECONDS": "1", "VOUCHER_LEDGER_CLAIM_EVERY_SECONDS": "0.5",
    "VOUCHER_LEDGER_BLOCK_MS": "100", "VOUCHER_LEDGER_PROGRAMMES": "chengdu-2024", "VOUCHER_LEDGER_BATCH_SIZE": "100",
    "VOUCHER_LEDGER_LOG_LEVEL": "warning", "VOUCHER_LEDGER_MONITOR_PORT": "0",
}  # fmt: skip
"""Settings under which what a killed consumer left is taken over soon, batches are many, and the monitor takes any port."""


class Services:
    """The services that run now, by a name of the test's."""

    def __init__(self, servers: Servers, log: Path, **variables: str) -> None:
        urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
        self._environment = environment(**urls, **variables)
        self._log = log
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.started: dict[str, float] = {}

    def start(self, name: str, service: str) -> None:
        self.started[name] = time.monotonic()
        with self._log.open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "services.cli", "run", service], env=self._environment, stderr=log
            )

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        assert process.poll() is None, f"{name} ended by itself: {self.log()}"
        process.kill()
        process.wait()

    def log(self) -> str:
        """Return the end of what they said."""
        return self._log.read_text()[-4000:]

    def end(self) -> list[int]:
        """End them all as their keeper would, and return their exit statuses."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        return [process.wait(30) for process in self.running.values()]


@contextmanager
def services_on(servers: Servers, log: Path, **variables: str) -> Iterator[Services]:
    services = Services(servers, log, **variables)
    try:
        yield services
    finally:
        for process in services.running.values():
            process.kill()
            process.wait()
