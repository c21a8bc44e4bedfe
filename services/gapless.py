"""A programme's notifications on their stream: each right after the one before it, none missing and none twice.

A notification's id is ``<position>-0``. The broker compares and adds in one step: what was added already, or would leave a gap, is
not added.
"""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from services.broker import FIELD, notification_stream

_NOWHERE: Final = -1
"""No stream stands there: nothing is added, and where it stands is told."""

# Adds ARGV[3], ARGV[4] … as the positions after ARGV[1], if that is where the stream stands; returns where it stands after.
_ADD: Final = """
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
local last = 0
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = tonumber(string.match(info[i + 1], '^%d+')) end
  end
elseif not string.find(info.err, 'no such key') then
  return info
end
local cursor = tonumber(ARGV[1])
if last ~= cursor then return last end
for i = 3, #ARGV do
  cursor = cursor + 1
  redis.call('XADD', KEYS[1], string.format('%.0f-0', cursor), ARGV[2], ARGV[i])
end
return cursor"""


async def add(redis: Redis, programme: str, cursor: int, notifications: Sequence[bytes]) -> int:
    """Add the notifications after the cursor if the stream stands there; return where it stands then. Raises RedisError."""
    script = redis.register_script(_ADD)
    return int(await script(keys=[notification_stream(programme)], args=[cursor, FIELD, *notifications]))


async def stands_at(redis: Redis, programme: str) -> int:
    """Return the position of the last notification, also of one that was trimmed; 0 where there is none. Raises RedisError."""
    return await add(redis, programme, _NOWHERE, [])
