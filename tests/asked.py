"""Asking a service over HTTP, at a port of its own."""

import asyncio
import http.client
import socket


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


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
