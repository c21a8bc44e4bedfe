"""Health over HTTP: /livez says that the process answers, /readyz whether it does its work, and if not, why."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

import uvicorn

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Answer(NamedTuple):
    """Whether all is well, in a word or a sentence."""

    ok: bool
    because: str


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The service itself listens to signals; its health ends with it.
        yield


async def serve_health(host: str, port: int, ready: Callable[[], Answer]) -> None:
    """Answer until cancelled."""

    async def app(scope: MutableMapping[str, Any], _: object, send: Send) -> None:
        match scope["path"]:
            case "/livez":
                answer, status = Answer(ok=True, because="alive"), 200
            case "/readyz":
                answer = ready()
                status = 200 if answer.ok else 503
            case _:
                answer, status = Answer(ok=False, because="only /livez and /readyz are here"), 404
        body = json.dumps(answer._asdict(), ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, host=host, port=port, lifespan="off", access_log=False, log_config=None)
    server = _Server(config)
    try:
        await server.serve()
    finally:
        # Being cancelled ends it where it stands, with the port still open.
        if server.started:
            server.force_exit = True
            await server.shutdown()
