"""The lines between services and servers: a unix socket for each, which passes on what it is given until it is told otherwise.

A service is cut off from one server while the others work on. A line can be cut, slow, stalled (nothing passes, nothing is lost), or
deaf: what the service says arrives and is done, and it never hears so.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from services.embedded.postgres import PORT

_CHUNK_BYTES = 2**16
_SLOW_SECONDS = 0.05


class State(StrEnum):
    """How a line is."""

    OPEN = "open"
    CUT = "cut"
    SLOW = "slow"
    STALLED = "stalled"
    DEAF = "deaf"


class Line:
    """One line: listens at a path for its service, and connects each time to where the server is."""

    def __init__(self, path: Path, server: Path) -> None:
        self.path = path
        self._server = server
        self._listening: asyncio.Server | None = None
        self._states = [State.OPEN]
        self._flows = asyncio.Event()
        self._flows.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._listening = await asyncio.start_unix_server(self._accept, self.path)

    async def close(self) -> None:
        """Listen no more, and cut what is connected."""
        if self._listening is not None:
            self._listening.close()
        self.cut()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        await asyncio.sleep(0)  # what was cut is let go of in the loop's next round

    def cut(self) -> None:
        """Cut every connection at once; what is on its way is lost."""
        for end in self._ends:
            end.transport.abort()

    @contextlib.contextmanager
    def being(self, state: State) -> Iterator[None]:
        """Be in a state for as long as the context lasts; of several the last to come counts."""
        self._states.append(state)
        self._changed()
        try:
            yield
        finally:
            if state is State.DEAF:
                self.cut()  # what was not heard never will be
            self._states.remove(state)
            self._changed()

    @property
    def _state(self) -> State:
        return self._states[-1]

    def _changed(self) -> None:
        if self._state is State.STALLED:
            self._flows.clear()
        else:
            self._flows.set()
        if self._state is State.CUT:
            self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        self._ends.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._ends.discard(writer)
            self._passing.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        if self._state is State.CUT:
            return
        its_reader, its_writer = await asyncio.open_unix_connection(self._server)
        self._ends.add(its_writer)
        try:
            ways = {
                asyncio.create_task(self._pass(reader, its_writer)),
                asyncio.create_task(self._pass(its_reader, writer, back=True)),
            }
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            its_writer.transport.abort()
            self._ends.discard(its_writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool = False) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self._state is State.SLOW:
                await asyncio.sleep(_SLOW_SECONDS)
            await self._flows.wait()
            if self._state is State.DEAF and back:
                continue
            writer.write(data)
            await writer.drain()


def url_of_database(socket: Path) -> str:
    """Return the URL by which a service reaches the database through a socket."""
    return f"postgresql://postgres@/ledger?host={quote(str(socket.parent), safe='/')}&port={PORT}"


def url_of_broker(socket: Path) -> str:
    """Return the URL by which a service reaches the broker through a socket."""
    return f"unix://{quote(str(socket), safe='/')}"
