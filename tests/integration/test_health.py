"""Health over HTTP, as an orchestrator asks for it."""

import asyncio
import json
import socket

import pytest
from asked import free_port, get
from eventually import eventually

from services.health import Answer, serve_health
from services.tasks import end


@pytest.fixture
def port():
    return free_port()


async def answered(port: int, path: str) -> tuple[int, str, str] | None:
    answer = await get(port, path)
    return answer if answer[0] else None


async def test_each_question_has_its_answer(port):
    serving = asyncio.create_task(serve_health("127.0.0.1", port, lambda: Answer(ok=False, because="没有")))
    assert (await eventually(lambda: answered(port, "/livez")))[0] == 200
    status, content_type, body = await get(port, "/readyz")
    assert (status, json.loads(body)) == (503, {"ok": False, "because": "没有"})
    assert content_type == "application/json; charset=utf-8"
    assert (await get(port, "/else"))[0] == 404
    await end(serving)


async def test_its_port_is_free_again_when_the_service_has_ended(port):
    serving = asyncio.create_task(serve_health("127.0.0.1", port, lambda: Answer(ok=True, because="well")))
    await eventually(lambda: answered(port, "/livez"))
    await end(serving)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended just now do not count
        other.bind(("127.0.0.1", port))
        other.listen()
