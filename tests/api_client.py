"""The HTTP API as its users see it: the real app on the real servers, asked over HTTP by way of its ASGI interface or a socket."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from services.addresses import listen, url_of
from services.api.app import create_app
from services.api.server import serve
from services.keys import Key, new_key, write_keys
from services.served import served_policies
from services.settings import Settings

ONE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


class Answer(NamedTuple):
    """An answer, its body read as JSON."""

    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """Someone with a key, or without one."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.key = key

    def with_key(self, key: str | None) -> "Client":
        return Client(self.url, key)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, body: object, media_type: str = ONE, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return await self.ask("POST", path, data, {"content-type": media_type, **headers})

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return await asyncio.to_thread(self._ask, method, path, body, dict(headers or {}))

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self.key is not None:
            headers.setdefault("authorization", f"Bearer {self.key}")
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, json.loads(data) if data else None)
        finally:
            connection.close()


@contextlib.asynccontextmanager
async def answering(settings: Settings) -> AsyncIterator[Client]:
    """Run the app as its process does, on a socket of its own."""
    stopping = asyncio.Event()
    with listen("127.0.0.1", 0) as listening:
        app = create_app(settings, served_policies(settings))
        serving = asyncio.create_task(serve(app, listening, stopping, graceful_seconds=2))
        try:
            yield Client(url_of(listening))
        finally:
            stopping.set()
            await serving


def keys_for(path: Path, **scopes: str) -> dict[str, str]:
    """Write a file of keys, each with the scopes of its name, separated by spaces; return the keys themselves."""
    made: list[Key] = []
    secrets: dict[str, str] = {}
    for name, wanted in scopes.items():
        key, secrets[name] = new_key(name, wanted.split())
        made.append(key)
    write_keys(path, made)
    return secrets
