"""``notifications``: what platforms are told of a programme, as they read it."""

import json
import sys
from typing import Annotated

import typer

from services import broker
from services.broker import FIELD, notification_stream
from services.cli.app import CommandError, Json, app, do, print_json, settings
from services.served import served_policies

BLOCK_MS = 1_000


@app.command()
def notifications(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The programme.")],
    *,
    after: Annotated[int, typer.Option("--after", min=0, help="Only those after this position of the ledger.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Then wait for more, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show a programme's notifications, one JSON document a line, as they stand on its stream."""
    chosen = settings()
    if code not in served_policies(chosen):
        raise CommandError(f"no programme {code!r} (`programmes list` has them)", 2)
    try:
        do(_tell(chosen.require_redis_url(), code, after, limit, follow=follow, as_json=as_json))
    except KeyboardInterrupt:
        return


async def _tell(redis_url: str, code: str, after: int, limit: int, *, follow: bool, as_json: bool) -> None:
    redis, stream = broker.connect(redis_url), notification_stream(code)
    try:
        page = await broker.entries_between(redis, stream, f"({after}-0", count=limit)
        if as_json:
            print_json({"notifications": [json.loads(fields[FIELD]) for _, fields in page]})
            return
        last = f"{after}-0"
        while True:
            for entry_id, fields in page:
                sys.stdout.write(fields[FIELD].decode() + "\n")
                last = entry_id.decode()
            sys.stdout.flush()
            if not follow:
                return
            await redis.xread({stream: last}, block=BLOCK_MS, count=1)
            page = await broker.entries_between(redis, stream, f"({last}", count=limit)
    finally:
        await redis.aclose()
