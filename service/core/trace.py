"""W3C Trace Context: links log lines and spans to the request that caused them.

Spans are exported by OpenTelemetry if `service.core.telemetry` was configured to; otherwise they only carry
trace and span ids on.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

Kind = Literal["internal", "server", "consumer"]
Attribute = str | int | float | bool


@dataclass(frozen=True)
class Trace:
    """The trace context of a span: trace id, span id and flags."""

    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


@dataclass
class Span:
    """A piece of work. `name` and `attributes` may change until it ends."""

    name: str
    trace: Trace
    attributes: dict[str, Attribute] = field(default_factory=dict)


class Recorder(Protocol):
    """What exports spans."""

    def start(self, parent: Trace | None, kind: Kind, start: datetime | None) -> tuple[Trace, object]:
        """The context of a new span below `parent`, and what `end` wants back."""

    def end(self, handle: object, span: Span, error: BaseException | None) -> None: ...


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
current_trace = _current.get
_recorder: Recorder | None = None


def record_spans(recorder: Recorder | None) -> None:
    """Export the spans of this process from now on, or no longer with None."""
    global _recorder
    _recorder = recorder


def parse(traceparent: str | None) -> Trace | None:
    """The context in a `traceparent` header, None if it is missing or invalid."""
    match = TRACEPARENT.fullmatch(traceparent or "")
    if match:
        version, trace_id, span_id, flags, suffix = match.groups()
        valid = set(trace_id) != {"0"} and set(span_id) != {"0"} and version != "ff"
        if valid and (version != "00" or suffix is None):  # later versions may append fields
            return Trace(trace_id, span_id, flags)
    return None


@contextmanager
def span(
    name: str,
    parent: Trace | None = None,
    *,
    kind: Kind = "internal",
    start: datetime | None = None,
    record: bool = True,
) -> Iterator[Span]:
    """Work below `parent`, by default below the current span; a new trace if there is neither.

    Inside, `current_trace()` is the context of this span. `start` is the time at which it began, if not now.
    Without `record` it is not exported.
    """
    parent = parent or current_trace()
    if _recorder is None or not record:
        trace_id, flags = (parent.trace_id, parent.flags) if parent else (secrets.token_hex(16), "00")
        trace, handle = Trace(trace_id, secrets.token_hex(8), flags), None
    else:
        trace, handle = _recorder.start(parent, kind, start)
    found = Span(name, trace)
    token = _current.set(trace)
    error = None
    try:
        yield found
    except BaseException as raised:
        error = raised
        raise
    finally:
        _current.reset(token)
        if _recorder is not None and handle is not None:
            _recorder.end(handle, found, error)
