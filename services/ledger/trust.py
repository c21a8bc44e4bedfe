"""When a batch may be decided without looking back.

The unique indexes refuse an event, a voucher, a contract or a redemption number that the ledger has already. So a batch in which
nothing is like that need not look any of them up: most batches are, and what an index refuses is found out in time. As soon as one
is not, or an answer may depend on it, the batch is undone and decided again with everything looked up; and so are the batches after
it, for as long as such events come and for some batches more. What is decided is the same either way, to the bit.
"""

from dataclasses import dataclass
from typing import Final

from schemas.codes import Code
from services.ledger.entry import Decision

LOOK_BACK_BATCHES: Final = 10
"""So many batches in a row have to be free of doubt before one is decided without looking back."""

UNIQUE_INDEXES: Final = frozenset({"entry_key", "entry_claim", "entry_issue"})
"""The indexes that stand in for looking back."""

_ORDER: Final = tuple(Code)
_DOUBTFUL: Final = {
    "issued": frozenset(_ORDER[_ORDER.index(Code.CONTRACT_ALREADY_USED) : _ORDER.index(Code.EXCEEDS_BUDGET) + 1]),
    "redeemed": frozenset(
        _ORDER[_ORDER.index(Code.REDEMPTION_EXISTS) : _ORDER.index(Code.EXCEEDS_VOUCHER_BALANCE) + 1]
    ),
}
"""By kind: the codes that come after, or are, one that says that something was there before. Another might have come first."""


class DoubtError(Exception):
    """The batch has to be decided again, with everything looked up."""


def is_doubtful(decision: Decision) -> bool:
    """Whether another code might have come first, had it been looked up what the ledger has."""
    return decision.code in _DOUBTFUL.get(decision.kind, ())


@dataclass(slots=True)
class Trust:
    """Whether a programme's next batch may be decided without looking back."""

    batches_to_go: int = 0

    @property
    def given(self) -> bool:
        """Whether it may."""
        return self.batches_to_go == 0

    def lose(self) -> None:
        """Take in that a batch had something in it for which looking back was needed."""
        self.batches_to_go = LOOK_BACK_BATCHES

    def grow(self) -> None:
        """Take in that a batch had nothing of the kind."""
        self.batches_to_go = max(self.batches_to_go - 1, 0)
