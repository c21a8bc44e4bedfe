"""The serial replay: a ledger's entries, one after the other, through the model that was written from the contract alone."""

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from reference import FIGURES, Reference

from chaos.evidence import Row
from schemas.policy import Policy

_MONEY: Final = frozenset({
    "amount", "granted", "voucher_remaining", "quota_used", "quota_limit", "budget_remaining", "payable",
})  # fmt: skip


def replayed(policies: Iterable[Policy], rows: Sequence[Row]) -> Iterator[tuple[Row, Row, Row]]:
    """Yield each entry, what the model makes of its event at its place, and what the ledger made of it, in the model's terms.

    ``policies`` has the policy in force at each position. Raises ValueError when it has not as many as there are entries.
    """
    reference: Reference | None = None
    for policy, row in zip(policies, rows, strict=True):
        reference = reference or Reference(policy)
        reference.policy = policy
        event = json.loads(row["event"])
        outcome = reference.take(event, row["recorded_at"])[0]
        if outcome["fate"] == "parked":
            # It is an entry here, before its voucher: so its wait was over.
            outcome = reference.end_wait(event["source"], event["id"])
        yield row, {name: outcome.get(name) for name in ("fate", *FIGURES)}, _in_terms_of_the_model(row)


def _in_terms_of_the_model(row: Row) -> Row:
    figures = {
        name: Decimal(row[name]) / 100 if name in _MONEY and row[name] is not None else row[name] for name in FIGURES
    }
    return {"fate": "accepted" if row["accepted"] else "refused", **figures}
