"""What an operator does with dead letters: read them, send them again, or discard them."""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from redis.asyncio import Redis

from services.broker import DEAD_LETTERS, each_entry, entries_between

# Taken off and sent again in one step: a letter is never lost between the two, and never sent twice.
_REPLAY: Final = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local fields = {}
for i = 1, #found[1][2], 2 do fields[found[1][2][i]] = found[1][2][i + 1] end
if fields['stream'] ~= KEYS[2] then return redis.error_reply('the letter is of another stream') end
redis.call('XADD', KEYS[2], '*', 'event', fields['event'])
return redis.call('XDEL', KEYS[1], ARGV[1])"""

# What a list of letters shows of each: their events stay on the broker, however long they are.
_HEADS: Final = """
local told = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  told[#told + 1] = {entry[1], fields['stream'] or '', fields['entry_id'] or '', fields['reason'] or '',
                     fields['detail'] or '', fields['failed_at'] or '', #(fields['event'] or '')}
end
return told"""


class LetterHead(NamedTuple):
    """A dead letter without its event, whose length in bytes is ``size``."""

    id: str
    stream: str
    entry_id: str
    reason: str
    detail: str
    failed_at: str
    size: int


class Letter(NamedTuple):
    """A dead letter as it is kept; ``event`` are the original bytes."""

    id: str
    event: bytes
    stream: str
    entry_id: str
    reason: str
    detail: str
    failed_at: str

    def to_json(self) -> dict[str, object]:
        """Return the letter for JSON; bytes that are no UTF-8 are shown escaped."""
        return {**self._asdict(), "event": self.event.decode(errors="backslashreplace")}


def _letter(letter_id: bytes, fields: dict[bytes, bytes]) -> Letter:
    texts = {name: fields.get(name.encode(), b"").decode(errors="replace") for name in Letter._fields[2:]}
    return Letter(id=letter_id.decode(), event=fields.get(b"event", b""), **texts)


async def letters(redis: Redis) -> AsyncIterator[Letter]:
    """Yield the dead letters, the oldest first."""
    async for letter_id, fields in each_entry(redis, DEAD_LETTERS):
        yield _letter(letter_id, fields)


async def letters_after(redis: Redis, after: str, at_most: int) -> list[Letter]:
    """Return the first letters after an id, the oldest first."""
    return [_letter(*entry) for entry in await entries_between(redis, DEAD_LETTERS, f"({after}", count=at_most)]


async def heads(redis: Redis, after: str | None, count: int) -> list[LetterHead]:
    """Return the first letters after the one of this id, or of all, without their events."""
    script = redis.register_script(_HEADS)
    rows = await script(keys=[DEAD_LETTERS], args=["-" if after is None else f"({after}", count])
    return [LetterHead._make([*(text.decode(errors="replace") for text in row[:-1]), row[-1]]) for row in rows]


async def find(redis: Redis, letter_id: str) -> Letter | None:
    """Return the letter of this id, None if there is none. Raises ResponseError for what is no id."""
    page = await entries_between(redis, DEAD_LETTERS, letter_id, letter_id)
    return _letter(*page[0]) if page else None


async def find_all(redis: Redis, letter_ids: Sequence[str]) -> list[Letter]:
    """Return those of the letters that are still there, in the order of the ids."""
    async with redis.pipeline(transaction=False) as pipeline:
        for letter_id in letter_ids:
            pipeline.xrange(DEAD_LETTERS, min=letter_id, max=letter_id)
        pages = await pipeline.execute() if letter_ids else []
    return [_letter(*page[0]) for page in pages if page]


async def replay(redis: Redis, letter: Letter) -> bool:
    """Send the letter's event to its stream again and take the letter off; return whether it was still there."""
    script = redis.register_script(_REPLAY)
    return bool(await script(keys=[DEAD_LETTERS, letter.stream], args=[letter.id]))


async def discard(redis: Redis, letter: Letter) -> bool:
    """Take the letter off for good; return whether it was still there."""
    return bool(await redis.xdel(DEAD_LETTERS, letter.id))
