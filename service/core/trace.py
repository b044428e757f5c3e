"""W3C Trace Context: which request a line of the log belongs to."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True)
class Trace:
    """A place in a trace: the whole trace's id, our own part's, and whether it is recorded."""

    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
current_trace = _current.get


def begin_trace(traceparent: str | None = None) -> Trace:
    """Make a part of the trace that `traceparent` names, or of a new one, the current one."""
    trace_id, flags = secrets.token_hex(16), "00"
    found = FORM.fullmatch(traceparent or "")
    if found:
        version, given, parent, given_flags, more = found.groups()
        named = set(given) != {"0"} and set(parent) != {"0"} and version != "ff"
        if named and (version != "00" or more is None):  # later versions may say more
            trace_id, flags = given, given_flags
    trace = Trace(trace_id, secrets.token_hex(8), flags)
    _current.set(trace)
    return trace
