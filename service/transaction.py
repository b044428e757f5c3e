"""Changes of Redis that are made all at once, or not at all, in one trip."""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

# ARGV: what KEYS[1] has to hold; limits, each a command, a key and a number, and "" after the last; the
# commands, each behind the number of its words. Returns 0, or -1, or the number of the limit that is reached.
_SCRIPT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return -1 end
local at = 2
while ARGV[at] ~= '' do
  if redis.call(ARGV[at], ARGV[at + 1]) >= tonumber(ARGV[at + 2]) then return (at + 1) / 3 end
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
DONE, CHANGED = 0, -1
Limit = tuple[str, str, int]  # command that tells a size, key, the least size that is too large


class Transactions:
    """Commands that are queued in a pipeline and sent as one script: where several writers meet, none of them
    has to begin again because another wrote to something else that it looked at, as with WATCH."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)

    def apply(self, pipe: Pipeline, key: str, before: str, limits: Sequence[Limit] = ()) -> int:
        """Run the commands of `pipe` if `key` still holds `before` ("": nothing) and no limit is reached.

        DONE, CHANGED, or the number of the limit, from 1 on. After a lost connection the commands may have
        been run, and CHANGED is the answer to the second try.
        """
        words: list[Any] = [before, *(word for limit in limits for word in limit), ""]
        for command, _ in pipe.command_stack:
            words += [len(command), *command]
        result: int = self._script(keys=[key], args=words)
        return result
