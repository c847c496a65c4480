"""Where a body ends: by count, by chunks (llhttp), or with its connection (RFC 9112 section 6).

Each reader's `feed` takes bytes as they came and returns the content among them and, once the body has ended, the
bytes behind its end; None while it has not ended.
"""

from __future__ import annotations

from typing import Protocol

import httptools

from ...filters.api import Failure, Reason
from .head import Head

_OVERHEAD_BYTES = 16 * 1024
_OVERHEAD_PER_CHUNK_BYTES = 32
_BLANK_LINE = b"\r\n\r\n"


class BodyReader(Protocol):
    """Finds the end of one body."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]: ...


class CountedBody:
    """A body of a declared size."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        size = len(data)
        if size < self.remaining:
            self.remaining -= size
            return data, None
        content, rest = data[: self.remaining], data[self.remaining :]
        self.remaining = 0
        return content, rest


class BodyUntilClose:
    """A response body that ends with its connection."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        return data, None


class ChunkedBody:
    """A chunked body. Extensions and trailers are read and dropped, within a bound on what is not content.

    llhttp does not say where in its input a message ended. It always ends behind a blank line, so the input is fed
    up to one blank line at a time, which makes the end of a feed the end of the message.
    """

    __slots__ = ("_head", "_overhead", "_reason", "_tail")

    def __init__(self, head: Head, reason: Reason) -> None:
        self._head = head
        self._reason: Reason = reason
        self._overhead = 0
        self._tail = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Raises Failure with the reason of this side when the framing is malformed or mostly overhead."""
        head = self._head
        at = 0
        try:
            while not head.ended and at < len(data):
                border = self._next_border(data, at)
                head.parser.feed_data(data[at:border] if at or border < len(data) else data)
                at = border
        except httptools.HttpParserError as error:
            raise Failure(self._reason, f"malformed chunked body: {error}") from None
        self._tail = (self._tail + data[-3:])[-3:]
        content = b"".join(head.content) if head.content is not None else b""
        head.content = None
        self._overhead += at - len(content)
        if self._overhead > _OVERHEAD_BYTES + _OVERHEAD_PER_CHUNK_BYTES * head.chunks:
            raise Failure(self._reason, "too many bytes of chunk extensions or trailers")
        if not head.ended:
            return content, None
        head.parser = None
        return content, data[at:]

    def _next_border(self, data: bytes, at: int) -> int:
        if at == 0:
            found = (self._tail + data[:3]).find(_BLANK_LINE)
            if found >= 0:
                return found + len(_BLANK_LINE) - len(self._tail)
        found = data.find(_BLANK_LINE, at)
        return len(data) if found < 0 else found + len(_BLANK_LINE)
