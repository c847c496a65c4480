"""Families of metrics as the bytes of an OTLP request: opentelemetry-proto's ExportMetricsServiceRequest.

The SDK's own encoder needs a second and more for the points of 2,000 names. tests/proxy/telemetry/test_metrics.py holds
this one to it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple

from ...giving_way import stepping_aside
from ..family import Attributes, Distribution, Family, Kind
from ..otlp import field, pair, text
from .wire import Wire

_CUMULATIVE: Final = b"\x10\x02"
_MONOTONIC: Final = b"\x18\x01"
_DATA: Final[dict[Kind, tuple[bytes, bytes]]] = {
    "gauge": (b"\x2a", b""),
    "counter": (b"\x3a", _CUMULATIVE + _MONOTONIC),
    "updown": (b"\x3a", _CUMULATIVE),
    "histogram": (b"\x4a", _CUMULATIVE),
}
"""The tag of a metric's data, and what they say beside their points."""
POINTS_IN_A_ROW: Final = 20  # then we step aside
_TIMES: Final = struct.Struct("<cQcQ").pack
_INT: Final = struct.Struct("<cq").pack
_DOUBLE: Final = struct.Struct("<cd").pack
_COUNTED: Final = struct.Struct("<cQcd").pack


class Measured(NamedTuple):
    """Metrics of one moment. Times are nanoseconds since 1970; sums are of what happened between them."""

    families: Sequence[Family]
    start_ns: int
    now_ns: int


def encoded(measured: Measured, wire: Wire) -> bytes:
    """The request."""
    return wire.enclosed(metrics(measured))


def metrics(measured: Measured) -> Iterator[bytes]:
    """Each family, as a metric behind its tag."""
    of_number, of_histogram = (Attributes(partial(_attribute, tag), b"") for tag in (b"\x3a", b"\x4a"))
    for family in measured.families:
        tag, beside = _DATA[family.kind]
        times = _TIMES(b"\x11", 0 if family.kind == "gauge" else measured.start_ns, b"\x19", measured.now_ns)
        attributes = of_histogram if family.kind == "histogram" else of_number
        points = b"".join(
            [field(b"\x0a", times + point) for point in stepping_aside(_points(attributes, family), POINTS_IN_A_ROW)]
        )
        said = text(b"\x0a", family.name) + text(b"\x12", family.help) + text(b"\x1a", family.unit)
        yield field(b"\x12", said + field(tag, points + beside))


def _points(attributes: Attributes[bytes], family: Family) -> Iterator[bytes]:
    for labels, value in attributes.of(family):
        if isinstance(value, Distribution):
            counts = _counts(len(value.counts))(*value.counts)
            counted = _COUNTED(b"\x21", value.count, b"\x29", value.sum)
            yield counted + field(b"\x32", counts) + _bounds(value.bounds) + labels
        else:
            yield (_DOUBLE(b"\x21", value) if isinstance(value, float) else _INT(b"\x31", value)) + labels


def _attribute(tag: bytes, name: str, value: str) -> bytes:
    return field(tag, pair(name, value))


@lru_cache(maxsize=2)
def _counts(number: int) -> Callable[..., bytes]:
    return struct.Struct(f"<{number}Q").pack


@lru_cache(maxsize=2)
def _bounds(bounds: tuple[float, ...]) -> bytes:
    return field(b"\x3a", struct.pack(f"<{len(bounds)}d", *bounds))
