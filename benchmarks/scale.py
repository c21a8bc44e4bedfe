"""How large each bench is: in full, and small enough for a look in under two minutes."""

from dataclasses import dataclass
from typing import Final

BATCH: Final = 2_000
"""Events in a batch, where a bench makes the batches itself; it is also the services' default."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes in events, entries or vouchers; times in seconds."""

    repeats: int
    events: int
    """Waiting in the streams at the start of an end-to-end sample."""
    applied: int
    """Applied, or copied, in a sample of the bench `apply`."""
    vouchers: int
    """Issued beforehand, for the redemptions to draw on."""
    naive_single: int
    naive_many: int
    peers: int
    latency_rates: tuple[int, ...]
    latency_seconds: float
    latency_warm_seconds: float
    """At the start of each rate: sent, and left out of the figures."""
    growth_levels: tuple[int, ...]
    growth_seconds: float
    asked: int
    """Requests for each of the monitor's answers."""
    memory_vouchers: int
    profile_events: int
    memory_touched: float
    """The share of the machine's free memory that is touched before anything is measured."""
    patience: float
    """After this long a sample has failed."""


FULL: Final = Scale(
    repeats=5, events=200_000, applied=200_000, vouchers=10_000, naive_single=1_000, naive_many=3_000, peers=3_000,
    latency_rates=(500, 2_000, 5_000), latency_seconds=15, latency_warm_seconds=2,
    growth_levels=(0, 1_000_000, 5_000_000), growth_seconds=60, asked=200, memory_vouchers=1_000_000, profile_events=400_000,
    memory_touched=0.75, patience=2_700,
)  # fmt: skip

QUICK: Final = Scale(
    repeats=1, events=12_000, applied=10_000, vouchers=1_000, naive_single=60, naive_many=200, peers=200,
    latency_rates=(500, 2_000, 5_000), latency_seconds=2, latency_warm_seconds=0.5,
    growth_levels=(0, 20_000, 60_000), growth_seconds=1, asked=20, memory_vouchers=10_000, profile_events=15_000,
    memory_touched=0, patience=90,
)  # fmt: skip
