"""A process of the bench `peers`: the package `eventsourcing` on PostgreSQL; a redemption is an event on a voucher's aggregate."""

import os
import time
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from sqlalchemy.engine import make_url

from benchmarks import startline


class Voucher(Aggregate):
    """A voucher with what is left of it, in fen."""

    def __init__(self, voucher_id: str, remaining: int) -> None:
        self.voucher_id = voucher_id
        self.remaining = remaining

    @staticmethod
    def create_id(voucher_id: str) -> UUID:
        """Return the aggregate's id, which follows from the voucher's."""
        return uuid5(NAMESPACE_URL, voucher_id)

    @event("Redeemed")
    def redeem(self, redemption_id: str, provider: str, amount: int) -> None:
        """Take an amount, in fen; raise ValueError when there is less."""
        del redemption_id, provider  # they are kept in the event
        if amount > self.remaining:
            raise ValueError("exceeds the voucher's balance")
        self.remaining -= amount


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Redeem on one voucher after the other, so many of them saved in one transaction."""
    url = make_url(task["database_url"])
    application: Application[UUID] = Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(url.database),
            "POSTGRES_HOST": str(url.query["host"]),
            "POSTGRES_PORT": str(url.query["port"]),
            "POSTGRES_USER": str(url.username),
            "POSTGRES_PASSWORD": "none",  # the socket trusts its user
            # The kindest settings: aggregates stay in memory, and are neither copied nor looked up again.
            "AGGREGATE_CACHE_MAXSIZE": "100000",
            "AGGREGATE_CACHE_FASTFORWARD": "n",
            "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
        }
    )
    together = int(task["together"])
    application.save(*(Voucher(f"V-{number}", 100_000_000) for number in range(task["vouchers"])))
    startline.wait_for_start()
    began = time.monotonic()
    for first in range(0, task["events"], together):
        touched: dict[UUID, Voucher] = {}
        for number in range(first, first + together):
            voucher_id = Voucher.create_id(f"V-{number % task['vouchers']}")
            voucher = touched.get(voucher_id) or application.repository.get(voucher_id)
            voucher.redeem(f"R-{number}", "91510100MA0000001L", 1)
            touched[voucher_id] = voucher
        application.save(*touched.values())
    ended = time.monotonic()
    application.close()
    return {"began": began, "ended": ended}


if __name__ == "__main__":
    os.environ.pop("PERSISTENCE_MODULE", None)
    startline.tell(run(startline.task()))
