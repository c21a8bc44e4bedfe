"""``queues``: how the streams stand."""

from services import broker
from services.broker import DEAD_LETTERS
from services.cli.app import Json, app, do, err, print_json, print_table, settings
from services.queues import Queue, queues
from services.served import served_policies


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
    kept, kept_max = next(row.length for row in rows if row.stream == DEAD_LETTERS), chosen.dead_letters_max
    if as_json:
        letters = {"kept": kept, "max": kept_max}
        print_json({"streams": [row.to_json() for row in rows], "dead_letters": letters})
        return
    columns = ("stream", "length>", "lag>", "pending>", "oldest pending>", "consumers>", "dead letters>")
    print_table("Queues", columns, (_cells(row) for row in rows))
    if kept >= kept_max:
        err.print(
            f"{kept} dead letters are kept, and no more may be: a stream that has another one is held until some are replayed "
            f"or discarded (`dead-letters`), or VOUCHER_LEDGER_DEAD_LETTERS_MAX is raised",
            markup=False, highlight=False,
        )  # fmt: skip


def _cells(row: Queue) -> tuple[object, ...]:
    oldest = None if row.oldest_pending_seconds is None else f"{row.oldest_pending_seconds:.1f} s"
    lag = "?" if row.lag is None and row.consumers is not None else row.lag
    return row.stream, row.length, lag, row.pending, oldest, row.consumers, row.dead_letters or None
