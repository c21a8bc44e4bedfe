"""``verify``: every figure, decision and hash of the ledgers recomputed."""

from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import typer
from rich.progress import Progress

from services.cli.app import FOUND_WRONG, Json, app, do, err, out, print_json, settings, stop
from services.ledger import read
from services.ledger.database import connect
from services.ledger.verifications import keep
from services.ledger.verify import Verification
from services.ledger.verify import verify as verify_ledger


@app.command()
def verify(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="One programme; all of the database without.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Compute every decision, figure and hash again from position 1, and name the first wrong position.

    What it came to is noted down in the database: the monitor shows when each ledger was last verified.
    """
    found = do(_verified(settings(needs_redis=False).require_database_url(), code))
    well = all(one.ok for one in found)
    if as_json:
        print_json({"programmes": [_to_json(one) for one in found], "ok": well})
    else:
        for one in found:
            out.print(_told(one), markup=False, highlight=False)
        if not found:
            out.print("there is no ledger in the database yet", markup=False)
    if not well:
        stop(FOUND_WRONG)


async def _verified(database_url: str, code: str | None) -> list[Verification]:
    pool = await connect(database_url, connections_max=1)
    try:
        with Progress(console=err, disable=not err.is_terminal, transient=True) as progress:
            return [await _one(pool, progress, one) for one in ([code] if code else await read.programmes(pool))]
    finally:
        await pool.close()


async def _one(pool: read.Pool, progress: Progress, code: str) -> Verification:
    task, began_at = progress.add_task(code, total=None), datetime.now(UTC)
    found = await verify_ledger(pool, code, lambda done, of: progress.update(task, completed=done, total=of))
    try:
        await keep(pool, found, began_at)
    except asyncpg.PostgresError as error:
        # What was found is found: a database that only lets itself be read is verified too.
        err.print(f"{code}: not noted down that it was verified: {error}", markup=False, highlight=False)
    return found


def _to_json(found: Verification) -> dict[str, object]:
    document: dict[str, object] = {"programme": found.programme, "entries": found.entries, "ok": found.ok}
    if not found.ok:
        document |= {"first_bad_position": found.first_bad_position, "reason": found.reason}
    return document


def _told(found: Verification) -> str:
    if found.ok:
        return f"{found.programme}: right, all {found.entries} entries"
    return f"{found.programme}: WRONG at position {found.first_bad_position}: {found.reason}"
