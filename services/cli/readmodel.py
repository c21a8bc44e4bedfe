"""``readmodel``: what the monitor and the HTTP API find things by, computed again."""

from typing import Annotated

import typer
from rich.progress import Progress

from services.cli.app import Json, app, do, err, print_json, settings
from services.ledger import read
from services.ledger.database import connect
from services.readmodel import tailing

commands = typer.Typer(help="What the monitor and the HTTP API find entries by.", no_args_is_help=True)
app.add_typer(commands, name="readmodel")


@commands.command()
def rebuild(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="One programme; all of the database without.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Empty the read model and compute it again from the ledger's entries; the ledger itself is only read."""
    found = do(_rebuilt(settings(needs_redis=False).require_database_url(), code))
    if as_json:
        print_json({"programmes": [{"programme": name, "entries": entries} for name, entries in found.items()]})
    else:
        for name, entries in found.items():
            err.print(f"{name}: {entries} entries taken in", markup=False)


async def _rebuilt(database_url: str, code: str | None) -> dict[str, int]:
    pool = await connect(database_url, connections_max=1)
    try:
        with Progress(console=err, disable=not err.is_terminal, transient=True) as progress:
            names = [code] if code else await read.programmes(pool)
            return {name: await _one(pool, progress, name) for name in names}
    finally:
        await pool.close()


async def _one(pool: read.Pool, progress: Progress, name: str) -> int:
    task = progress.add_task(name, total=None)
    return await tailing.rebuild(pool, name, lambda done, of: progress.update(task, completed=done, total=of))
