"""``queues``: how the streams stand."""

from services import broker
from services.cli.app import Json, app, do, print_json, print_table, settings
from services.consumers.service import served_policies
from services.queues import Queue, queues


@app.command("queues")
def show_queues(*, as_json: Json = False) -> None:
    """Show a row per stream: what waits, what is pending and for how long, who reads, dead letters."""
    chosen = settings()

    async def ask() -> list[Queue]:
        redis = broker.connect(chosen.require_redis_url())
        try:
            return await queues(redis, served_policies(chosen))
        finally:
            await redis.aclose()

    rows = do(ask())
    if as_json:
        print_json({"streams": [row.to_json() for row in rows]})
        return
    columns = ("stream", "length>", "lag>", "pending>", "oldest pending>", "consumers>", "dead letters>")
    print_table("Queues", columns, (_cells(row) for row in rows))


def _cells(row: Queue) -> tuple[object, ...]:
    oldest = None if row.oldest_pending_seconds is None else f"{row.oldest_pending_seconds:.1f} s"
    lag = "?" if row.lag is None and row.consumers is not None else row.lag
    return row.stream, row.length, lag, row.pending, oldest, row.consumers, row.dead_letters or None
