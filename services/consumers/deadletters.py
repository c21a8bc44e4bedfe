"""Dead letters: what can be no entry of a ledger is kept with its original bytes, the reason, and where it came from."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import Final, NamedTuple

from redis.asyncio import Redis

from schemas.codes import DeadLetterReason
from services.broker import DEAD_LETTERS, GROUP

# Kept and acknowledged in one step, and kept only while pending: a batch that two consumers hold, or that is read again after a
# crash, leaves one dead letter. Kept first: what a script did before it failed (the memory is full, say) stays done. Returns how
# many letters were seen to, fewer than came when there is no room. What was not sent along is copied from its stream: it is long.
_KEEP: Final = """
local function copied(id)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then return nil end
  local fields, all, event = entry[2], {}, nil
  for i = 1, #fields, 2 do
    if fields[i] == 'event' then event = fields[i + 1] end
    all[#all + 1] = fields[i] .. '=' .. fields[i + 1]
  end
  return event or table.concat(all, '\\n')
end
local room = tonumber(ARGV[2]) - redis.call('XLEN', KEYS[2])
local seen, at = 0, 1
while at <= #ARGV[4] do
  local id, event, reason, detail
  id, event, reason, detail, at = struct.unpack('>I4c0I4c0I4c0I4c0', ARGV[4], at)
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  if pending.err then
    if string.find(pending.err, 'NOGROUP') then return -1 end
    return pending
  end
  if #pending > 0 then
    if room <= 0 then return seen end
    if event == '' then
      event = copied(id)
      if not event then event, detail = '', detail .. ' (whoever wrote it has taken it off its stream meanwhile)' end
    end
    redis.call('XADD', KEYS[2], '*', 'event', event, 'stream', KEYS[1], 'entry_id', id,
               'reason', reason, 'detail', detail, 'failed_at', ARGV[3])
    redis.call('XACK', KEYS[1], ARGV[1], id)
    room = room - 1
  end
  seen = seen + 1
end
return seen"""

DETAIL_LENGTH_MAX: Final = 500
AT_ONCE_MAX: Final = 100
AT_ONCE_BYTES_MAX: Final = 2**20
"""Letters in one step of the broker's, which serves nobody else meanwhile. A single larger one is not sent, but copied there."""


_length = Struct(">I").pack


class DeadLetter(NamedTuple):
    """An entry of a stream that could not be decided."""

    entry_id: bytes
    raw: bytes
    reason: DeadLetterReason
    detail: str


class DeadLettersFullError(Exception):
    """There is no room for one more dead letter; the message says what to do."""

    def __init__(self, letters_max: int) -> None:
        super().__init__(
            f"{letters_max} dead letters are kept already, and no more may be: replay or discard some (`voucher-ledger "
            f"dead-letters`), or raise VOUCHER_LEDGER_DEAD_LETTERS_MAX"
        )


async def keep(redis: Redis, stream: str, letters: Sequence[DeadLetter], letters_max: int) -> None:
    """Put the letters on the dead-letter stream, and acknowledge them on their own.

    Raises DeadLettersFullError when one would be more than ``letters_max``; those before it are kept. Raises what the broker raises.
    """
    failed_at = datetime.now(UTC).isoformat()
    script = redis.register_script(_KEEP)
    parts = list(_at_once(letters))
    # All on their way before the first is answered: the stream waits for the broker once.
    async with redis.pipeline(transaction=False) as pipeline:
        for some in parts:
            # One argument for all: four of each letter would take the client, and the script, as long as all that is done with them.
            packed = b"".join(map(_packed, some))
            await script(keys=[stream, DEAD_LETTERS], args=[GROUP, letters_max, failed_at, packed], client=pipeline)
        # Raised as the broker said it: the client would put the command into the message, and the events with it.
        for some, result in zip(parts, await pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(result, Exception):
                raise result
            if 0 <= result < len(some):
                raise DeadLettersFullError(letters_max)


def _packed(letter: DeadLetter) -> bytes:
    """Return what the script unpacks: each text behind its length, none for an event that is too long to be sent."""
    raw = letter.raw if len(letter.raw) <= AT_ONCE_BYTES_MAX else b""
    reason, detail = letter.reason.encode(), letter.detail[:DETAIL_LENGTH_MAX].encode()
    return b"".join((
        _length(len(letter.entry_id)), letter.entry_id, _length(len(raw)), raw,
        _length(len(reason)), reason, _length(len(detail)), detail,
    ))  # fmt: skip


def _at_once(letters: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    first, held = 0, 0
    for place, letter in enumerate(letters):
        if place > first and (place - first == AT_ONCE_MAX or held + len(letter.raw) > AT_ONCE_BYTES_MAX):
            yield letters[first:place]
            first, held = place, 0
        held += len(letter.raw)
    if letters:
        yield letters[first:]
