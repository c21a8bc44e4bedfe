"""Dead letters: what can be no entry of a ledger is kept with its original bytes, the reason, and where it came from."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from redis.asyncio import Redis

from schemas.codes import DeadLetterReason
from services.broker import DEAD_LETTERS, GROUP

# Kept and acknowledged in one step, and kept only while pending: a batch that two consumers hold, or that is read again after a
# crash, leaves one dead letter. Kept first: what a script did before it failed (the memory is full, say) stays done.
_KEEP: Final = """
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if pending.err then
  if string.find(pending.err, 'NOGROUP') then return 0 end
  return pending
end
if #pending == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'event', ARGV[3], 'stream', KEYS[1], 'entry_id', ARGV[2],
           'reason', ARGV[4], 'detail', ARGV[5], 'failed_at', ARGV[6])
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])"""

DETAIL_LENGTH_MAX: Final = 500


class DeadLetter(NamedTuple):
    """An entry of a stream that could not be decided."""

    entry_id: bytes
    raw: bytes
    reason: DeadLetterReason
    detail: str


async def keep(redis: Redis, stream: str, letters: Sequence[DeadLetter]) -> None:
    """Put the letters on the dead-letter stream, and acknowledge them on their own. Raises what the broker raises."""
    if not letters:
        return
    failed_at = datetime.now(UTC).isoformat()
    script = redis.register_script(_KEEP)
    async with redis.pipeline(transaction=False) as pipeline:
        for letter in letters:
            await script(
                keys=[stream, DEAD_LETTERS],
                args=[GROUP, letter.entry_id, letter.raw, letter.reason, letter.detail[:DETAIL_LENGTH_MAX], failed_at],
                client=pipeline,
            )
        # Raised as the broker said it: the client would put the command into the message, and the event with it.
        for result in await pipeline.execute(raise_on_error=False):
            if isinstance(result, Exception):
                raise result
