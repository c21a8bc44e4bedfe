"""What a counter did lately and in the last hour: pure, in memory, and small however long it runs."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

LATELY_SECONDS: Final = 10.0
"""What a rate of now is taken over."""
BUCKET_SECONDS: Final = 30.0
BUCKETS: Final = 120
"""An hour."""

Measured: TypeAlias = Sequence[float | None]
"""Figures at even distances in time, the oldest first; None where nobody looked."""


@dataclass(slots=True)
class Counter:
    """A count that only grows, seen at moments: how fast it grows now, in the last hour, and since when it stands still.

    A count that fell begins anew: the stream was deleted, or the ledger restored. One that is not known (None) is passed over.
    """

    _seen: deque[tuple[float, int]] = field(default_factory=deque)
    _hour: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=BUCKETS))
    _moved_at: float | None = None

    def see(self, at: float, count: int | None) -> None:
        """Take note of the count at a moment, in seconds of any clock that does not jump."""
        if count is None:
            return
        before = self._seen[-1][1] if self._seen else count
        if count < before:
            self._seen.clear()
            before = count
        if self._moved_at is None or count != before:
            self._moved_at = at
        self._seen.append((at, count))
        while at - self._seen[0][0] > LATELY_SECONDS:
            self._seen.popleft()
        number = int(at // BUCKET_SECONDS)
        if not self._hour or self._hour[-1][0] != number:
            self._hour.append((number, 0))
        self._hour[-1] = (number, self._hour[-1][1] + count - before)

    def per_second(self) -> float | None:
        """Return how fast it grows now; None as long as it was seen less than twice."""
        if len(self._seen) < 2:
            return None
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None

    def still_seconds(self) -> float:
        """Return for how long it has not moved, as far as was seen."""
        return 0.0 if self._moved_at is None else self._seen[-1][0] - self._moved_at

    def hour(self, now: float) -> Measured:
        """Return how fast it grew in each half minute of the last hour, per second, the oldest first; None where nobody looked.

        The half minute that runs is left out: it is not over yet.
        """
        last = int(now // BUCKET_SECONDS)
        grown = dict(self._hour)
        numbers = range(last - BUCKETS, last)
        return [grown[number] / BUCKET_SECONDS if number in grown else None for number in numbers]
