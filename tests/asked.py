"""Asking a service over HTTP, at a port of its own."""

import asyncio
import contextlib
import http.client
import socket


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    (port,) = free_ports(1)
    return port


def free_ports(number: int) -> list[int]:
    """Return so many of them, each another."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def _get(port: int, path: str) -> tuple[int, str, str]:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asked.request("GET", path)
        answer = asked.getresponse()
        return answer.status, answer.headers["content-type"], answer.read().decode()
    finally:
        asked.close()


async def get(port: int, path: str) -> tuple[int, str, str]:
    """Return the status, the content type and the body; status 0 where nobody listens yet."""
    try:
        return await asyncio.to_thread(_get, port, path)
    except ConnectionError:
        return 0, "", ""
