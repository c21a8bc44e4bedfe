"""What looking costs those who decide: one race, in turns of two seconds.

In some the monitor is stopped where it is, and nobody looks. In the others it goes on, and takes in what comes; two browsers have a
page open, which it keeps up to date; once a second each of its answers is asked for; each browser goes to another page every four.
Turns of one race are all of the same minute: this machine, and whoever else is on it, may be a tenth faster or slower in the next.
"""

import asyncio
import contextlib
import itertools
import random
import signal
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import asyncpg

from benchmarks import race
from benchmarks.backlog import UnfitError
from benchmarks.browsing import Browser, browsers
from benchmarks.children import Child
from benchmarks.monitoring import ENFORCES, Asking, monitoring
from benchmarks.programmes import enterprise
from benchmarks.race import Race
from benchmarks.registry import EVENTS_PER_SECOND, Sample, contends
from benchmarks.scale import FULL, Scale
from benchmarks.stage import Place, Stage
from benchmarks.workload import VOUCHERS_EACH
from services.readmodel.tailing import AT_ONCE, behind

_PROGRAMME: Final = "bench-1"
"""The race's only one."""
_BASE: Final = f"/v1/programmes/{_PROGRAMME}"
_PAGES: Final = ("/", f"/programmes/{_PROGRAMME}")
"""Each browser goes from the one to the other and back."""
_AWAITED_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 1.0
_LOOKS_A_PAGE: Final = 4
"""Looks until a browser goes to another page."""
_TURN_SECONDS: Final = 2.0
"""In full; a smaller run's turns are shorter."""
_TURNS: Final = (False, True, True, False)
"""Whether someone looks, turn by turn: what only grows or falls with the ledger's size falls on both alike."""
_SETTLED_AFTER: Final = 0.25
"""The share of a turn that passes first."""
_LONGER: Final = 8
"""A race is so much longer than those of other benches: for some turns of each kind."""
_FEW: Final = 8
"""One turn in so many counts among the best, and one among the worst."""
_NEWEST_BLOCK: Final = """
SELECT last, extract(epoch FROM recorded_at)::float8 FROM block WHERE programme = $1 ORDER BY last DESC LIMIT 1"""
"""Counted from block to block: a turn has few enough of them for one more or less to be a tenth of its events."""


class _Stand(NamedTuple):
    """The newest block's last position and moment (Unix time), and the processor time that the monitor had taken by then."""

    position: int
    moment: float
    monitor_seconds: float


@dataclass(slots=True)
class _Turns:
    """The turns of a race of so many events on so many vouchers: by whether someone looks, what was worked off in how long."""

    vouchers: int
    race_events: int
    turn_seconds: float
    rates: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    answered: list[float] = field(default_factory=list)
    """The seconds that each answer and page took in those turns."""
    looked_at_seconds: float = 0.0
    monitor_seconds: float = 0.0
    """The processor time that the monitor took in the turns in which someone looked."""
    page_updates: int = 0
    """How often an open page was given something new."""

    def rate(self, looked_at: bool) -> float:
        """Return the events a second, the mean of the turns but the few best and worst: one may have a stall to itself."""
        rates = sorted(self.rates[looked_at])
        few = len(rates) // _FEW
        return statistics.fmean(rates[few : len(rates) - few])

    @contextlib.asynccontextmanager
    async def beside(self, place: Place, _: list[Child]) -> AsyncIterator[None]:
        """Have a monitor beside the race, in turns at work and looked at, and stopped where it is."""
        async with (
            monitoring(place, place.folder / "programmes") as (monitor, url),
            browsers(url, *_PAGES) as opened,
        ):
            turns = asyncio.create_task(self._take(place, monitor, _Looking(url, opened, self.vouchers, self.answered)))
            try:
                yield
                await turns
                self.page_updates = sum(browser.taken for browser in opened)
            finally:
                turns.cancel()
                monitor.process.send_signal(signal.SIGCONT)
            monitor.check()

    async def _take(self, place: Place, monitor: Child, looking: "_Looking") -> None:
        """Measure turn after turn, from the first tenth of the events until the last."""
        database = await asyncpg.connect(place.database_url)

        async def stands() -> _Stand:
            position, moment = await database.fetchrow(_NEWEST_BLOCK, _PROGRAMME)
            return _Stand(position, moment, monitor.cpu_seconds() or 0)

        try:
            while (await stands()).position < self.vouchers + self.race_events // 10:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(_AWAITED_SECONDS)
            for looked_at in itertools.cycle(_TURNS):
                monitor.process.send_signal(signal.SIGCONT if looked_at else signal.SIGSTOP)
                if looked_at:
                    # What it missed while it was stopped is no part of what looking costs: it would have taken that in before.
                    while (await behind(database))[_PROGRAMME] > AT_ONCE:
                        monitor.check()
                        await asyncio.sleep(_AWAITED_SECONDS)
                begun, ended = await self._turn(stands, looking if looked_at else None)
                if ended.position > self.vouchers + self.race_events * 9 // 10:
                    return
                seconds = ended.moment - begun.moment
                self.rates[looked_at].append((ended.position - begun.position) / seconds if seconds else 0.0)
                if looked_at:
                    self.looked_at_seconds += seconds
                    self.monitor_seconds += ended.monitor_seconds - begun.monitor_seconds
        finally:
            database.terminate()

    async def _turn(self, stands: Callable[[], Awaitable[_Stand]], looking: "_Looking | None") -> tuple[_Stand, _Stand]:
        """Let a turn pass, in which someone looks or nobody does; return where the ledger stood at its beginning and its end."""
        enough = asyncio.Event()
        looker = asyncio.create_task(looking.until(enough)) if looking else None
        await asyncio.sleep(self.turn_seconds * _SETTLED_AFTER)
        begun = await stands()
        await asyncio.sleep(self.turn_seconds)
        ended = await stands()
        enough.set()
        if looker is not None:
            await looker
        return begun, ended


