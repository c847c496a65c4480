"""The writing half of a client connection: one answer after the other, each with exactly one framing (RFC 9112)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final

from ...filters.api import Headers, Response
from ..exchange import Client
from ..timers import Wheel
from . import write
from .link import Link

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER for no seconds: close with RST


class AnswerWriter(Link, Client):
    """Mutable state: what the request under way allows its answer (`_minor`, `_head_only`, `_waiting_leave`), how the
    answer is framed (`_chunked`), and whether the connection persists behind it (`_keep_alive`)."""

    __slots__ = (
        "_chunked", "_closing", "_date", "_head_only", "_keep_alive", "_minor", "_unsent", "_waiting_leave",
    )  # fmt: skip

    def __init__(self, wheel: Wheel, date: Callable[[], bytes]) -> None:
        super().__init__(wheel)
        self._date = date
        self._minor = 1
        self._keep_alive = True
        self._head_only = False
        self._waiting_leave = False
        self._chunked = False
        self._closing = False
        self._unsent = -1

    def proceed(self) -> None:
        """The body is wanted now: answer an Expect: 100-continue."""
        if self._waiting_leave and self.transport is not None:
            self._waiting_leave = False
            self.transport.write(write.CONTINUE)

    def interim(self, status: int, headers: Headers) -> None:
        """Pass on a 1xx answer; HTTP/1.0 knows none."""
        if self._minor == 1 and self.transport is not None:
            self.transport.write(write.response_head(status, headers, b""))

    def answer(self, response: Response) -> None:
        """Send a head with the content at hand; it ends the answer when `response.ended`."""
        transport = self.transport
        if transport is None:
            return
        if self._waiting_leave:
            # The client may send the body or not: only the end of the connection tells.
            self._keep_alive = False
        content = response.content
        length = response.length
        self._chunked = False
        if self._head_only or response.status in (204, 304):
            self._head_only = True
            content = b""
            tail = b"" if response.status == 204 or length is None else write.framing(length)
        elif response.ended:
            tail = write.framing(len(content))
        elif length is not None:
            tail = write.framing(length)
        elif self._minor == 1:
            self._chunked = True
            tail = write.framing(None)
            content = write.chunk(content)
        else:
            tail = b""
            self._keep_alive = False
        headers = response.headers
        if not _has_date(headers):
            headers.append((b"date", self._date()))
        if not self._keep_alive:
            tail += b"connection: close\r\n"
        elif self._minor == 0:
            tail += b"connection: keep-alive\r\n"
        transport.write(write.response_head(response.status, headers, tail, content))

    def data(self, chunk: bytes, ended: bool) -> None:
        """Send more of the answer's body, its end with it when `ended`."""
        if self._chunked:
            chunk = write.chunk(chunk)
            if ended:
                chunk += write.LAST_CHUNK
        if chunk and self.transport is not None and not self._head_only:
            self.transport.write(chunk)

    def cut(self) -> None:
        """Break the answer off so that nobody takes it for complete."""
        self._keep_alive = False
        self._closing = True
        if self.transport is not None:
            if self._minor == 0:  # without chunks, an answer's end is its connection's: only a reset tells them apart
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def progressed(self) -> bool:
        """Whether the client took any byte since this was last asked."""
        left = self.transport.get_write_buffer_size() if self.transport is not None else 0
        moved = left != self._unsent
        self._unsent = left
        return moved


def _has_date(headers: Headers) -> bool:
    for name, _ in headers:  # noqa: SIM110  (compiled, a plain loop allocates nothing)
        if name == b"date":
            return True
    return False
