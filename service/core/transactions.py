"""Subscriptions of Redis that are made all at once, or not at all, in one trip."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

# KEYS: texts that have to begin as in ARGV; "" for those that must not be there.
# Then in ARGV: limits, each a command, a key and a number, and "" after the last; the commands, each behind
# the number of its words. Returns 0, or the number of the text that is another as a negative number, or the
# number of the limit that is reached.
_SCRIPT = """
for i, key in ipairs(KEYS) do
  local text = redis.call('GET', key) or ''
  if string.sub(text, 1, #ARGV[i]) ~= ARGV[i] or (ARGV[i] == '' and text ~= '') then return -i end
end
local first = #KEYS + 1
local at = first
while ARGV[at] ~= '' do
  if redis.call(ARGV[at], ARGV[at + 1]) >= tonumber(ARGV[at + 2]) then return (at - first) / 3 + 1 end
  at = at + 3
end
at = at + 1
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return 0
"""
DONE = 0
Limit = tuple[str, str, int]  # command that tells a size, key, the least size that is too large


class Transactions:
    """Commands that are queued in a pipeline and sent as one script: where several writers meet, none of them
    has to begin again because another wrote to something else that it looked at, as with WATCH."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)

    def apply(self, pipe: Pipeline, expected: Mapping[str, str], limits: Sequence[Limit] = ()) -> int:
        """Run the commands of `pipe` if each key still holds the expected text ("": nothing) and no limit is
        reached.

        DONE, or -1 for the first key that holds something else, -2 for the second, or 1 for the first limit
        that is reached. After a lost connection it may answer a second try, where the first was DONE.
        """
        words: list[Any] = [*expected.values(), *(word for limit in limits for word in limit), ""]
        for command, _ in pipe.command_stack:
            words += [len(command), *command]
        result: int = self._script(keys=list(expected), args=words)
        return result
