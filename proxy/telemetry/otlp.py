"""The parts of OTLP's messages (opentelemetry-proto) as bytes. Compiled: workers make spans of them, control metrics.

The SDK's own encoder builds a message object for every attribute, which costs some 70 us a span.
tests/proxy/telemetry/test_wire.py holds this one to it.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
"""Of an attribute."""

_SHORT: Final = tuple(bytes((number,)) for number in range(128))
_MORE: Final = tuple(bytes((number | 128,)) for number in range(128))
_DOUBLE: Final = struct.Struct("<cd").pack
_ATTRIBUTE: Final = b"\x4a"  # the tag that a span's have
MOST_KEPT: Final = 1024  # of each kind


class Key:
    """An attribute of spans that is written again and again, behind its tag. Mutable state: what was written so far."""

    __slots__ = ("_aheads", "_counts", "_head")

    def __init__(self, name: str) -> None:
        self._head = text(b"\x0a", name) + b"\x12"
        self._aheads: dict[int, bytes] = {}
        self._counts: dict[int, bytes] = {}

    def ahead(self, size: int) -> bytes:
        """What stands before a value that is so many bytes of UTF-8."""
        found = self._aheads.get(size)
        if found is None:
            value = b"\x0a" + length(size)
            pair = self._head + length(len(value) + size) + value
            found = _kept(self._aheads, size, _ATTRIBUTE + length(len(pair) + size) + pair)
        return found

    def count(self, value: int) -> bytes:
        """The whole of it, with a number that is not negative."""
        found = self._counts.get(value)
        if found is None:
            found = _kept(self._counts, value, field(_ATTRIBUTE, field(self._head, b"\x18" + length(value))))
        return found

    def double(self, value: float) -> bytes:
        """Likewise."""
        return field(_ATTRIBUTE, field(self._head, _DOUBLE(b"\x21", value)))


def _kept(known: dict[int, bytes], number: int, encoded: bytes) -> bytes:
    if len(known) >= MOST_KEPT:
        known.clear()
    known[number] = encoded
    return encoded


def attribute(name: str, value: Value) -> bytes:
    """Any attribute of a span, behind its tag."""
    return field(_ATTRIBUTE, pair(name, value))


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
    return _SHORT[number] if number < 128 else _MORE[number & 127] + length(number >> 7)
