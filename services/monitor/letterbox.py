"""The dead letters that the pages list, read once for all browsers: without their events, and only what is new."""

from collections import Counter
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.broker import DEAD_LETTERS
from services.letters import LetterHead, heads

LISTED_MAX: Final = 10_000
"""The oldest so many are listed; those behind them come up when some of these are dealt with."""
_PAGE: Final = 500


class _Stands(NamedTuple):
    """What tells whether anything came or was taken off: how many there are and ever were, the ids of the first and the newest."""

    length: int
    entered: int
    first: str | None
    newest: str


_NOTHING: Final = _Stands(0, 0, None, "0-0")


class Letterbox:
    """The oldest dead letters, as of the last look."""

    def __init__(self) -> None:
        self.letters: tuple[LetterHead, ...] = ()
        self.kept = 0
        """How many there are, listed or not."""
        self._stood = _NOTHING

    @property
    def by_stream(self) -> Counter[str]:
        """How many of the listed ones are of each stream."""
        return Counter(letter.stream for letter in self.letters)

    async def look(self, redis: Redis) -> None:
        """Read what came since the last look; all again where any was taken off. Raises what the broker raises."""
        stands = await _stands(redis)
        if stands == self._stood:
            return
        listed = list(self.letters) if self._only_came(stands) else []
        while len(listed) < LISTED_MAX:
            page = await heads(redis, listed[-1].id if listed else None, min(_PAGE, LISTED_MAX - len(listed)))
            listed += page
            if len(page) < _PAGE:
                break
        self.letters, self.kept, self._stood = tuple(listed), stands.length, stands

    def _only_came(self, stands: _Stands) -> bool:
        came = stands.entered - self._stood.entered
        first = self.letters[0].id if self.letters else None
        return came > 0 and stands.length == self._stood.length + came and first in {None, stands.first}


async def _stands(redis: Redis) -> _Stands:
    try:
        info = await redis.xinfo_stream(DEAD_LETTERS)
    except ResponseError as error:
        if "no such key" in str(error):
            return _NOTHING
        raise
    first, last = info["first-entry"], info["last-generated-id"]
    return _Stands(int(info["length"]), int(info["entries-added"]), first[0].decode() if first else None, last.decode())