class _Looking:
    """Those who look: a client of the API, and browsers."""

    def __init__(self, url: str, browsers: Sequence[Browser], vouchers: int, answered: list[float]) -> None:
        self._url, self._draw = url, random.Random(url)
        self._vouchers = vouchers
        self._answered = answered
        # In turns, not at once.
        self._to_go = itertools.cycle(zip((*browsers, *browsers), (*reversed(_PAGES), *_PAGES), strict=True))
        self._looks = itertools.count()
        self._every = _LOOKS_A_PAGE // len(browsers)

    async def until(self, ended: asyncio.Event) -> None:
        """Look once a second until it is enough; add the seconds that each answer and page took."""
        asking = Asking(self._url)  # of a turn: the monitor closes a connection that is not used for some seconds
        while not ended.is_set():
            for path in self._paths():
                self._answered.append(await asyncio.to_thread(asking.ask, path))
            if next(self._looks) % self._every == 0:
                browser, page = next(self._to_go)
                self._answered.append(await browser.go(page))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)

    def _paths(self) -> Sequence[str]:
        """Return what a client asks for, the names drawn at random."""
        voucher = self._draw.randrange(self._vouchers)
        holder = enterprise(voucher // VOUCHERS_EACH)
        return (
            "/v1/programmes",
            f"{_BASE}/statement",
            f"{_BASE}/vouchers/V-{voucher}",
            f"{_BASE}/enterprises/{holder}",
            f"{_BASE}/entries?after={self._vouchers}",
            f"{_BASE}/entries?enterprise={holder}",
            "/v1/queues",
        )


@contends("looking", "redemptions, 1 process", ENFORCES)
async def cost(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the rate while nobody looks, and while someone does."""
    turns = _Turns(scale.vouchers, scale.events * _LONGER, _TURN_SECONDS * scale.events / FULL.events)
    (whole,) = await race.run(
        stage, Race({"redeemed": 1}), events=turns.race_events, vouchers=scale.vouchers, seed=seed, beside=turns.beside
    )
    if not turns.page_updates:
        raise UnfitError("no page that was open was given anything new")
    details = whole.details | {
        "monitor_cores": round(turns.monitor_seconds / turns.looked_at_seconds, 3),
        "page_updates": turns.page_updates,
        "answered_ms": round(statistics.median(turns.answered) * 1000, 1),
    }
    return [
        Sample(turns.rate(looked_at), EVENTS_PER_SECOND, details | {"turns": len(turns.rates[looked_at])}, of=name)
        for looked_at, name in ((False, "nobody looking"), (True, "looked at"))
    ]
