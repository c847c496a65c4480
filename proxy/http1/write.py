"""Freshly written HTTP/1.1 heads and chunks: exactly one framing field each (RFC 9112 section 6)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from ...filters.api import Headers

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES: Final = [b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")) for status in range(1000)]
"""The usual status lines; an unknown status has an empty reason phrase."""

_COLON: Final = b": "
_END: Final = b"\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_LENGTHS: Final = [b"content-length: %d\r\n" % length for length in range(4096)]


def field_lines(headers: Headers) -> bytes:
    """The field lines, each with its line end."""
    parts: list[bytes] = []
    for name, value in headers:
        parts.append(name)
        parts.append(_COLON)
        parts.append(value)
        parts.append(_END)
    return b"".join(parts)


def request_head(method: bytes, target: bytes, host: bytes, headers: Headers, tail: bytes) -> bytes:
    """A request head. `tail` holds the framing and hop-by-hop lines, each with its line end."""
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (method, target, host, field_lines(headers), tail)


def response_head(status: int, headers: Headers, tail: bytes) -> bytes:
    """A response head. `tail` as in `request_head`."""
    return STATUS_LINES[status] + field_lines(headers) + tail + b"\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk; b"" for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def framing(length: int | None) -> bytes:
    """The one framing line for a declared length in bytes, or None for chunks."""
    if length is None:
        return _CHUNKED
    if length < len(_LENGTHS):
        return _LENGTHS[length]
    return b"content-length: %d\r\n" % length
