"""Asking a service over HTTP, at a port of its own."""

import asyncio
import contextlib
import http.client
import random
from typing import Final

from services.addresses import listen

_OURS: Final = range(20_000, 32_768)
"""Below those that a system gives to whoever connects somewhere (Linux from 32768 on, others from 49152 on): none that was found free
here is taken by some service's connection before the one that is to listen on it has begun."""
_draw = random.SystemRandom()
"""Python's own generator begins anew in every test."""


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    return free_ports(1)[0]


def free_ports(number: int) -> range:
    """Return so many of them, in a row."""
    while True:
        first = _draw.randrange(_OURS.start, _OURS.stop - number)
        found = range(first, first + number)
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            for port in found:
                taken.enter_context(listen("127.0.0.1", port))
            return found


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
