"""Trimming streams: what every group was given and has acknowledged goes once it is old; nothing else ever does.

An entry that a group has not been given yet, or has not acknowledged, stays with all that came after it, whoever's group it is.
"""

from typing import Final

from redis.asyncio import Redis

AT_ONCE_MAX: Final = 1_000
"""Entries that one step trims at the most, in about a millisecond: the broker does nothing else meanwhile."""

# Looked and trimmed in one step: what is read meanwhile would be pending, and gone. An id is two numbers of up to 64 bits, more than
# a number of Lua can tell apart: compared as text of one length. The newest entry that a group was given stays, for the id after it
# would have to be counted. Whole nodes go (~): never more than up to the id, and some tens of entries less.
_TRIM: Final = """
local function place(id)
  local moment, number = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #moment) .. moment .. string.rep('0', 20 - #number) .. number
end
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then
  if string.find(groups.err, 'no such key') then return 0 end
  return groups
end
local first, has_group = ARGV[1], ARGV[2] == ''
for _, row in ipairs(groups) do
  local group = {}
  for i = 1, #row, 2 do group[row[i]] = row[i + 1] end
  has_group = has_group or group['name'] == ARGV[2]
  local wanted = group['last-delivered-id']
  if group['pending'] > 0 then
    local oldest = redis.call('XPENDING', KEYS[1], group['name'])[2]
    if place(oldest) < place(wanted) then wanted = oldest end
  end
  if place(wanted) < place(first) then first = wanted end
end
if not has_group then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', first, 'LIMIT', ARGV[3])"""


async def trim(redis: Redis, key: str, first: str, *, group: str | None = None) -> int:
    """Trim a stream's entries before an id, but for what any group still wants; return how many went.

    Without the ``group``, where one is named, nothing goes: nobody has read the stream yet. Raises what the broker raises.
    """
    script, trimmed = redis.register_script(_TRIM), 0
    while gone := int(await script(keys=[key], args=[first, group or "", AT_ONCE_MAX])):
        trimmed += gone
    return trimmed
