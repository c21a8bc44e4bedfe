"""What became of a batch, counted for its line in the log: so many, never whose."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, cast

from schemas.codes import Code
from services.consumers.deadletters import DeadLetter
from services.ledger.batch import Decided, Duplicate, Outcome, Waiting

_code: Final = attrgetter("decision.code")
_GRANTED: Final = frozenset({None, Code.CLAMPED_TO_CAP})
"""An entry that stands has no code, or the one that says that less was granted than was asked for."""


@dataclass(slots=True)
class Tally:
    """The fates of a batch's entries. Redemptions that waited for a voucher are counted where the voucher's issue was."""

    codes: Counter[Code | None] = field(default_factory=Counter)
    duplicates: int = 0
    parked: int = 0
    positions: dict[str, list[int]] = field(default_factory=dict)
    """By programme, the first and the last position that was written."""

    def add(self, programme: str, outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes of one programme's events, which are in the order of their positions."""
        # Counted without a step of Python for each of them: a batch has thousands.
        kinds = Counter(map(type, outcomes))
        self.duplicates += kinds[Duplicate]
        self.parked += kinds[Waiting]
        decided = list(outcomes) if len(kinds) == 1 else [one for one in outcomes if isinstance(one, Decided)]
        if kinds[Decided]:
            self._count(programme, cast("list[Decided]", decided))

    def _count(self, programme: str, decided: list[Decided]) -> None:
        self.codes.update(map(_code, decided))
        first, last = decided[0].position, decided[-1].position + len(decided[-1].released)
        if last - first >= len(decided):
            for one in decided:
                self.codes.update(map(_code, one.released))
        span = self.positions.setdefault(programme, [first, last])
        span[1] = max(span[1], last)

    @property
    def accepted(self) -> int:
        """Entries that stand."""
        return sum(self.codes[code] for code in _GRANTED)

    @property
    def refused(self) -> dict[str, int]:
        """Entries that were refused, by their code."""
        return {str(code): count for code, count in self.codes.items() if code not in _GRANTED}


def by_reason(letters: Sequence[DeadLetter]) -> dict[str, int]:
    """Return how many dead letters there are of each reason."""
    return dict(Counter(str(letter.reason) for letter in letters))
