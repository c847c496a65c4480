"""Spans as the bytes of an OTLP request: opentelemetry-proto's ExportTraceServiceRequest. metrics.py has the metrics.

The SDK's own encoder builds a message object for every attribute, which costs some 70 us a span; most attributes are
the same from span to span, so their bytes are kept. tests/proxy/telemetry/test_wire.py holds it to the SDK's encoder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from .spans import Attributes, Event, Span, Value

SCOPE: Final = "understudy"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The conventions that names are of: the newest that the SDK in use knows."""
MOST_KEPT: Final = 4096  # some hundred KiB
_SHORT: Final = tuple(bytes((number,)) for number in range(128))
_FIXED64: Final = struct.Struct("<Q").pack
_DOUBLE: Final = struct.Struct("<d").pack
_FLAGS: Final = {
    False: struct.pack("<I", 0x100),
    True: struct.pack("<I", 0x300),
}  # whether the parent is remote is known
_ERROR: Final = b"\x18\x02"
# Their values differ from span to span: keeping them would only push out the others.
_VARIED: Final = frozenset({
    "client.address", "http.request.body.size", "http.request.method_original", "http.response.body.size", "url.full",
    "url.path",
    "understudy.request_id", "understudy.pair.latency_delta_ms", "understudy.pair.latency_ratio",
    "gen_ai.response.time_to_first_chunk", "understudy.stream.time_per_output_chunk", "understudy.stream.chunks",
})  # fmt: skip


class Wire:
    """Mutable state: the attributes whose bytes are kept. For one thread alone."""

    def __init__(self, resource: Mapping[str, Value], scope_name: str, scope_version: str, schema_url: str) -> None:
        self._kept: dict[tuple[str, Value], bytes] = {}
        scope = text(b"\x0a", scope_name) + text(b"\x12", scope_version)
        self._resource = field(b"\x0a", b"".join(field(b"\x0a", pair(*each)) for each in resource.items()))
        self._scope = field(b"\x0a", scope)
        self._schema_url = text(b"\x1a", schema_url)

    def request(self, spans: Iterable[Span]) -> bytes:
        """An ExportTraceServiceRequest with these spans, all of one resource and scope."""
        return self.enclosed(map(self._span, spans))

    def enclosed(self, items: Iterable[bytes]) -> bytes:
        """The request with these, encoded already and behind their tags: spans, or metrics for another kind of it."""
        parts = [self._scope, *items, self._schema_url]
        size = sum(map(len, parts))
        scoped = b"\x12" + length(size)
        around = len(self._resource) + len(scoped) + size + len(self._schema_url)
        return b"".join((b"\x0a", length(around), self._resource, scoped, *parts, self._schema_url))

    def _span(self, span: Span) -> bytes:
        parts = [
            b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id,
            text(b"\x2a", span.name), b"\x30", _SHORT[span.kind],
            b"\x39", _FIXED64(span.start_ns), b"\x41", _FIXED64(span.end_ns),
        ]  # fmt: skip
        if span.trace_state:
            parts.append(text(b"\x1a", span.trace_state))
        if span.parent_id:
            parts += b"\x22\x08", span.parent_id
        parts += self._attributes(b"\x4a", span.attributes)
        parts += [field(b"\x5a", self._event(event)) for event in span.events]
        if span.link is not None:
            trace_id, span_id = span.link
            parts.append(field(b"\x6a", b"\x0a\x10" + trace_id + b"\x12\x08" + span_id + b"\x35" + _FLAGS[False]))
        if span.error is None:
            parts.append(b"\x7a\x00")
        else:
            message = b"" if span.error.isdigit() else text(b"\x12", span.error)
            parts.append(field(b"\x7a", message + _ERROR))
        parts += b"\x85\x01", _FLAGS[span.is_remote]
        return field(b"\x12", b"".join(parts))

    def _event(self, event: Event) -> bytes:
        return b"".join((b"\x09", _FIXED64(event.time_ns), text(b"\x12", event.name),
                         *self._attributes(b"\x1a", event.attributes)))  # fmt: skip

    def _attributes(self, tag: bytes, attributes: Attributes) -> list[bytes]:
        kept = self._kept
        parts: list[bytes] = []
        for each in attributes.items():
            found = kept.get(each)
            if found is None:
                found = self._keep(each)
            parts += tag, found
        return parts

    def _keep(self, each: tuple[str, Value]) -> bytes:
        sized = field(b"", pair(*each))
        if each[0] not in _VARIED and not each[0].startswith("http.request.header."):
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[each] = sized
        return sized


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
        return b"\x21" + _DOUBLE(value)
    return field(b"\x2a", b"".join(field(b"\x0a", _any(each)) for each in value))


def text(tag: bytes, text: str) -> bytes:
    """A string behind its tag and length."""
    return field(tag, text.encode(errors="replace"))


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
