"""The monitor's process as benches run it, and a client that asks it and measures."""

import asyncio
import contextlib
import http.client
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from benchmarks.children import Child, ChildError, environment, running
from benchmarks.stage import Place
from services.addresses import listen, url_of
from services.settings import PREFIX

ENFORCES: Final = (
    "The monitor as it is shipped: every answer whole, of one moment, exact whether the read model keeps up or not; keys are not checked, "
    "for the requests come from this host."
)
_STARTED_WITHIN_SECONDS: Final = 60


class Asking:
    """A client that keeps one connection; it measures what it asks."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)

    def ask(self, path: str) -> float:
        """Ask for a path; return the seconds until the whole answer was there. Raises ChildError for any but a 200."""
        return self.read(path)[1]

    def read(self, path: str) -> tuple[bytes, float]:
        """Do the same; return the answer too."""
        began = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        if answer.status != http.client.OK:
            raise ChildError(f"{path}: {answer.status} {body[:200]!r}")
        return body, took


@contextlib.asynccontextmanager
async def monitoring(place: Place, folder: Path) -> AsyncIterator[tuple[Child, str]]:
    """Run the monitor; give its process and its URL once it answers."""
    with listen("127.0.0.1", 0) as listening:
        url = url_of(listening)
    variables = environment(place, folder) | {f"{PREFIX}MONITOR_PORT": url.rpartition(":")[2]}
    async with running("monitor", ("services.cli", "run", "monitor"), place.folder / "monitor.log", variables) as child:
        deadline = time.monotonic() + _STARTED_WITHIN_SECONDS
        while True:
            child.check()
            try:
                await asyncio.to_thread(Asking(url).ask, "/readyz")
            except (OSError, ChildError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                break
        yield child, url
