"""What happened by the hour: how many entries of each kind and outcome, and how much of the budget was issued and redeemed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.money import format_yuan
from services.ledger.read import Pool
from services.ledger.statements import Json

_HOURS: Final = """
SELECT hour, kind, code, entries, amount, granted FROM readmodel.activity
WHERE programme = $1 AND hour >= $2 AND hour < $3 ORDER BY hour, kind, code"""
_REFUSALS: Final = """
SELECT code, sum(entries)::bigint AS entries FROM readmodel.activity
WHERE programme = $1 AND hour >= $2 AND code NOT IN ('', 'clamped_to_cap') GROUP BY code ORDER BY 2 DESC, 1"""


@dataclass(frozen=True, slots=True)
class Hour:
    """The entries of one kind and outcome that were recorded in an hour (UTC); ``code`` is None for plain acceptance.

    ``amount`` is what the events asked for and ``granted`` what issues were given, both in fen.
    """

    hour: datetime
    kind: str
    code: str | None
    entries: int
    amount: int
    granted: int

    def to_json(self) -> Json:
        """Return the row as JSON has it."""
        return {
            "hour": self.hour.isoformat(), "kind": self.kind, "code": self.code, "entries": self.entries,
            "amount": format_yuan(self.amount), "granted": format_yuan(self.granted),
        }  # fmt: skip


async def hours(pool: Pool, programme: str, since: datetime, until: datetime) -> list[Hour]:
    """Return what was recorded from one moment to another, by the hour; as far as the read model has taken entries in."""
    return [
        Hour(row["hour"], row["kind"], row["code"] or None, row["entries"], int(row["amount"]), int(row["granted"]))
        for row in await pool.fetch(_HOURS, programme, since, until)
    ]


async def refusals(pool: Pool, programme: str, since: datetime) -> dict[str, int]:
    """Return how often each code was the reason of a refusal since a moment, the most frequent first."""
    return {row["code"]: row["entries"] for row in await pool.fetch(_REFUSALS, programme, since)}
