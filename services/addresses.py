"""Addresses to be reached at: listening on one, and its URL."""

import socket
from typing import Final

_BACKLOG: Final = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is any that is free. Raises OSError when the address cannot be had."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    # Every connection has it from here: asyncio's own loop does not see that these are TCP's, and leaves it. Without it the second
    # part of an answer is held back until the client has acknowledged the first, some 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL of what listens, for this host."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  what it is bound to is the setting's
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
