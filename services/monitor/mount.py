"""Mounting the pages on the HTTP application: their addresses, logging in and out, and what runs beside them for all browsers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qs, quote, urlencode

import structlog
from fastapi import FastAPI
from nicegui import ui
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from schemas.identifiers import is_uscc
from services.api.resources import Resources
from services.monitor.frame import SESSION_COOKIE, View, framed, reader_of
from services.monitor.headers import Headers
from services.monitor.nearest import Nearest
from services.monitor.pages import acts, enterprise, letters, login, programme, programmes, stream, streams, voucher
from services.monitor.preferences import LANGUAGE_COOKIE, LIGHT_COOKIE, local, preferences
from services.monitor.sampler import Sampler
from services.monitor.sessions import LASTS_SECONDS, Sessions
from services.monitor.site import Site
from services.monitor.sockets import OwnSockets, bind_sockets_to_pages, forget_unopened
from services.monitor.telling import WORDS
from services.monitor.words import Words
from services.tasks import end

log = structlog.get_logger()

Build: TypeAlias = Callable[[View, Request], Awaitable[None]]

_FAVICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect x="1" y="1" width="14" height="14" rx="3" fill="#2b5f9e"/>'
    '<path d="M4 5.5h8M4 8h8M4 10.5h5" stroke="#fff" stroke-width="1.3"/></svg>'
)
_FORM_BYTES_MAX: Final = 4_096
_YEAR_SECONDS: Final = 365 * 24 * 3_600
_BUILD_SECONDS_MAX: Final = 10.0
_CHOICES: Final = {"language": (LANGUAGE_COOKIE, ("zh", "en")), "light": (LIGHT_COOKIE, ("auto", "light", "dark"))}


def mount(app: FastAPI) -> None:
    """Add the pages to the application. They are below its own routes: whatever it answers itself, it goes on answering."""
    original = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def life(running: FastAPI) -> AsyncIterator[None]:
        async with original(running):
            resources: Resources = running.state.resources
            site = running.state.site = _site(resources)
            works = (site.sampler.run(), site.nearest.run(), forget_unopened())
            work = [asyncio.create_task(one) for one in works]
            for task in work:
                task.add_done_callback(_tell_of_a_mistake)
            try:
                yield
            finally:
                await end(*work)

    app.router.lifespan_context = life
    _add_forms(app)
    _add_pages(app)
    ui.add_head_html(f"<style>{Path(__file__).with_name('style.css').read_text(encoding='utf-8')}</style>", shared=True)
    ui.run_with(
        app, title="Voucher ledger", favicon=_FAVICON, dark=None, tailwind=False, binding_refresh_interval=None,
        show_welcome_message=False, reconnect_timeout=10.0,
    )  # fmt: skip
    bind_sockets_to_pages()
    app.add_middleware(OwnSockets, cookie=SESSION_COOKIE)
    app.add_middleware(Headers)


def _tell_of_a_mistake(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a part of the monitor ended by a mistake of ours", exc_info=error)


def _site(resources: Resources) -> Site:
    pool, policies = resources.pool, resources.policies
    return Site(
        redis=resources.redis,
        pool=pool,
        policies=policies,
        sampler=Sampler(resources.redis, pool, policies, resources.settings.block_ms / 1000),
        nearest=Nearest(pool, policies),
        sessions=Sessions(resources.keyring),
        known=resources.known,
    )


def _add_pages(app: FastAPI) -> None:
    def page(path: str, title: Callable[[Words], str], build: Build, *, for_all: bool = False) -> None:
        @ui.page(path, response_timeout=_BUILD_SECONDS_MAX)
        async def shown(request: Request) -> Response | None:
            site: Site = app.state.site
            if not for_all and not reader_of(site, request).may_read:
                back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"/login?{urlencode({'back': back})}", 303)
            chosen = preferences(request)
            with framed(site, request, title(WORDS[chosen.language]), chosen, for_all=for_all) as view:
                await build(view, request)
            return None

    def asked(name: str, request: Request) -> str:
        return request.query_params.get(name, "")

    page("/", lambda said: said.streams, lambda view, _: streams.build(view))
    page(
        "/streams/{key}",
        lambda said: said.streams,
        lambda view, request: stream.build(view, request.path_params["key"]),
    )
    page(
        "/dead-letters", lambda said: said.dead_letters,
        lambda view, request: letters.build(view, asked("reason", request), asked("stream", request)),
    )  # fmt: skip
    page("/programmes", lambda said: said.programmes, lambda view, _: programmes.build(view))
    page(
        "/programmes/{code}", lambda said: said.programme,
        lambda view, request: programme.build(view, request.path_params["code"]),
    )  # fmt: skip
    page(
        "/programmes/{code}/enterprises/{uscc}", lambda said: said.enterprise,
        lambda view, request: enterprise.build(view, request.path_params["code"], request.path_params["uscc"]),
    )  # fmt: skip
    page(
        "/programmes/{code}/vouchers/{voucher_id}", lambda said: said.voucher,
        lambda view, request: voucher.build(view, request.path_params["code"], request.path_params["voucher_id"]),
    )  # fmt: skip
    page("/log", lambda said: said.log, lambda view, _: acts.build(view))
    page(
        "/login", lambda said: said.log_in,
        lambda view, request: login.build(view, local(asked("back", request)), wrong="wrong" in request.query_params),
        for_all=True,
    )  # fmt: skip


def _add_forms(app: FastAPI) -> None:
    """Add what forms and links of the pages lead to; each answers by sending the browser on."""

    @app.get("/prefer", include_in_schema=False)
    async def prefer(request: Request) -> Response:
        answer = RedirectResponse(local(request.query_params.get("back", "/")), 303)
        for name, (cookie, choices) in _CHOICES.items():
            if (choice := request.query_params.get(name)) in choices:
                answer.set_cookie(cookie, choice, max_age=_YEAR_SECONDS, httponly=True, samesite="lax")
        return answer

    @app.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        form = await _form(request)
        site: Site = request.app.state.site
        back = local(form.get("back", "/"))
        token = site.sessions.open(form.get("key", ""))
        if token is None:
            return RedirectResponse(f"/login?{urlencode({'wrong': '', 'back': back})}", 303)
        answer = RedirectResponse(back, 303)
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(SESSION_COOKIE, token, max_age=LASTS_SECONDS, httponly=True, samesite="strict", secure=secure)
        return answer

    @app.post("/logout", include_in_schema=False)
    async def log_out(request: Request) -> Response:
        await _form(request)
        request.app.state.site.sessions.close(request.cookies.get(SESSION_COOKIE))
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(SESSION_COOKIE)
        return answer

    @app.get("/programmes/{code}/find", include_in_schema=False)
    async def find(code: str, request: Request) -> Response:
        name = request.query_params.get("name", "").strip()
        kind = "enterprises" if is_uscc(name) else "vouchers"
        to = f"/programmes/{quote(code, safe='')}"
        return RedirectResponse(f"{to}/{kind}/{quote(name, safe='')}" if name else to, 303)

    @app.get("/v1/{rest:path}", include_in_schema=False)
    async def nothing_there(rest: str) -> Response:  # noqa: ARG001  it is what there is nothing of
        # Below the pages it would be answered with one.
        raise HTTPException(404)


async def _form(request: Request) -> dict[str, str]:
    """Return what a form of ours sent. Raises HTTPException for one of another site's, or one that is too long."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise HTTPException(403, "This form is not of this page.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES_MAX:
            raise HTTPException(413)
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
