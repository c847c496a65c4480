"""Freshly written HTTP/1.1 heads and chunks: exactly one framing field each (RFC 9112 section 6)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from ...filters.api import Headers

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES: Final = [b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(1000)]
"""The usual status lines; an unknown status has an empty reason phrase."""

_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_SIZES: Final = [b"%x\r\n" % size for size in range(4096)]
_LENGTHS: Final = [b"content-length: %d\r\n" % length for length in range(4096)]


def request_head(
    method: bytes, target: bytes, host: bytes, lines: bytes, headers: Headers, tail: bytes, content: bytes = b""
) -> bytes:
    """A request head, and the content behind it. `lines` are those of `field_lines`, before those of `headers`; `tail`
    holds the framing and hop-by-hop lines, each with its line end."""
    parts = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, host), lines]
    _add_lines(parts, headers)
    parts.append(b"%b\r\n" % tail)
    if content:
        parts.append(content)
    return b"".join(parts)


def response_head(status: int, headers: Headers, tail: bytes, content: bytes = b"") -> bytes:
    """A response head, and the content behind it. `tail` as in `request_head`."""
    parts = [STATUS_LINES[status]]
    _add_lines(parts, headers)
    parts.append(b"%b\r\n" % tail)
    if content:
        parts.append(content)
    return b"".join(parts)


def field_lines(headers: Headers) -> bytes:
    """The field lines, each with its line end."""
    parts: list[bytes] = []
    _add_lines(parts, headers)
    return b"".join(parts)


def _add_lines(parts: list[bytes], headers: Headers) -> None:
    """The field lines, each with its line end. Four at a time: compiled, a constant format is one copy of its parts,
    and what follows costs by the number of pieces."""
    at, end = 0, len(headers)
    while at + 4 <= end:
        name, value = headers[at]
        name2, value2 = headers[at + 1]
        name3, value3 = headers[at + 2]
        name4, value4 = headers[at + 3]
        parts.append(
            b"%b: %b\r\n%b: %b\r\n%b: %b\r\n%b: %b\r\n" % (name, value, name2, value2, name3, value3, name4, value4)
        )
        at += 4
    while at < end:
        name, value = headers[at]
        parts.append(b"%b: %b\r\n" % (name, value))
        at += 1


def chunk(data: bytes) -> bytes:
    """One chunk; b"" for no data, since an empty chunk would end the body."""
    size = len(data)
    if size < len(_SIZES):
        return b"%b%b\r\n" % (_SIZES[size], data) if data else b""
    return b"%x\r\n%b\r\n" % (size, data)


def framing(length: int | None) -> bytes:
    """The one framing line for a declared length in bytes, or None for chunks."""
    if length is None:
        return _CHUNKED
    if length < len(_LENGTHS):
        return _LENGTHS[length]
    return b"content-length: %d\r\n" % length
