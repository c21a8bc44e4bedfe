"""What can be measured of a batch that was appended: how many of what, and where the time went. Told once a batch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple, TypeAlias

from schemas.codes import Code

Counted: TypeAlias = Mapping[tuple[str, Code | None], int]
"""How many entries there are of a kind with a code."""


class Lookup(NamedTuple):
    """Of what a batch asked the book for: how many names, and how many of them had to be looked up in the ledger."""

    what: str
    wanted: int
    missing: int


@dataclass(slots=True)
class Measures:
    """One batch of one programme, appended; seconds by step, in the order in which they pass.

    ``wait`` is until the programme's head was held (with it, what was decided for nothing because something had to be looked up),
    ``load`` brings the book up to date, ``decide`` is the pure Python of the decisions and of their hashes, and ``commit`` is
    whatever else it took until the transaction was on the disk.
    """

    programme: str
    seconds: dict[str, float] = field(default_factory=dict)
    counted: Counted = field(default_factory=dict)
    duplicates: int = 0
    lookups: Iterable[Lookup] = ()
    vouchers_held: int = 0
    first: int = 0
    """The position of its first entry; ``last`` is before it where the batch came to no entry."""
    last: int = 0
    _since: float = field(default_factory=perf_counter)

    def passed(self, step: str) -> None:
        """Take in that a step is over, or is over again: it took the time since the one before."""
        now = perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._since
        self._since = now

    def split_off(self, step: str, of: str, seconds: float) -> None:
        """Take in that so much of a step was another's."""
        self.seconds[step] = seconds
        self.seconds[of] = max(self.seconds[of] - seconds, 0.0)


Observer: TypeAlias = Callable[[Measures], None]


def tell_nobody(_: Measures) -> None:
    """Measure for nobody."""
