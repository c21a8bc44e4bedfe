"""The HTTP server of the monitor's process: it runs until it is told to stop, and lets what it is at come to its end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from services.tasks import end


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Whoever runs it listens to signals.
        yield


async def serve(app: Any, listening: socket.socket, stopping: asyncio.Event, *, graceful_seconds: float) -> None:
    """Serve until ``stopping`` is set; then end what is being answered, within so many seconds."""
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        # Who asks decides what is answered: an address that a header claims is not believed.
        proxy_headers=False,
        timeout_graceful_shutdown=max(int(graceful_seconds), 1),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        await end(waiting, serving)
