"""The parts of OTLP's messages (opentelemetry-proto) as bytes. Compiled: workers make spans of them, control metrics.

The SDK's own encoder builds a message object for every attribute, which costs some 70 us a span.
tests/proxy/telemetry/test_wire.py holds this one to it.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from librt.strings import BytesWriter, write_f64_le
from mypy_extensions import i64, u8

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
"""Of an attribute."""

_SHORT: Final = tuple(bytes((number,)) for number in range(128))
_DOUBLE: Final = struct.Struct("<cd").pack
_ATTRIBUTE: Final = 0x4A  # the tag that a span's have


class Key:
    """An attribute of spans that is written again and again: its name, of 100 bytes at most, is encoded once."""

    __slots__ = ("_head",)

    def __init__(self, name: str) -> None:
        self._head = text(b"\x0a", name) + b"\x12"

    def write_text(self, out: BytesWriter, content: bytes) -> None:
        """Write the attribute with this value, UTF-8, behind its tag."""
        size: i64 = len(content)
        value = 1 + _width(size) + size
        out.append(_ATTRIBUTE)
        write_length(out, len(self._head) + _width(value) + value)
        out.write(self._head)
        write_length(out, value)
        out.append(0x0A)
        write_length(out, size)
        out.write(content)

    def write_count(self, out: BytesWriter, number: i64) -> None:
        """Likewise, with a number that is not negative."""
        value = 1 + _width(number)
        out.append(_ATTRIBUTE)
        write_length(out, len(self._head) + 1 + value)
        out.write(self._head)
        write_length(out, value)
        out.append(0x18)
        write_length(out, number)

    def write_double(self, out: BytesWriter, number: float) -> None:
        """Likewise, with any number."""
        out.append(_ATTRIBUTE)
        write_length(out, len(self._head) + 10)
        out.write(self._head)
        out.append(9)
        out.append(0x21)
        write_f64_le(out, number)


def write_field(out: BytesWriter, tag: u8, content: bytes) -> None:
    """Write a message, or bytes, behind a tag of one byte and their length."""
    out.append(tag)
    write_length(out, len(content))
    out.write(content)


def write_length(out: BytesWriter, number: i64) -> None:
    """Write a varint."""
    while number > 127:
        out.append(u8(number & 127 | 128))  # what is no u8 would be appended as an object
        number >>= 7
    out.append(u8(number))


def _width(number: i64) -> i64:
    """Of a varint, bytes."""
    width: i64 = 1
    while number > 127:
        number >>= 7
        width += 1
    return width


def attribute(name: str, value: Value) -> bytes:
    """Any attribute of a span, behind its tag."""
    return field(b"\x4a", pair(name, value))


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
