"""Our bytes of spans are those of the SDK's own encoder, read back as messages."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState
from understudy.proxy.telemetry.export import wire
from understudy.proxy.telemetry.export.places import Places
from understudy.proxy.telemetry.export.spans import MOST_KEPT, SERVER, Alike, Span, Spans, Value, weight
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.records import StreamTimes, ToldExchange, ToldFlag, ToldPair

from tests.kit import told
from tests.proxy.telemetry.test_spans import document, spans_of

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

    description = None if span.alike.error is None or span.alike.error.isdigit() else span.alike.error
    return sdk.ReadableSpan(
        name=span.alike.name,
        context=context(span.span_id, False),
        parent=context(span.parent_id, span.is_remote) if span.parent_id else None,
        resource=Resource(dict(RESOURCE), URL),
        attributes=span.attributes,
        events=[sdk.Event(event.alike.name, event.alike.attributes, event.time_ns) for event in span.events],
        links=[Link(context(span.link[1], False, span.link[0]))] if span.link else (),
        kind=SpanKind.SERVER if span.alike.kind == SERVER else SpanKind.CLIENT,
        status=Status(StatusCode.UNSET if span.alike.error is None else StatusCode.ERROR, description),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("understudy", "1.2", URL),
    )


def spans() -> list[Span]:
    return [span for record in told.everything() for span in spans_of(record)]


def test_the_sdk_would_have_sent_the_same() -> None:
    ours = ExportTraceServiceRequest.FromString(Wire(RESOURCE, "understudy", "1.2", URL).request(spans()))
    theirs = encode_spans([sdk_span(span) for span in spans()])
    assert len(ours.resource_spans[0].scope_spans[0].spans) == len(spans()) > 8
    assert ours == theirs


def test_the_conventions_are_the_newest_that_the_sdk_knows() -> None:
    assert list(Schemas)[-1].value == wire.SCHEMA_URL


def test_numbers_of_every_size_and_texts_of_every_kind() -> None:
    values: list[Value] = [0, 127, 128, 300, 2**40, -1, 0.0, -1.5, "", "\udcff", "x" * 200, "é" * 9_000, False]
    half = len(values) // 2
    named = {f"k{at}": value for at, value in enumerate(values)}
    alike = Alike("x", dict(list(named.items())[:half]), SERVER)
    span = Span(alike, bytes(16), bytes(8), "", b"", False, 0, 0, dict(list(named.items())[half:]), [])
    sent = ExportTraceServiceRequest.FromString(Wire({}, "u", "", URL).request([span]))
    (found,) = sent.resource_spans[0].scope_spans[0].spans
    read = [getattr(each.value, each.value.WhichOneof("value") or "") for each in found.attributes]
    assert read == [value if value != "\udcff" else "?" for value in values]


def test_what_is_kept_is_bounded_and_changes_nothing() -> None:
    made = Spans(Places(document()), ["x-tenant"])
    writer = Wire({}, "u", "", URL)

    def request() -> bytes:
        return writer.request(span for record in told.everything() for span in made.of(record))

    first = request()
    assert request() == first
    for number in range(3 * MOST_KEPT):
        made.of(told.told_exchange(config=number))
    assert len(made._kept) <= MOST_KEPT
    assert request() == first


def test_what_differs_between_two_exchanges_is_never_taken_from_the_first() -> None:
    """Whatever one field of a record says, its spans are those that a fresh start makes of it."""
    made = Spans(Places(document()), ["x-tenant"])
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
    writer = Wire({}, "u", "", URL)
    for record in (told.told_exchange(), *records):
        fresh = Spans(Places(document()), ["x-tenant"])
        assert writer.request(made.of(record)) == writer.request(fresh.of(record)), record


@pytest.mark.parametrize(
    "record",
    [
        *told.everything(),
        told.told_exchange(path="/" + "\u00e9" * 1024, trace_state="a=" + "b" * 500, method="M" * 1024),
        told.told_exchange(calls=[told.told_call(role="shadow") for _ in range(8)], path="/" + "x" * 1024),
        told.told_exchange(flags=[ToldFlag("f" * 60, "v" * 60, "targeting_match") for _ in range(9)]),
        told.told_exchange(flags=[ToldFlag("f" * 60, "v" * 60, "split", {**told.ABOUT, "owner": "\u00e9" * 300})]),
        told.told_exchange(fields={f"x-{letter}": "v" * 1024 for letter in "abc"}, route="r" * 63, arm="a" * 63),
    ],
)
def test_a_record_weighs_at_least_what_its_spans_become(record: ToldExchange) -> None:
    """Or else a request could be larger than what collectors take over gRPC."""
    size = len(Wire({}, "", "", "").request(Spans(Places(document()), record.fields).of(record)))
    assert size <= weight(record) < 30_000
