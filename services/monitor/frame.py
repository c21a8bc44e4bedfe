"""The frame of every page: its head with where one can go, how the pages look, and how they are kept up to date."""

import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import asyncpg
from markupsafe import Markup
from nicegui import ui
from redis.exceptions import RedisError
from starlette.requests import Request

from services.api.access import is_from_this_host
from services.broker import AWAY
from services.ledger.database import TRANSIENT
from services.ledger.heads import ProgrammeUnknownError
from services.monitor import figures
from services.monitor.live import Text, link
from services.monitor.preferences import Preferences
from services.monitor.sessions import Reader
from services.monitor.site import Site
from services.monitor.telling import WORDS, Teller
from services.monitor.words import Words

SESSION_COOKIE: Final = "voucher_ledger_session"
UPDATE_EVERY_SECONDS: Final = 0.5
"""How often a page looks whether the sampler has seen anything new; only what changed goes to the browser."""

Update = Callable[[], Awaitable[None]]

STALE_SECONDS: Final = 15.0
"""After this long without a sample the page says that what it shows is old."""

_LIGHTS: Final = {"auto": "light", "light": "dark", "dark": "auto"}
_PAPER: Final = {True: "#14171a", False: "#f6f6f4"}


@dataclass(slots=True)
class View:
    """One browser's page: who reads it, in which language, and what is to be kept up to date."""

    site: Site
    request: Request
    preferences: Preferences
    words: Words
    teller: Teller
    updates: list[Update] = field(default_factory=list)
    trouble: str | None = None
    """Why what is shown may be older than the clock says."""

    @property
    def reader(self) -> Reader:
        """Who reads this page, as of now: a key that was taken away does not count any more."""
        return reader_of(self.site, self.request)

    async def keep(self, update: Update) -> None:
        """Run an update now, and again whenever the sampler has seen something new."""
        self.updates.append(update)
        await self.run(update)

    async def run(self, update: Update) -> None:
        """Run an update; where a server is away, leave what is shown, and say so."""
        try:
            await update()
        except ProgrammeUnknownError:
            self.trouble = self.words.no_programmes
        except (*TRANSIENT, *AWAY, asyncpg.PostgresError, RedisError) as error:
            self.trouble = self.words.database_away.format(because=type(error).__name__)
        else:
            self.trouble = None


def reader_of(site: Site, request: Request) -> Reader:
    """Return who sent a request, as of now."""
    token = request.cookies.get(SESSION_COOKIE)
    return site.sessions.reader(token, from_this_host=is_from_this_host(request))


@contextmanager
def framed(site: Site, request: Request, title: str, chosen: Preferences, *, for_all: bool) -> Iterator[View]:
    """Give the page's view; what is made in the context is the page's content.

    One that is not ``for_all`` is left as soon as its reader may not read any more.
    """
    said = WORDS[chosen.language]
    view = View(site, request, chosen, said, Teller(said, chosen.language, site.policies))
    client = ui.context.client
    # The page's settings are for all who see it: this reader gets a copy of them.
    client.page = copy.copy(client.page)
    client.page.language = "zh-CN" if chosen.language == "zh" else "en-US"
    client.page.dark = chosen.dark
    ui.page_title(f"{title} · {said.product}")
    ui.add_head_html(_paper(chosen.dark))
    ui.html(f'<a class="skip" href="#content">{said.skip}</a>', sanitize=False)
    head = Text(_head(view), tag="header", classes="top")
    trouble = Text(_trouble(view), classes="trouble")
    with ui.element("div").props('id="content"'):
        yield view
    trouble.show(_trouble(view))
    seen = site.sampler.latest.number

    async def update() -> None:
        nonlocal seen
        if not client.has_socket_connection:
            return  # nobody sees it: closed a moment ago, or the line is down, and then it is shown when it is up again
        if site.sampler.latest.number == seen:
            trouble.show(_trouble(view))  # which says when nothing new was seen for long
            return
        seen = site.sampler.latest.number
        if not for_all and not view.reader.may_read:
            ui.navigate.reload()  # the server sends it to where one logs in
            return
        for one in view.updates:
            await view.run(one)
        head.show(_head(view))
        trouble.show(_trouble(view))

    ui.timer(UPDATE_EVERY_SECONDS, update)


def _paper(dark: bool | None) -> str:
    """Return the paper's colour for the moment before the page is there."""
    if dark is not None:
        return f"<style>html {{ background: {_PAPER[dark]} }}</style>"
    return (
        f"<style>html {{ background: {_PAPER[False]} }}"
        f"@media (prefers-color-scheme: dark) {{ html {{ background: {_PAPER[True]} }} }}</style>"
    )


def _head(view: View) -> Markup:
    said, sample = view.words, view.site.sampler.latest
    path = view.request.url.path
    letters = Markup("{} {}").format(
        said.dead_letters,
        Markup('<span class="badge">{}</span>').format(figures.count(sample.letters_kept))
        if sample.letters_kept
        else "",
    )
    places: list[tuple[str, str | Markup]] = [
        ("/", said.streams), ("/dead-letters", letters), ("/programmes", said.programmes), ("/log", said.log),
    ]  # fmt: skip
    here = max((to for to, _ in places if path == to or (to != "/" and path.startswith(to))), default="")
    ways = Markup("").join(
        Markup('<a href="{}"{}>{}</a>').format(to, Markup(' aria-current="page"') if to == here else "", name)
        for to, name in places
    )
    return Markup('<a class="product" href="/">{}</a><nav>{}</nav><div class="chosen">{}</div>').format(
        said.product, ways, Markup("").join([_clock(view), *_choices(view), _login(view)])
    )


def _clock(view: View) -> Markup:
    time = figures.clock(view.site.sampler.latest.at, view.site.zone)
    return Markup('<span class="clock">{}</span>').format(view.words.as_of.format(time=time))


def _choices(view: View) -> list[Markup]:
    said, chosen = view.words, view.preferences
    lights = {"auto": said.light_auto, "light": said.light_light, "dark": said.light_dark}
    back = view.request.url.path + (f"?{view.request.url.query}" if view.request.url.query else "")
    other = "en" if chosen.language == "zh" else "zh"
    return [
        link(f"/prefer?{urlencode({'language': other, 'back': back})}", said.other_language, "language"),
        link(f"/prefer?{urlencode({'light': _LIGHTS[chosen.light], 'back': back})}", lights[chosen.light], "light"),
    ]


def _login(view: View) -> Markup:
    said, reader = view.words, view.reader
    if reader.name is None:
        to = f"/login?{urlencode({'back': view.request.url.path})}"
        return Markup('<span class="reader">{}</span>{}').format(said.reading_only, link(to, said.log_in, "login"))
    return Markup(
        '<span class="reader">{}</span><form method="post" action="/logout"><button>{}</button></form>'
    ).format(reader.name if reader.may_act else f"{reader.name} · {said.reading_only}", said.log_out)


def _trouble(view: View) -> Markup:
    sample, said = view.site.sampler.latest, view.words
    told = [
        sentence.format(because=because)
        for sentence, because in (
            (said.broker_away, sample.broker_trouble), (said.database_away, sample.database_trouble),
        )
        if because is not None
    ]  # fmt: skip
    if (datetime.now(UTC) - sample.at).total_seconds() > STALE_SECONDS:
        told.append(said.stale.format(time=figures.clock(sample.at, view.site.zone)))
    if not told and view.trouble is not None:
        told = [view.trouble]
    return Markup("").join(Markup('<p role="alert">{}</p>').format(one) for one in told)
