"""The limits of a consumer, and how much of what a stream brought lately became a dead letter.

A release that can read nearly nothing must not empty the queues into the dead letters; a producer that sends nearly nothing but bad
entries must not use up the room of the others. The two cannot be told apart on one stream, and need not be: each stream is judged by
its own last entries. A bad producer's stream is held, alone; a bad release holds all of them.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services.settings import Settings

ROOM_OF_A_FLOOD: Final = 4, 5
"""Of the dead letters' room, what streams with many bad entries may fill; the rest is kept for those that have few."""
FLOOD_FROM: Final = 1, 10
"""A stream has many when more than this of the entries that it is judged by were bad."""


class Limits(NamedTuple):
    """What an operator limits; see ``docs/limits.md``."""

    entry_bytes_max: int = 65_536
    dead_letters_max: int = 500_000
    dead_letter_share_max: float = 0.998
    dead_letter_share_of: int = 5_000

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits that the settings say."""
        return cls(*(getattr(settings, name) for name in cls._fields))

    def room(self, lately: "Lately") -> int:
        """Return how many dead letters there may be when one of this stream is added."""
        some, of_all = FLOOD_FROM
        if lately.letters * of_all <= self.dead_letter_share_of * some:
            return self.dead_letters_max
        some, of_all = ROOM_OF_A_FLOOD
        return self.dead_letters_max * some // of_all

    def because_of_share(self, stream: str, lately: "Lately") -> str | None:
        """Return why a stream is held for what it brought lately, None when it is not."""
        share_max = self.dead_letter_share_max
        if share_max >= 1 or lately.entries < self.dead_letter_share_of or lately.letters < share_max * lately.entries:
            return None
        return (
            f"{lately.letters} of the last {lately.entries} entries of {stream} are dead letters: is it this release (are other "
            f"streams held too), or the producer? Start a mended release; or with VOUCHER_LEDGER_DEAD_LETTER_SHARE_MAX=1, which "
            f"lets them through"
        )


@dataclass(slots=True)
class Lately:
    """The last entries of a stream that this process saw to their fate: how many were dead letters, and how many our mistakes."""

    of: int
    entries: int = 0
    letters: int = 0
    mistakes: int = 0
    _batches: deque[tuple[int, int, int]] = field(default_factory=deque)

    def take(self, entries: int, letters: int, mistakes: int = 0) -> None:
        """Take a batch in, and let go of those that are not needed to come to ``of`` entries."""
        self._batches.append((entries, letters, mistakes))
        self._add(entries, letters, mistakes)
        while self.entries - self._batches[0][0] >= self.of:
            entries, letters, mistakes = self._batches.popleft()
            self._add(-entries, -letters, -mistakes)

    def _add(self, entries: int, letters: int, mistakes: int) -> None:
        self.entries += entries
        self.letters += letters
        self.mistakes += mistakes
