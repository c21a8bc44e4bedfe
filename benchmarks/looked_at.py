"""What looking costs those who decide: one race, in turns of two seconds.

In some the monitor is stopped where it is, and nobody looks; in the others it goes on, takes in what comes, and its answers and two
pages are asked for once a second. Turns of one race are all of the same minute: this machine, and whoever else is on it, may be a
tenth faster or slower in the next.
"""

import asyncio
import contextlib
import itertools
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import asyncpg

from benchmarks import race
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
_AWAITED_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 2.0
"""In full; a smaller run's turns are shorter."""
_TURNS: Final = (False, True, True, False)
"""Whether someone looks, turn by turn: what only grows or falls with the ledger's size falls on both alike."""
_SETTLED_AFTER: Final = 0.25
"""The share of a turn that passes first."""
_LONGER: Final = 8
"""A race is so much longer than those of other benches: for some turns of each kind."""
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

    def rate(self, looked_at: bool) -> float:
        """Return the events a second, the median of the turns: one may have a stall of the machine's to itself."""
        return statistics.median(self.rates[looked_at])

    @contextlib.asynccontextmanager
    async def beside(self, place: Place, _: list[Child]) -> AsyncIterator[None]:
        """Have a monitor beside the race, in turns at work and looked at, and stopped where it is."""
        async with monitoring(place, place.folder / "programmes") as (monitor, url):
            turns = asyncio.create_task(self._take(place, monitor, url))
            try:
                yield
                await turns
            finally:
                turns.cancel()
                monitor.process.send_signal(signal.SIGCONT)
            monitor.check()

    async def _take(self, place: Place, monitor: Child, url: str) -> None:
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
                begun, ended = await self._turn(stands, url if looked_at else None)
                if ended.position > self.vouchers + self.race_events * 9 // 10:
                    return
                seconds = ended.moment - begun.moment
                self.rates[looked_at].append((ended.position - begun.position) / seconds if seconds else 0.0)
                if looked_at:
                    self.looked_at_seconds += seconds
                    self.monitor_seconds += ended.monitor_seconds - begun.monitor_seconds
        finally:
            database.terminate()

    async def _turn(self, stands: Callable[[], Awaitable[_Stand]], url: str | None) -> tuple[_Stand, _Stand]:
        """Let a turn pass, looking at the URL if there is one; return where the ledger stood at its beginning and its end."""
        enough = asyncio.Event()
        looker = asyncio.create_task(_look(url, self.vouchers, enough, self.answered)) if url else None
        await asyncio.sleep(self.turn_seconds * _SETTLED_AFTER)
        begun = await stands()
        await asyncio.sleep(self.turn_seconds)
        ended = await stands()
        enough.set()
        if looker is not None:
            await looker
        return begun, ended


async def _look(url: str, vouchers: int, ended: asyncio.Event, answered: list[float]) -> None:
    """Ask for each answer once a second, the names drawn at random, until it is enough; add the seconds that each took."""
    asking, draw = Asking(url), random.Random(url)
    base = f"/v1/programmes/{_PROGRAMME}"
    while not ended.is_set():
        voucher = draw.randrange(vouchers)
        holder = enterprise(voucher // VOUCHERS_EACH)
        for path in (
            "/v1/programmes",
            f"{base}/statement",
            f"{base}/vouchers/V-{voucher}",
            f"{base}/enterprises/{holder}",
            f"{base}/entries?after={vouchers}",
            f"{base}/entries?enterprise={holder}",
            "/v1/queues",
            "/",
            f"/programmes/{_PROGRAMME}",
        ):
            begun = time.perf_counter()
            await asyncio.to_thread(asking.ask, path)
            answered.append(time.perf_counter() - begun)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)


@contends("looking", "redemptions, 1 process", ENFORCES)
async def cost(stage: Stage, scale: Scale, seed: int) -> Sequence[Sample]:
    """Return the rate while nobody looks, and while someone does."""
    turns = _Turns(scale.vouchers, scale.events * _LONGER, _TURN_SECONDS * scale.events / FULL.events)
    (whole,) = await race.run(
        stage, Race({"redeemed": 1}), events=turns.race_events, vouchers=scale.vouchers, seed=seed, beside=turns.beside
    )
    details = whole.details | {
        "monitor_cores": round(turns.monitor_seconds / turns.looked_at_seconds, 3),
        "answered_ms": round(statistics.median(turns.answered) * 1000, 1),
    }
    return [
        Sample(turns.rate(looked_at), EVENTS_PER_SECOND, details | {"turns": len(turns.rates[looked_at])}, of=name)
        for looked_at, name in ((False, "nobody looking"), (True, "looked at"))
    ]
