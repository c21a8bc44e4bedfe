"""``producers``: who sends, and the last event of each that the ledger has."""

from typing import Annotated

import typer

from services.cli.app import CommandError, Json, app, do, print_json, print_table, settings
from services.ledger.database import connect_once
from services.producers import Producer, producers
from services.served import served_policies


@app.command("producers")
def show_producers(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="One programme; all that are served without.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show the last event of each producer that the ledger has: after the broker was lost, it sends again from there."""
    chosen = settings(needs_redis=False)
    policies = served_policies(chosen)
    if code is not None and code not in policies:
        raise CommandError(f"no programme {code!r} (`programmes list` has them)", 2)

    async def ask() -> list[Producer]:
        connection = await connect_once(chosen.require_database_url())
        try:
            return await producers(connection, policies if code is None else {code: policies[code]})
        finally:
            await connection.close()

    found = do(ask())
    if as_json:
        print_json({"producers": [one.to_json() for one in found]})
        return
    columns = ("stream", "programme", "producer", "last event", "occurred at", "recorded at", "position>")
    print_table("Producers", columns, map(_cells, found))


def _cells(one: Producer) -> tuple[object, ...]:
    if one.last is None:
        return one.stream, one.programme, one.name, "", "", "", None
    last = one.last
    position = "parked" if last.position is None else last.position
    recorded_at = f"{last.recorded_at:%Y-%m-%d %H:%M:%S}"
    return one.stream, one.programme, one.name, last.event_id, last.occurred_at, recorded_at, position
