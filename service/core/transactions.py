"""Conditional Redis transactions in a single round trip."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

# KEYS: strings whose value must start with the corresponding ARGV, or must not exist if that is "".
# Remaining ARGV: limits (size command, key, maximum) terminated by "", then the commands, each preceded by
# its number of arguments. Returns 0, or -i if the i-th key has another value, or i if the i-th limit is
# reached.
_SCRIPT = """
for i, key in ipairs(KEYS) do
  local text = redis.call('GET', key) or ''
  if string.sub(text, 1, #ARGV[i]) ~= ARGV[i] or (ARGV[i] == '' and text ~= '') then return -i end
end
local first = #KEYS + 1
local at = first
while ARGV[at] ~= '' do
  local size = tonumber(redis.call(ARGV[at], ARGV[at + 1]) or 0)
  if size >= tonumber(ARGV[at + 2]) then return (at - first) / 3 + 1 end
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
Limit = tuple[str, str, int]  # command that returns a number, key, maximum; a missing number is 0


class Transactions:
    """Runs the commands of a pipeline as one script.

    Unlike with WATCH, a writer has to retry only if the keys it depends on have changed.
    """

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)

    def apply(self, pipe: Pipeline, expected: Mapping[str, str], limits: Sequence[Limit] = ()) -> int:
        """Run the commands of `pipe` if each key has its expected value ("": none) and no limit is reached.

        Returns DONE, or -i if the i-th key has another value, or i if the i-th limit is reached. After a lost
        connection the script may be sent again and report a conflict although the first call was applied.
        """
        arguments: list[Any] = [*expected.values(), *(value for limit in limits for value in limit), ""]
        for command, _ in pipe.command_stack:
            arguments += [len(command), *command]
        result: int = self._script(keys=list(expected), args=arguments)
        return result
