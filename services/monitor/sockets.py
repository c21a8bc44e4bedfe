"""A socket speaks for its own page only: whose page it is, is known by the cookie that it came with.

NiceGUI lets whoever knows the number of a page speak for it. The number is random, but it stands in an address, and so in the logs of
whatever is in between. Here it is no secret that lets anyone act. And a page that no socket comes for is forgotten soon.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, Final
from urllib.parse import parse_qs

import structlog
from nicegui import Client, core
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

log = structlog.get_logger()

PATH: Final = "/_nicegui_ws/"
UNOPENED_SECONDS: Final = 20.0
"""For this long a page waits for its browser's socket. NiceGUI keeps it for a minute, and looks ten times a second whether anyone
came: after a minute of something that asks for a page a second and opens none (a probe, a script) that took 40 ms of the processor a
second, five times what all else here takes. A browser whose line is so slow gets a new page, and has all that goes with it by then."""
_LOOK_EVERY_SECONDS: Final = 5.0
_POLICY_VIOLATION: Final = 1008
_EVENTS: Final = ("handshake", "event", "javascript_response", "ack", "log")


class OwnSockets:
    """Lets a socket in for a page that was given to a browser with the same cookie."""

    def __init__(self, app: ASGIApp, cookie: str) -> None:
        self._app = app
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is no socket of a page, or one of the browser that the page was given to; turn others away."""
        if scope["type"] in {"http", "websocket"} and scope["path"].startswith(PATH) and not self._is_own(scope):
            log.warning("a socket for another browser's page was turned away")
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            else:
                await PlainTextResponse("This page is another browser's.", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, scope: Scope) -> bool:
        client = Client.instances.get(_page_in(scope["query_string"].decode(errors="replace")))
        # One that is no longer known gets a new page from the server: there is nothing to speak for.
        return client is None or client.request.cookies.get(self._cookie) == HTTPConnection(scope).cookies.get(
            self._cookie
        )


async def forget_unopened() -> None:
    """Forget pages that no socket came for, until cancelled."""
    while True:
        Client.prune_instances(client_age_threshold=UNOPENED_SECONDS)
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def bind_sockets_to_pages() -> None:
    """Let each message be for the page that its socket was let in for. To be called once, when NiceGUI has its handlers."""
    for name in _EVENTS:
        core.sio.on(name, _bound(core.sio.handlers["/"][name]))


def _bound(handler: Callable[[str, Any], Any]) -> Callable[[str, Mapping[str, Any]], Awaitable[Any]]:
    async def of_its_own_page(sid: str, message: Mapping[str, Any]) -> Any:
        page = _page_in(core.sio.get_environ(sid).get("QUERY_STRING", ""))
        if not isinstance(message, dict) or message.get("client_id") != page:
            log.warning("a message for another page was turned away")
            return False
        try:
            answer = handler(sid, message)
            return await answer if isawaitable(answer) else answer
        except KeyError:
            # Made up, or late: of a button that is no longer there.
            log.warning("a message that nothing listens for was turned away")
            return False

    return of_its_own_page


def _page_in(query: str) -> str:
    return parse_qs(query).get("client_id", [""])[0]
