"""Our bytes are those of the SDK's own encoder, read back as messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from librt.strings import BytesWriter
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState
from understudy.proxy.telemetry.export import wire
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.otlp import Key, Value, attribute
from understudy.proxy.telemetry.records import StreamTimes
from understudy.proxy.telemetry.spans import MOST_KEPT, SERVER
from understudy.proxy.telemetry.told import ToldFlag, ToldPair

from tests.kit import told
from tests.kit.spans import Span, encoded, read, request_of, spans_by, value_of
from tests.proxy.telemetry.test_spans import document

URL = "https://opentelemetry.io/schemas/1.0.0"
RESOURCE: dict[str, Value] = {
    "service.name": "model é",
    "process.pid": 70_000,
    "x": 1.5,
    "list": ("a", "b"),
    "on": True,
}


def sdk_span(span: Span) -> sdk.ReadableSpan:
    members = [member.partition("=") for member in span.trace_state.split(",") if member]
    state = TraceState([(key, value) for key, _, value in members])

    def context(span_id: bytes, is_remote: bool, trace_id: bytes = span.trace_id) -> SpanContext:
        return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote, trace_state=state)

    description = None if span.error is None or span.error.isdigit() else span.error
    return sdk.ReadableSpan(
        name=span.name,
        context=context(span.span_id, False),
        parent=context(span.parent_id, span.is_remote) if span.parent_id else None,
        resource=Resource(dict(RESOURCE), URL),
        attributes=span.attributes,
        events=[sdk.Event(event.name, event.attributes, event.time_ns) for event in span.events],
        links=[Link(context(span.link[1], False, span.link[0]))] if span.link else (),
        kind=SpanKind.SERVER if span.kind == SERVER else SpanKind.CLIENT,
        status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR, description),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("understudy", "1.2", URL),
    )


def everything() -> list[bytes]:
    return encoded(spans_by(document(), ["x-tenant"]), *told.everything())


def test_the_sdk_would_have_sent_the_same() -> None:
    spans = everything()
    ours = ExportTraceServiceRequest.FromString(request_of(spans, Wire(RESOURCE, "understudy", "1.2", URL)))
    theirs = encode_spans([sdk_span(span) for span in read(spans)])
    assert len(ours.resource_spans[0].scope_spans[0].spans) == len(spans) > 8
    assert ours == theirs


def test_the_conventions_are_the_newest_that_the_sdk_knows() -> None:
    assert list(Schemas)[-1].value == wire.SCHEMA_URL


TEXTS = ["", "\udcff", "x" * 200, "é" * 9_000, *("x" * size for size in range(90, 130))]
COUNTS = [0, 127, 128, 300, 2**40]


def test_numbers_of_every_size_and_texts_of_every_kind() -> None:
    values: list[Value] = [*COUNTS, -1, 0.0, -1.5, *TEXTS, False, True, ("a", "b")]
    sent = Sent.FromString(b"".join(attribute(f"k{at}", value) for at, value in enumerate(values)))
    assert [each.key for each in sent.attributes] == [f"k{at}" for at in range(len(values))]
    expected = [value if value != "\udcff" else "?" for value in values]
    assert [value_of(each.value) for each in sent.attributes] == expected


def written(write: Callable[..., None], *args: object) -> bytes:
    out = BytesWriter()
    write(out, *args)
    return out.getvalue()


@pytest.mark.parametrize("name", ["k", "client.address", "n" * 100])
def test_an_attribute_whose_name_was_encoded_before_is_the_same(name: str) -> None:
    key = Key(name)
    for each in TEXTS:
        value = each.encode(errors="replace")
        assert written(key.write_text, value) == attribute(name, value.decode())
    for number in COUNTS:
        assert written(key.write_count, number) == attribute(name, number)
    for number in (0.0, -1.5):
        assert written(key.write_double, number) == attribute(name, number)


def test_what_is_kept_is_bounded_and_changes_nothing() -> None:
    made = spans_by(document(), ["x-tenant"])
    first = encoded(made, *told.everything())
    assert encoded(made, *told.everything()) == first
    for number in range(3 * MOST_KEPT):
        encoded(made, told.told_exchange(config=number, flags=[ToldFlag("f", f"v{number}", "split")]))
    assert 0 < len(made._kept) <= MOST_KEPT
    assert 0 < len(made._events) <= MOST_KEPT
    assert encoded(made, *told.everything()) == first


def test_what_differs_between_two_exchanges_is_never_taken_from_the_first() -> None:
    """Whatever one field of a record says, its spans are those that a fresh start makes of it."""
    made = spans_by(document(), ["x-tenant"])
    changes: dict[str, list[Any]] = {
        "scheme": ["https"], "http_version": ["1.0"], "route": ["one", ""], "port": [0, 1], "status": [0, 404, 503],
        "reason": ["truncated", "client_gone"], "sampled": [False], "config": [4], "experiment": ["", "b"],
        "arm": ["", "b"], "method": ["GET", "BREW", ""], "client": ["::1"], "path": ["", "/v2/x"], "request_id": ["r2"],
        "request_bytes": [0], "response_bytes": [7], "fields": [{"x-tenant": "red"}], "parent_id": ["1" * 16],
        "flags": [[ToldFlag("a", "b", "split")], [ToldFlag("a", "b", "targeting_match")], [ToldFlag("a", "c", "split")],
                  [ToldFlag("d", "b", "split"), ToldFlag("a", "b", "split")], [ToldFlag("d", "c", "split")]],
        "first_byte_ms": [None], "total_ms": [1.0], "began_s": [told.BEGAN_S + 1], "trace_state": ["a=b"],
    }  # fmt: skip
    of_calls: dict[str, list[Any]] = {
        "backend": ["b"], "version": ["b"], "endpoint": ["127.0.0.1:9001", "unix:/run/model.sock", ""],
        "status": [0, 404, 503],
        "outcome": ["truncated", "budget_requests"], "censored": [True], "resent": [1], "request_bytes": [0],
        "response_bytes": [7], "stream": [StreamTimes(1.0, 2.0, 3)], "pair": [None, ToldPair(1.0, 2.0, False)],
        "first_byte_ms": [None], "end_ms": [99.0], "trace_id": ["f" * 32], "span_id": ["", "1" * 16],
    }  # fmt: skip
    records = [told.told_exchange(**{name: value}) for name, values in changes.items() for value in values]
    for role in ("live", "shadow"):
        calls = [told.told_call(role=role, **{name: value}) for name, values in of_calls.items() for value in values]
        records += [told.told_exchange(calls=[call]) for call in calls]
    unsent = [told.told_call(role="shadow", span_id="", outcome=reason) for reason in ("shadow_budget", "live_over")]
    records += [told.told_exchange(calls=[call]) for call in unsent]
    for record in (told.told_exchange(), *records):
        fresh = spans_by(document(), ["x-tenant"])
        assert encoded(made, record) == encoded(fresh, record), told.fields_of(record)
