"""A consumer: its broker, its ledger, its readers, what it does beside reading, and whether all of it is well."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import stamina
import structlog
from faststream.redis import RedisBroker

from schemas.policy import Policy
from services import broker as streams_of
from services import logs, metrics
from services.backlog import Backlog
from services.broker import AWAY, InboundStream
from services.consumers import rounds
from services.consumers.app import App
from services.consumers.claims import Claimer
from services.consumers.intake import Intake, RawEntry
from services.consumers.limits import Limits
from services.consumers.readers import Handler, Readers
from services.consumers.trims import Trimmer
from services.failures import told
from services.health import Answer, serve_health
from services.ledger.append import Ledger
from services.ledger.database import TRANSIENT, connect
from services.ledger.entry import KINDS
from services.ledger.measures import Measures
from services.programmes import load_policies
from services.served import ledger_limits, served_policies
from services.settings import Settings
from services.tasks import end
from services.tracing import tracer_of

log = structlog.get_logger()

Streams = Callable[[Mapping[str, Policy], Settings], Sequence[InboundStream]]
_HELD_UNREADY_SECONDS: Final = 5
_CLOSED_WITHIN_SECONDS: Final = 5


def _of_the_same_providers(streams: Sequence[InboundStream], policies: Mapping[str, Policy]) -> dict[str, Policy]:
    """Return the programmes that accredit the providers whose streams are read: a stream carries redemptions of all of them."""
    providers = {stream.provider for stream in streams}
    return {code: policy for code, policy in policies.items() if not providers.isdisjoint(policy.providers.codes)}


class Consumer:
    """One of the three consumers, from its settings. Nothing is connected before the app starts."""

    def __init__(self, name: str, settings: Settings, streams: Streams) -> None:
        self.name = name
        self.settings = settings
        served = served_policies(settings)
        self.streams = streams(served, settings)
        self.policies = served | _of_the_same_providers(self.streams, load_policies(settings.programmes_dir))
        self.broker = RedisBroker(
            settings.require_redis_url(),
            **streams_of.connection_options(),
            graceful_timeout=settings.graceful_seconds,
            apply_types=False,
            logger=logging.getLogger("voucher_ledger.broker"),
            log_level=logging.DEBUG,
        )
        self.app = App(self.broker, graceful_seconds=settings.graceful_seconds, logger=None, lifespan=self._life)
        self._readers = Readers(self.broker, settings)
        self._intake: Intake | None = None
        self._claimer: Claimer | None = None
        self._tracer = tracer_of(settings, name)

    def reads(self, stream: InboundStream, handler: Handler) -> None:
        """Let the handler have the stream's batches, by as many readers as the settings say."""
        self._readers.add(stream, handler)

    async def take(self, stream: InboundStream, batch: list[RawEntry]) -> None:
        """See a batch to its fate. FastStream acknowledges it when this returns, and leaves it pending when it raises."""
        if self._intake is None or self._claimer is None:
            raise RuntimeError("the consumer has not started")
        held = stream.key, batch
        self._claimer.in_hand.append(held)
        try:
            await self._intake.take(stream, batch)
        finally:
            self._claimer.in_hand.remove(held)

    @contextlib.asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        settings = self.settings
        logs.set_up(settings, self.name)
        metrics.name_service(self.name)
        for kind in {KINDS[stream.type] for stream in self.streams}:
            metrics.expect(kind, self.policies)
        redis = streams_of.connect(settings.require_redis_url())
        pool = await self._wait_for(
            lambda: connect(settings.require_database_url(), connections_max=settings.database_connections_max)
        )
        ledger = Ledger(pool, self.policies, ledger_limits(settings), observe=self._observe)
        await self._wait_for(ledger.open)
        await self._wait_for(lambda: streams_of.ensure_groups(redis, self.streams))
        self._intake = Intake(ledger, redis, settings.retry_seconds_max, Limits.of(settings), tracer=self._tracer)
        self._claimer = Claimer(
            redis, self._intake, f"{settings.consumer_name}-claims",
            settings.claim_idle_seconds, settings.claim_every_seconds, settings.batch_size,
        )  # fmt: skip
        tasks = [asyncio.create_task(task) for task in self._beside(ledger, self._claimer)]
        log.info("started", streams=len(self.streams), programmes=sorted(self.policies))
        try:
            yield
        finally:
            await end(*tasks)
            await redis.aclose()
            with contextlib.suppress(TimeoutError):  # a server that hangs does not keep the process: it cuts the lines
                await asyncio.wait_for(pool.close(), _CLOSED_WITHIN_SECONDS)
            await self._tracer.end()
            log.info("stopped", entries=self._intake.health.entries)

    def _beside(self, ledger: Ledger, claimer: Claimer) -> list[Any]:
        troubles = claimer.intake.health.troubles
        trimmer = Trimmer(
            claimer.redis, self.streams, self.settings.keep, self.settings.trim_every_seconds, troubles
        )  # fmt: skip
        # Each a task of its own, not a group: in a group a cancellation that the client lost would not come a second time.
        beside: list[Any] = [
            *map(claimer.run, self.streams), trimmer.run(), self._end_waits(ledger, troubles), self._readers.watch(self.app.exit),
        ]  # fmt: skip
        if self.settings.health_port is not None:
            looks = *Backlog(claimer.redis, self.streams).looks(), metrics.Look("held", self._look_at_held)
            beside.append(serve_health(self.settings.health_host, self.settings.health_port, self.ready, *looks))
        return beside

    def _observe(self, measures: Measures) -> None:
        metrics.observe_append(measures)
        self._tracer.observe(measures)

    async def _look_at_held(self) -> None:
        if self._intake is not None:
            metrics.HELD_SECONDS.set(self._intake.health.held_seconds())

    async def _end_waits(self, ledger: Ledger, troubles: dict[str, str]) -> None:
        while True:
            for programme in self.policies:
                async with rounds.attempt(f"ending waits of {programme}", troubles):
                    while refused := await ledger.expire_parked(programme):
                        log.info("waits over", programme=programme, redemptions=refused)
                if refused := ledger.crowded_out.pop(programme, 0):
                    log.warning("refused at once, for too many wait already", programme=programme, redemptions=refused)
            await asyncio.sleep(self.settings.expire_every_seconds)

    async def _wait_for(self, act: Callable[[], Awaitable[Any]]) -> Any:
        async for attempt in stamina.retry_context(
            on=(*TRANSIENT, *AWAY), attempts=None, timeout=None, wait_max=self.settings.retry_seconds_max
        ):
            with attempt:
                if self.app.stopping:
                    raise SystemExit(0)
                try:
                    return await act()
                except (*TRANSIENT, *AWAY) as error:
                    log.warning("not started yet", because=told(error))
                    raise
        raise AssertionError("the retries do not end by themselves")

    async def run(self) -> None:
        """Run until SIGTERM, or until a reader ended for good; ``failed`` tells which."""
        await self.app.run()

    @property
    def failed(self) -> bool:
        """Whether the app ended because a reader did, and not because it was told to."""
        return self.app.told_by_reader

    def ready(self) -> Answer:
        """Say whether events are being decided, and if not, why."""
        if self._intake is None:
            return Answer(ok=False, because="starting")
        health = self._intake.health
        told = self.app.stopping and not self.failed
        if (stopped := self._readers.stopped()) and not told:
            return Answer(ok=False, because=f"readers stopped: {', '.join(sorted(stopped))}")
        if self.app.stopping:
            return Answer(ok=False, because="ending")
        if (held := health.held(_HELD_UNREADY_SECONDS)) is not None:
            return Answer(ok=False, because=f"holding: {held}")
        for trouble in health.troubles.values():
            return Answer(ok=False, because=trouble)
        if health.undecidable:
            return Answer(ok=False, because=f"{health.undecidable} undecidable events: see the dead letters")
        return Answer(ok=True, because="reading")
