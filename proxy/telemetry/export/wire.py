"""Spans as the bytes of an OTLP request: opentelemetry-proto's ExportTraceServiceRequest. metrics.py has the metrics.

The SDK's own encoder builds a message object for every attribute, which costs some 70 us a span; most of a span is the
same from one to the next, so its bytes are kept. tests/proxy/telemetry/test_wire.py holds it to the SDK's encoder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from .spans import Alike, Event, Span, Value

SCOPE: Final = "understudy"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The conventions that names are of: the newest that the SDK in use knows."""
_SHORT: Final = tuple(bytes((number,)) for number in range(128))
_TIME: Final = struct.Struct("<cQ").pack
_TIMES: Final = struct.Struct("<cQcQ").pack
_DOUBLE: Final = struct.Struct("<cd").pack
_FLAGS: Final = {
    False: struct.pack("<I", 0x100),
    True: struct.pack("<I", 0x300),
}  # whether the parent is remote is known
_ERROR: Final = b"\x18\x02"


class Wire:
    """Around what is sent: whose it is. Immutable after construction."""

    def __init__(self, resource: Mapping[str, Value], scope_name: str, scope_version: str, schema_url: str) -> None:
        scope = text(b"\x0a", scope_name) + text(b"\x12", scope_version)
        self._resource = field(b"\x0a", b"".join(field(b"\x0a", pair(*each)) for each in resource.items()))
        self._scope = field(b"\x0a", scope)
        self._schema_url = text(b"\x1a", schema_url)

    def request(self, spans: Iterable[Span]) -> bytes:
        """An ExportTraceServiceRequest with these spans, all of one resource and scope."""
        return self.enclosed(map(_span, spans))

    def enclosed(self, items: Iterable[bytes]) -> bytes:
        """The request with these, encoded already and behind their tags: spans, or metrics for another kind of it."""
        parts = [self._scope, *items, self._schema_url]
        size = sum(map(len, parts))
        scoped = b"\x12" + length(size)
        around = len(self._resource) + len(scoped) + size + len(self._schema_url)
        return b"".join((b"\x0a", length(around), self._resource, scoped, *parts, self._schema_url))


def _span(span: Span) -> bytes:
    alike = span.alike
    if not alike.encoded:
        alike.encoded = _spans_alike(alike)
    parts = [
        b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id, _TIMES(b"\x39", span.start_ns, b"\x41", span.end_ns),
        alike.encoded,
    ]  # fmt: skip
    if span.trace_state:
        parts.append(text(b"\x1a", span.trace_state))
    if span.parent_id:
        parts.append(b"\x22\x08")
        parts.append(span.parent_id)
    for name, value in span.own.items():
        parts.append(field(b"\x4a", pair(name, value)))
    for event in span.events:
        parts.append(_event(event))
    if span.link is not None:
        trace_id, span_id = span.link
        parts.append(field(b"\x6a", b"\x0a\x10" + trace_id + b"\x12\x08" + span_id + b"\x35" + _FLAGS[False]))
    parts.append(b"\x85\x01")
    parts.append(_FLAGS[span.is_remote])
    return field(b"\x12", b"".join(parts))


def _spans_alike(alike: Alike) -> bytes:
    """Name, kind, attributes and status."""
    parts = [text(b"\x2a", alike.name), b"\x30", _SHORT[alike.kind]]
    parts += [field(b"\x4a", pair(name, value)) for name, value in alike.attributes.items()]
    if alike.error is None:
        parts.append(b"\x7a\x00")
    else:
        message = b"" if alike.error.isdigit() else text(b"\x12", alike.error)
        parts.append(field(b"\x7a", message + _ERROR))
    return b"".join(parts)


def _event(event: Event) -> bytes:
    alike = event.alike
    if not alike.encoded:
        attributes = [field(b"\x1a", pair(name, value)) for name, value in alike.attributes.items()]
        alike.encoded = b"".join((text(b"\x12", alike.name), *attributes))
    return field(b"\x5a", _TIME(b"\x09", event.time_ns) + alike.encoded)


def pair(key: str, value: Value) -> bytes:
    """A KeyValue."""
    return text(b"\x0a", key) + field(b"\x12", _any(value))


def _any(value: Value) -> bytes:
    """An AnyValue."""
    if isinstance(value, str):
        return text(b"\x0a", value)
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + length(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return _DOUBLE(b"\x21", value)
    return field(b"\x2a", b"".join(field(b"\x0a", _any(each)) for each in value))


def text(tag: bytes, text: str) -> bytes:
    """A string behind its tag and length."""
    return field(tag, text.encode("utf-8", "replace"))


def field(tag: bytes, content: bytes) -> bytes:
    """A message, or bytes, behind tag and length."""
    size = len(content)
    return tag + (_SHORT[size] if size < 128 else length(size)) + content


def length(number: int) -> bytes:
    """A varint."""
    if number < 128:
        return _SHORT[number]
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
