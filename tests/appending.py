"""Appending events to a ledger, and what they came to."""

from events_made import Wire, as_inbound

from services.ledger.append import Ledger
from services.ledger.batch import Decided, Outcome

CHENGDU = "chengdu-2024"


def entered(outcomes: list[Outcome]) -> list[str | None]:
    """Return what decided events came to: None for one that stands unclamped, else its code."""
    return [outcome.decision.code if isinstance(outcome, Decided) else type(outcome).__name__ for outcome in outcomes]


async def append(ledger: Ledger, *events: Wire, programme: str = CHENGDU) -> list[Outcome]:
    return await ledger.append(programme, [as_inbound(event) for event in events])
