"""``up`` and ``env``: all services together, on servers of their own or on given ones, and their addresses."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services import logs
from services.addresses import listen, url_of
from services.cli.app import BAD_USAGE, CommandError, Json, app, err, print_json
from services.cli.home import DEFAULT, Running, remove_note, require_running, write_note
from services.cli.running import fast_loop
from services.cli.supervise import Supervisor
from services.embedded import Embedded
from services.ending import at_signals
from services.ledger.migrate import migrate_now
from services.passwords import without_password
from services.served import served_policies
from services.settings import Settings, read_settings

Home = Annotated[Path, typer.Option("--home", help="Where the embedded servers keep their data.")]


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
    supervisor = Supervisor(
        variables_of(running), graceful_seconds=settings.graceful_seconds, health_port=settings.health_port
    )
    stopping = asyncio.Event()
    at_signals(stopping.set)  # no time of its own: it ends when its services have, and they have theirs
    await supervisor.run(stopping)


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
