"""Where a body ends: by count, by chunks (llhttp), or with its connection (RFC 9112 section 6).

Each reader's `feed` takes bytes as they came and returns the content among them and, once the body has ended, the
bytes behind its end; None while it has not ended.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import httptools

from ...filters.api import Failure, Reason

_OVERHEAD_BYTES: Final = 16 * 1024
_OVERHEAD_PER_CHUNK_BYTES: Final = 32
_Parser: Final[Any] = httptools.HttpRequestParser
_HEAD: Final = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
_BLANK_LINE: Final = b"\r\n\r\n"
_SEMICOLON: Final = ord(";")
_CARRIAGE_RETURN: Final = ord("\r")
_LINE_FEED: Final = ord("\n")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_PLAIN = rb"[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]*+"
_QUOTED = rb'"' + _PLAIN + rb"(?:\\[\t \x21-\x7e\x80-\xff]" + _PLAIN + rb')*"'
# Possessive repeats of characters: it cannot backtrack into them. Of groups CPython before 3.11.5 keeps what failed.
_EXTENSIONS: Final = re.compile(rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)+\r\n")  # noqa: TID251


class BodyReader:
    """Finds the end of one body."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The content among these bytes and, once the body has ended, those behind its end."""
        raise NotImplementedError


class CountedBody(BodyReader):
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


class BodyUntilClose(BodyReader):
    """A response body that ends with its connection."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        return data, None


class _Chunks:
    """What llhttp calls back with for the chunks of one body; trailers are checked by it, and dropped."""

    __slots__ = ("content", "count", "ended")

    # httptools asks for each callback by name; one that is missing costs it an exception a body.
    on_message_begin: ClassVar[None] = None
    on_url: ClassVar[None] = None
    on_header: ClassVar[None] = None
    on_headers_complete: ClassVar[None] = None
    on_chunk_complete: ClassVar[None] = None

    def __init__(self) -> None:
        self.content: list[bytes] = []
        self.count = 0
        self.ended = False

    def on_body(self, data: bytes) -> None:
        self.content.append(data)

    def on_chunk_header(self) -> None:
        self.count += 1

    def on_message_complete(self) -> None:
        self.ended = True


class ChunkedBody(BodyReader):
    """A chunked body. Extensions and trailers are read and dropped, within a bound on what is not content.

    Its parser is told of nothing but the coding: what else its head said has been decided by then. llhttp does not say
    where in its input a message ended. It always ends behind a blank line, so the input is fed up to one blank line at
    a time, which makes the end of a feed the end of the message. Where a semicolon is about, it is fed line by line, so
    that chunk extensions can be held against the grammar (RFC 9112 section 7.1.1), of which llhttp lets pass empty
    names and values. `_line` holds the beginning of such a line, within the bound on what is not content.
    """

    __slots__ = ("_chunks", "_line", "_overhead", "_parser", "_reason", "_tail")

    def __init__(self, reason: Reason) -> None:
        self._chunks = _Chunks()
        self._parser = _Parser(self._chunks)
        self._parser.feed_data(_HEAD)
        self._reason: Reason = reason
        self._overhead = 0
        self._tail = b""
        self._line = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Raises Failure with the reason of this side when the framing is malformed or mostly overhead."""
        chunks = self._chunks
        at = 0
        try:
            if self._line or _SEMICOLON in data:
                at = self._feed_lines(data)
            while not chunks.ended and at < len(data):
                border = self._next_border(data, at)
                self._parser.feed_data(data[at:border] if at or border < len(data) else data)
                at = border
        except httptools.HttpParserError as error:
            raise Failure(self._reason, f"malformed chunked body: {error}") from None
        self._tail = (self._tail + data[-3:])[-3:]
        content = chunks.content[0] if len(chunks.content) == 1 else b"".join(chunks.content)
        chunks.content.clear()
        self._overhead += at - len(content)
        if self._overhead > _OVERHEAD_BYTES + _OVERHEAD_PER_CHUNK_BYTES * chunks.count:
            raise Failure(self._reason, "too many bytes of chunk extensions or trailers")
        return content, data[at:] if chunks.ended else None

    def _feed_lines(self, data: bytes) -> int:
        chunks = self._chunks
        at = 0
        while not chunks.ended and at < len(data):
            found = data.find(b"\r\n", at)
            border = len(data) if found < 0 else found + 2
            if at == 0 and data[:1] == b"\n" and self._tail[-1:] == b"\r":
                found = border = 1
            before, piece = chunks.count, data[at:border]
            self._parser.feed_data(piece)
            line = self._line + piece
            if chunks.count != before and _SEMICOLON in line and _EXTENSIONS.fullmatch(line[line.find(b";") :]) is None:
                raise Failure(self._reason, "malformed chunked body: invalid chunk extension")
            self._line = line[:_OVERHEAD_BYTES] if found < 0 and _SEMICOLON in line else b""
            at = border
        return at

    def _next_border(self, data: bytes, at: int) -> int:
        if at == 0 and data[0] in (_CARRIAGE_RETURN, _LINE_FEED):  # the end of a blank line begins with one of them
            found = (self._tail + data[:3]).find(_BLANK_LINE)
            if found >= 0:
                return found + len(_BLANK_LINE) - len(self._tail)
        found = data.find(_BLANK_LINE, at)
        return len(data) if found < 0 else found + len(_BLANK_LINE)
