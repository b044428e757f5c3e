"""Spans with and without a recorder."""

from datetime import UTC, datetime, timedelta

import pytest

from service.core.telemetry import OpenTelemetry
from service.core.trace import current_trace, parse, record_spans, span

PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


def test_spans_without_a_recorder_carry_ids_on() -> None:
    assert current_trace() is None
    with span("a", parse(PARENT)) as a:
        assert (a.trace.trace_id, a.trace.flags) == ("ab" * 16, "01")
        assert a.trace.span_id != "cd" * 8
        with span("b") as b:
            assert b.trace.trace_id == a.trace.trace_id
            assert current_trace() == b.trace
        assert current_trace() == a.trace
    assert current_trace() is None
    with span("c") as c, span("d", parse("nonsense")) as d:
        assert c.trace.trace_id == d.trace.trace_id != a.trace.trace_id


@pytest.mark.parametrize(
    "header", [None, "", "00-" + "0" * 32 + "-" + "cd" * 8 + "-01", PARENT + "-x", "ff" + PARENT[2:]]
)
def test_invalid_headers_are_no_parent(header: str | None) -> None:
    assert parse(header) is None
    assert parse("01" + PARENT[2:] + "-later") is not None


def test_spans_are_exported_with_their_parents() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    telemetry = OpenTelemetry("test", exporter)
    began = datetime.now(UTC) - timedelta(seconds=5)
    record_spans(telemetry)
    try:
        with span("outer", parse(PARENT), kind="server") as outer:
            outer.attributes["number"] = 7
            with span("waited", start=began):
                pass
            with pytest.raises(ValueError, match="secret"), span("failed"):
                raise ValueError("secret")
            outer.name = "renamed"
    finally:
        record_spans(None)
    telemetry.provider.force_flush()
    found = {each.name: each for each in exporter.get_finished_spans()}
    assert set(found) == {"renamed", "waited", "failed"}
    top = found["renamed"]
    assert top.parent is not None
    assert f"{top.parent.span_id:016x}" == "cd" * 8
    assert top.kind.name == "SERVER"
    assert dict(top.attributes or {}) == {"number": 7}
    assert top.resource.attributes["service.name"] == "oflow-test"
    for name in ("waited", "failed"):
        parent = found[name].parent
        assert parent is not None
        assert f"{parent.span_id:016x}" == outer.trace.span_id
        assert found[name].context is not None
        assert f"{found[name].context.trace_id:032x}" == "ab" * 16
    assert found["waited"].start_time == int(1e9 * began.timestamp())
    assert found["failed"].status.description == "ValueError", "what a caller sent stays here"
    assert not found["failed"].events


def test_a_parent_that_is_not_sampled_is_not_exported() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    telemetry = OpenTelemetry("test", exporter)
    record_spans(telemetry)
    try:
        with span("a", parse(PARENT[:-2] + "00")) as a:
            assert (a.trace.trace_id, a.trace.flags) == ("ab" * 16, "00")
    finally:
        record_spans(None)
    telemetry.provider.force_flush()
    assert exporter.get_finished_spans() == ()
