"""Room beside a ledger for redemptions that wait for their vouchers. Pure: who counts them is ``parking``."""

import sys
from dataclasses import dataclass, field


@dataclass(slots=True)
class Room:
    """How many more redemptions may wait: in all, and of each provider."""

    left: int = sys.maxsize
    each_max: int = sys.maxsize
    waiting: dict[str, int] = field(default_factory=dict)
    """How many wait by provider; one that is not named has at least as much room as there are events in the batch."""

    def take(self, provider: str) -> bool:
        """Take a place for one of the provider's; return False when there is none."""
        waiting = self.waiting.get(provider, 0)
        if self.left <= 0 or waiting >= self.each_max:
            return False
        self.left -= 1
        self.waiting[provider] = waiting + 1
        return True

    def give_back(self, provider: str) -> None:
        """Give the place of one of the provider's back, which was decided."""
        self.left += 1
        self.waiting[provider] = self.waiting.get(provider, 0) - 1
