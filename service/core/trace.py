"""W3C Trace Context, which links log lines to the request that caused them."""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True)
class Trace:
    """The trace context of a span: trace id, span id and flags."""

    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
current_trace = _current.get


def begin_trace(traceparent: str | None = None) -> Trace:
    """Start a span in the trace of `traceparent`, or in a new trace if it is missing or invalid."""
    trace_id, flags = secrets.token_hex(16), "00"
    match = TRACEPARENT.fullmatch(traceparent or "")
    if match:
        version, parent_trace, parent_span, parent_flags, suffix = match.groups()
        valid = set(parent_trace) != {"0"} and set(parent_span) != {"0"} and version != "ff"
        if valid and (version != "00" or suffix is None):  # later versions may append fields
            trace_id, flags = parent_trace, parent_flags
    trace = Trace(trace_id, secrets.token_hex(8), flags)
    _current.set(trace)
    return trace
