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
_DOUBLE: Final = struct.Struct("<cd").pack
_ATTRIBUTE: Final = b"\x4a"  # the tag that a span's have


class Key:
    """An attribute of spans that is written again and again: its name, of 100 bytes at most, is encoded once."""

    __slots__ = ("_head", "_size")

    def __init__(self, name: str) -> None:
        self._head = text(b"\x0a", name) + b"\x12"
        self._size = len(self._head)

    def text(self, value: str) -> bytes:
        """The attribute with this value, behind its tag."""
        content = value.encode("utf-8", "replace")
        size = len(content)
        whole = self._size + size + 3
        if whole < 128:
            return b"".join((_ATTRIBUTE, _SHORT[whole], self._head, _SHORT[size + 2], b"\x0a", _SHORT[size], content))
        return field(_ATTRIBUTE, field(self._head, field(b"\x0a", content)))

    def count(self, value: int) -> bytes:
        """Likewise, of a number that is not negative."""
        content = length(value)
        size = len(content) + 1
        return b"".join((_ATTRIBUTE, _SHORT[self._size + size + 1], self._head, _SHORT[size], b"\x18", content))

    def double(self, value: float) -> bytes:
        """Likewise."""
        return b"".join((_ATTRIBUTE, _SHORT[self._size + 10], self._head, b"\x09", _DOUBLE(b"\x21", value)))


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
    if number < 128:
        return _SHORT[number]
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
