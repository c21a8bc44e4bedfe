"""A browser as the monitor sees it: it asks for a page, opens the page's socket, and takes what is new until it goes to another."""

import asyncio
import contextlib
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import socketio

from benchmarks.children import ChildError
from benchmarks.monitoring import Asking

_SOCKET_PATH: Final = "/_nicegui_ws/socket.io"
_QUERY: Final = re.compile(rb"query: ({[^}]*})")
"""What a page tells its browser to open the socket with, in JavaScript."""
_unheard: Final = logging.getLogger(__name__)
"""For what the client says of every socket that it closes while something is on its way."""
_unheard.setLevel(logging.CRITICAL)


class Browser:
    """Has one page open at a time; ``taken`` counts what was new on all of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: socketio.AsyncClient | None = None
        self.taken = 0

    async def go(self, path: str) -> float:
        """Leave the page and open another; return the seconds until the whole page was there. Raises ChildError."""
        await self.leave()
        page, seconds = await asyncio.to_thread(Asking(self._url).read, path)
        found = _QUERY.search(page)
        if found is None:
            raise ChildError(f"{path}: no page that opens a socket")
        query = json.loads(found[1].replace(b"'", b'"').replace(b"True", b"true"))
        query |= {"tab_id": uuid.uuid4(), "document_id": uuid.uuid4(), "implicit_handshake": "true"}
        socket = self._socket = socketio.AsyncClient(reconnection=False, logger=_unheard, engineio_logger=_unheard)
        socket.on("update", self._take)
        await socket.connect(f"{self._url}?{urlencode(query)}", socketio_path=_SOCKET_PATH, transports=["websocket"])
        return seconds

    async def leave(self) -> None:
        """Close the page, if one is open. Raises ChildError where the monitor closed it before."""
        if self._socket is not None:
            socket, self._socket = self._socket, None
            if not socket.connected:
                raise ChildError("the monitor closed a page's socket")
            await socket.disconnect()

    def _take(self, _: Any) -> None:
        self.taken += 1


@contextlib.asynccontextmanager
async def browsers(url: str, *paths: str) -> AsyncIterator[list[Browser]]:
    """Open a browser for each of the pages, and close them all at the end."""
    opened = [Browser(url) for _ in paths]
    try:
        for browser, path in zip(opened, paths, strict=True):
            await browser.go(path)
        yield opened
    finally:
        for browser in opened:
            with contextlib.suppress(ChildError):
                await browser.leave()
