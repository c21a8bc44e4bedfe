"""``up``, ``run`` and ``env``: the services, all together or one by one."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
import typer

from services import logs, metrics
from services.addresses import listen, url_of
from services.cli.app import BAD_USAGE, CommandError, Json, app, err, print_json, stop
from services.cli.home import DEFAULT, Running, remove_note, require_running, write_note
from services.cli.supervise import Supervisor, end_with_parent
from services.consumers import exhausted, issued, redeemed
from services.consumers.service import Consumer
from services.embedded import Embedded
from services.health import Answer, serve_health
from services.ledger.migrate import migrate_now
from services.notifier import Notifier
from services.passwords import without_password
from services.served import served_policies
from services.settings import Settings, read_settings
from services.tasks import end
from services.tracing import tracer_of
from services.verifier import Verifier

Home = Annotated[Path, typer.Option("--home", help="Where the embedded servers keep their data.")]

log = structlog.get_logger()

_CONSUMERS = {"issued": issued.build, "redeemed": redeemed.build, "exhausted": exhausted.build}


class Service(StrEnum):
    """What can be run."""

    ISSUED = "issued"
    REDEEMED = "redeemed"
    EXHAUSTED = "exhausted"
    NOTIFIER = "notifier"
    VERIFIER = "verifier"
    MONITOR = "monitor"


@app.command("run")
def run_service(service: Annotated[Service, typer.Argument(help="Which service.")]) -> None:
    """Run one service on DATABASE_URL and REDIS_URL until SIGTERM."""
    settings = read_settings()
    settings.require_database_url()
    settings.require_redis_url()
    logs.set_up(settings, service.value)
    with fast_loop() as runner:
        failed = runner.run(_work(service, settings))
    stop(1 if failed else 0)


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
    waiting = asyncio.create_task(stopping_at_signals().wait())
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
    application = create_app(settings, served_policies(settings))
    mount(application)
    beside = [asyncio.create_task(end_with_parent())]
    if settings.health_port is not None:
        # What its own /readyz says is for those who look at ledgers; this is for who keeps the process.
        health = serve_health(settings.health_host, settings.health_port, lambda: Answer(ok=True, because="answering"))
        beside.append(asyncio.create_task(health))
    stopping = stopping_at_signals()
    try:
        with listen(settings.monitor_host, settings.monitor_port) as listening:
            log.info("answering", at=url_of(listening))
            await serve(application, listening, stopping, graceful_seconds=settings.graceful_seconds)
    finally:
        await end(*beside)
    return not stopping.is_set()


def stopping_at_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


@app.command()
def up(home: Home = DEFAULT) -> None:
    """Run all services on an embedded PostgreSQL and Valkey, or on DATABASE_URL and REDIS_URL, until Ctrl-C or SIGTERM."""
    settings = read_settings()
    served_policies(settings)
    logs.set_up(settings, "up")
    # A SIGTERM while the servers start ends this process in good order too: they are stopped on the way out.
    signal.signal(signal.SIGTERM, _leave)
    with fast_loop() as runner, servers(settings, home) as started:
        running = started._replace(monitor_url=free_address(settings))
        migrate_now(settings.migration_database_url or running.database_url)
        write_note(home, running)
        try:
            for name, url in (
                ("database", running.database_url),
                ("broker", running.redis_url),
                ("monitor", running.monitor_url),
            ):
                err.print(f"{name:<9} {without_password(url or '')}", markup=False)
            err.print("up: feed it with `voucher-ledger publish FILE`; Ctrl-C ends it", markup=False)
            runner.run(_supervise(settings, running))
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending; being told twice does not cut that short
            remove_note(home)


def _leave(*_: object) -> None:
    raise SystemExit(0)


async def _supervise(settings: Settings, running: Running) -> None:
    supervisor = Supervisor(variables_of(running), graceful_seconds=settings.graceful_seconds)
    await supervisor.run(stopping_at_signals())


def variables_of(running: Running) -> dict[str, str]:
    """Return the environment in which services use the servers of a running ``up``, and the monitor its address."""
    address = urlsplit(running.monitor_url or "")
    return {
        "DATABASE_URL": running.database_url,
        "REDIS_URL": running.redis_url,
        "VOUCHER_LEDGER_MONITOR_PORT": str(address.port or 0),
    }


def free_address(settings: Settings) -> str:
    """Return the monitor's URL: at its port, or at any that is free where another process has that one.

    Raises OSError when the host is not one to be bound to.
    """
    for port in (settings.monitor_port, 0):
        with contextlib.suppress(OSError), listen(settings.monitor_host, port) as listening:
            return url_of(listening)
    raise OSError(f"VOUCHER_LEDGER_MONITOR_HOST is {settings.monitor_host}, which cannot be listened on")


@contextlib.contextmanager
def servers(settings: Settings, home: Path) -> Iterator[Running]:
    """Give the servers that the settings name, or embedded ones for as long as the context lasts."""
    if settings.database_url and settings.redis_url:
        yield Running(os.getpid(), settings.database_url, settings.redis_url, None)
        return
    if settings.database_url or settings.redis_url:
        missing = "REDIS_URL" if settings.database_url else "DATABASE_URL"
        raise CommandError(
            f"{missing} is not set, and the other one is: set both, or neither for embedded servers", BAD_USAGE
        )
    with Embedded(home) as embedded:
        yield Running(os.getpid(), embedded.database_url, embedded.redis_url, None)


@app.command("env")
def environment(home: Home = DEFAULT, *, as_json: Json = False) -> None:
    """Tell the addresses of a running `up`; without --json as lines for `eval`."""
    running = require_running(home)
    if as_json:
        print_json(
            {"database_url": running.database_url, "redis_url": running.redis_url, "monitor_url": running.monitor_url}
        )
        return
    typer.echo(f"export DATABASE_URL='{running.database_url}'\nexport REDIS_URL='{running.redis_url}'")
    if running.monitor_url is not None:
        typer.echo(f"# the monitor and the HTTP API: {running.monitor_url}")


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
