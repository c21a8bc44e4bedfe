"""``run``: one service in this process, until it is told to stop."""

import asyncio
import gc
import os
from collections.abc import Coroutine
from enum import StrEnum
from typing import Annotated, Any, Final

import structlog
import typer

from services import logs, metrics
from services.addresses import listen, url_of
from services.backlog import Backlog
from services.broker import inbound_streams
from services.cli.app import app, stop
from services.cli.supervise import end_with_parent
from services.consumers import exhausted, issued, redeemed
from services.consumers.service import Consumer
from services.ending import at_signals
from services.health import Answer, serve_health
from services.notifier import Notifier
from services.served import served_policies
from services.settings import Settings, read_settings
from services.tasks import end
from services.tracing import tracer_of
from services.verifier import Verifier

log = structlog.get_logger()

_CONSUMERS: Final = {"issued": issued.build, "redeemed": redeemed.build, "exhausted": exhausted.build}


class Service(StrEnum):
    """What can be run."""

    ISSUED = "issued"
    REDEEMED = "redeemed"
    EXHAUSTED = "exhausted"
    NOTIFIER = "notifier"
    VERIFIER = "verifier"
    MONITOR = "monitor"


_GIVES_WAY: Final = {Service.VERIFIER, Service.MONITOR}
"""Where processors are short, they are for those who decide and tell. What comes in over HTTP waits a little longer for its 202."""
_NICENESS: Final = 10


@app.command("run")
def run_service(service: Annotated[Service, typer.Argument(help="Which service.")]) -> None:
    """Run one service on DATABASE_URL and REDIS_URL until SIGTERM."""
    settings = read_settings()
    settings.require_database_url()
    settings.require_redis_url()
    logs.set_up(settings, service.value)
    if service in _GIVES_WAY:
        os.nice(_NICENESS)
    with fast_loop() as runner:
        failed = runner.run(_to_the_end(_work(service, settings)))
    stop(1 if failed else 0)


async def _to_the_end(work: Coroutine[Any, Any, bool]) -> bool:
    """Do the work, and leave nothing on the loop: the runner would cancel what is left once, and wait for it for ever."""
    try:
        return await work
    finally:
        await end(*asyncio.all_tasks() - {asyncio.current_task()})


def _work(service: Service, settings: Settings) -> Coroutine[Any, Any, bool]:
    """Return what the service does until it is told to stop; its result is whether it failed."""
    match service:
        case Service.NOTIFIER:
            return _notify(settings)
        case Service.VERIFIER:
            return _verify(settings)
        case Service.MONITOR:
            return _monitor(settings)
        case _:
            return _consume(_CONSUMERS[service.value](settings))


async def _consume(consumer: Consumer) -> bool:
    watcher = asyncio.create_task(end_with_parent())
    try:
        await consumer.run()
    finally:
        watcher.cancel()
    return consumer.failed


async def _notify(settings: Settings) -> bool:
    tracer = tracer_of(settings, "notifier")
    notifier = Notifier(settings, served_policies(settings), tracer)
    failed = await _until_told(settings, "notifier", notifier, metrics.Look("notifier", notifier.look))
    await tracer.end()
    return failed


async def _verify(settings: Settings) -> bool:
    return await _until_told(settings, "verifier", Verifier(settings))


async def _until_told(settings: Settings, name: str, service: Notifier | Verifier, *looks: metrics.Look) -> bool:
    """Run the service, and its health, until SIGTERM; return whether it ended by itself."""
    logs.set_up(settings, name)
    metrics.name_service(name)
    work = [asyncio.create_task(service.run()), asyncio.create_task(end_with_parent())]
    if settings.health_port is not None:
        health = serve_health(settings.health_host, settings.health_port, service.ready, *looks)
        work.append(asyncio.create_task(health))
    waiting = asyncio.create_task(_stopping_at_signals(settings).wait())
    await asyncio.wait([work[0], waiting], return_when=asyncio.FIRST_COMPLETED)
    failed = work[0].done()
    await end(*work, waiting)
    if failed:
        work[0].result()
    return failed


async def _monitor(settings: Settings) -> bool:
    # Takes longer to import than most commands take to run.
    from services.api.app import create_app  # noqa: PLC0415
    from services.api.server import serve  # noqa: PLC0415
    from services.monitor.mount import mount  # noqa: PLC0415

    metrics.name_service("monitor")
    policies = served_policies(settings)
    application = create_app(settings, policies)
    mount(application)

    async def look_at_streams() -> None:
        await Backlog(application.state.resources.redis, inbound_streams(policies)).at_streams()

    beside = [asyncio.create_task(end_with_parent())]
    if settings.health_port is not None:
        # What its own /readyz says is for those who look at ledgers; this is for who keeps the process.
        ready = Answer(ok=True, because="answering")
        # Of all streams: a consumer that is gone tells nothing of its own.
        look = metrics.Look("streams", look_at_streams)
        health = serve_health(settings.health_host, settings.health_port, lambda: ready, look)
        beside.append(asyncio.create_task(health))
    stopping = _stopping_at_signals(settings)
    try:
        with listen(settings.monitor_host, settings.monitor_port) as listening:
            log.info("answering", at=url_of(listening))
            await serve(application, listening, stopping, graceful_seconds=settings.graceful_seconds)
    finally:
        await end(*beside)
    return not stopping.is_set()


def _stopping_at_signals(settings: Settings) -> asyncio.Event:
    stopping = asyncio.Event()
    at_signals(stopping.set, settings.graceful_seconds)
    return stopping


def fast_loop() -> asyncio.Runner:
    """Return a runner of asyncio on uvloop, where that is to be had, with the garbage collector out of a batch's way."""
    # A batch makes many objects at once, none of them in a cycle; what was imported stays for good.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        import uvloop  # noqa: PLC0415  not to be had on every platform
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
