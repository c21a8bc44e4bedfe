"""Pages that nobody opened are forgotten, and only those."""

import asyncio

from eventually import eventually
from nicegui import Client, core
from nicegui.page import page
from starlette.requests import Request

from services.monitor import sockets
from services.tasks import end

SCOPE = {
    "type": "http",
    "method": "GET",
    "scheme": "http",
    "server": ("monitor", 80),
    "path": "/",
    "query_string": b"",
    "headers": [],
}


def asked_for() -> Client:
    """Return a page as it is after a browser asked for it."""
    return Client(page("/", reconnect_timeout=1.0), request=Request(SCOPE))


async def test_a_page_that_no_socket_came_for_is_forgotten_and_an_open_one_stays(monkeypatch):
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    monkeypatch.setattr(sockets, "UNOPENED_SECONDS", 0.5)
    monkeypatch.setattr(sockets, "_LOOK_EVERY_SECONDS", 0.01)
    unopened, opened = asked_for(), asked_for()
    opened.tab_id = "a browser's"
    forgetting = asyncio.create_task(sockets.forget_unopened())
    try:
        assert unopened.id in Client.instances
        await eventually(lambda: unopened.is_deleted)
        later = asked_for()
        await asyncio.sleep(0.05)
        assert (opened.is_deleted, later.is_deleted) == (False, False)
    finally:
        await end(forgetting)
        for client in list(Client.instances.values()):
            client.delete()
