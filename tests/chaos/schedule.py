"""What fails when: made from the seed and the length alone.

A campaign is a row of periods. In one of each four nothing fails; in the others up to three faults do, side by side. Kinds are
dealt like cards, so that each comes up before any comes again.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chaos.faults import KINDS, Fault

PERIOD_SECONDS: Final = 5.0
_QUIET_ONE_IN: Final = 4
_TOGETHER: Final = (1, 2, 2, 3)
_LONG_SECONDS: Final = 120
_BEGINS_WITHIN_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Period:
    """Faults side by side, and none where all is well."""

    faults: tuple[Fault, ...]

    @property
    def seconds(self) -> float:
        """How long it lasts at the least."""
        return max([PERIOD_SECONDS, *(fault.after + fault.seconds for fault in self.faults)])


def write_schedule(seed: int, seconds: float) -> list[Period]:
    """Return the periods of a campaign of this length."""
    chance = random.Random(f"schedule {seed}")
    dealt = _dealt(chance, sorted(name for name, kind in KINDS.items() if seconds >= _LONG_SECONDS or not kind.slow))
    periods: list[Period] = []
    while sum(period.seconds for period in periods) < seconds:
        quiet = chance.randrange(_QUIET_ONE_IN)
        for number in range(_QUIET_ONE_IN):
            together = 0 if number == quiet else chance.choice(_TOGETHER)
            periods.append(Period(tuple(_fault(chance, next(dealt)) for _ in range(together))))
    return periods


def _dealt(chance: random.Random, names: list[str]) -> Iterator[str]:
    while True:
        yield from chance.sample(names, len(names))


def _fault(chance: random.Random, name: str) -> Fault:
    kind = KINDS[name]
    return Fault(
        name,
        chance.choice(kind.targets),
        round(chance.uniform(0, _BEGINS_WITHIN_SECONDS), 2),
        round(chance.uniform(*kind.seconds), 2),
    )
