"""Spans read back from the bytes that are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from librt.strings import BytesWriter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from understudy.config.compile import compile_snapshot
from understudy.config.schema import Document
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.places import Places
from understudy.proxy.telemetry.spans import Spans
from understudy.proxy.telemetry.told import ToldExchange

from .services import FakeServices

IS_REMOTE = 0x200  # of a span's flags


class Event(NamedTuple):
    """One event of a span."""

    name: str
    attributes: dict[str, Any]
    time_ns: int


class Span(NamedTuple):
    """What a backend reads of one span."""

    name: str
    kind: int
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    is_remote: bool  # the parent
    trace_state: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[Event]
    link: tuple[bytes, bytes] | None  # trace and span
    error: str | None  # the error.type of a span whose status is an error


def request_of(spans: Iterable[bytes], wire: Wire | None = None) -> bytes:
    """What is sent of these."""
    return (wire or Wire({}, "u", "", "")).enclosed(spans)


def sent_of(request: bytes) -> list[Sent]:
    """All spans of a request that has one resource and one scope."""
    [resource] = ExportTraceServiceRequest.FromString(request).resource_spans
    [scope] = resource.scope_spans
    return list(scope.spans)


def encoded(spans: Spans, *records: ToldExchange) -> list[bytes]:
    """What is made of these, one by one."""
    out = BytesWriter()
    count = sum(spans.add(record, out) for record in records)
    found = list(_split(out.getvalue()))
    assert len(found) == count
    return found


def _split(encoded: bytes) -> Iterator[bytes]:
    """Spans, each behind its tag and length."""
    start = 0
    while start < len(encoded):
        size, at = encoded[start + 1], start + 2
        if size > 127:
            size, at = size & 127 | encoded[at] << 7, at + 1
            if size > 0x3FFF:
                size, at = size & 0x3FFF | encoded[at] << 14, at + 1
        yield encoded[start : at + size]
        start = at + size


def read(spans: Iterable[bytes]) -> list[Span]:
    """The spans as a backend reads them."""
    return spans_in(request_of(spans))


def spans_in(request: bytes) -> list[Span]:
    """Those of a request, likewise."""
    return [_span(each) for each in sent_of(request)]


def spans_by(document: Document, headers: Iterable[str] = ()) -> Spans:
    """What makes them by a configuration, and puts these request fields into them."""
    return Spans(Places(compile_snapshot(document, FakeServices(), version=3, workers=1, base="/")), headers)


def _span(sent: Sent) -> Span:
    links = [(link.trace_id, link.span_id) for link in sent.links]
    attributes = _attributes(sent.attributes)
    has_failed = sent.status.code == Status.STATUS_CODE_ERROR
    return Span(
        sent.name, sent.kind, sent.trace_id, sent.span_id, sent.parent_span_id, bool(sent.flags & IS_REMOTE),
        sent.trace_state, sent.start_time_unix_nano, sent.end_time_unix_nano, attributes,
        [Event(each.name, _attributes(each.attributes), each.time_unix_nano) for each in sent.events],
        links[0] if links else None, attributes["error.type"] if has_failed else None,
    )  # fmt: skip


def _attributes(sent: Iterable[KeyValue]) -> dict[str, Any]:
    pairs = [(each.key, value_of(each.value)) for each in sent]
    assert len(dict(pairs)) == len(pairs), "an attribute is there twice"
    return dict(pairs)


def value_of(value: AnyValue) -> Any:
    """Of any attribute."""
    kind = value.WhichOneof("value") or ""
    return tuple(map(value_of, value.array_value.values)) if kind == "array_value" else getattr(value, kind)
