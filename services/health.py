"""Health over HTTP: /livez says that the process answers, /readyz whether it does its work, and if not, why; /metrics counts."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

import uvicorn

from services import metrics

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


async def serve_health(host: str, port: int, ready: Callable[[], Answer], *looks: metrics.Look) -> None:
    """Answer until cancelled; ``looks`` are taken whenever somebody asks for the metrics."""

    async def app(scope: MutableMapping[str, Any], _: object, send: Send) -> None:
        match scope["path"]:
            case "/livez":
                await _send_answer(send, Answer(ok=True, because="alive"), 200)
            case "/readyz":
                answer = ready()
                await _send_answer(send, answer, 200 if answer.ok else 503)
            case "/metrics":
                metrics.READY.set(ready().ok)
                page = await metrics.metrics_response(*looks)
                await _send(send, page.body, page.content_type, 200)
            case _:
                await _send_answer(send, Answer(ok=False, because="only /livez, /readyz and /metrics are here"), 404)

    config = uvicorn.Config(app, host=host, port=port, lifespan="off", access_log=False, log_config=None)
    server = _Server(config)
    try:
        await server.serve()
    finally:
        # Being cancelled ends it where it stands, with the port still open.
        if server.started:
            server.force_exit = True
            await server.shutdown()


async def _send_answer(send: Send, answer: Answer, status: int) -> None:
    body = json.dumps(answer._asdict(), ensure_ascii=False).encode()
    await _send(send, body, "application/json; charset=utf-8", status)


async def _send(send: Send, body: bytes, content_type: str, status: int) -> None:
    headers = [(b"content-type", content_type.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
