"""One HTTP/1.1 client connection: requests read one after the other, answers written in the same order (RFC 9112).

Where a message ends is decided here once: a head is held until its blank line and checked whole; a body is read by
its one framing. Bytes behind the end of a request wait, within a bound, until its answer has left.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from ...filters.api import Failure, Request, Response
from .. import trace
from ..exchange import AHEAD, EVERYTHING, HELD, Call
from ..rescue import problem
from ..timers import NEVER
from . import write
from .answering import AnswerWriter
from .body import BodyReader, ChunkedBody, CountedBody
from .fields import accepted_request_id, add_forwarding
from .gone import LOOK_S, is_reset
from .grammar import check_beginning, split_head
from .head import RequestHead, read_request_head

if TYPE_CHECKING:
    from ..pipeline import LiveExchange
    from ..plane import DataPlane, Port

_READ_AHEAD_BYTES: Final = 64 * 1024
_DISCARD_BYTES: Final = 1024 * 1024
_DISCARD_S: Final = 1.0
_now: Final = monotonic


class ServerConnection(AnswerWriter):
    """Mutable state: the exchange under way (None between requests), `_reader` while its body still arrives,
    `_buffer` for bytes not read yet (an incomplete head, or pipelined requests), and `_discarding`, how many bytes of
    an unwanted body, or behind a refusal, may still be thrown away; 0 when none are; `_full` while the client has yet
    to take what was written, which holds back the next request; `_listener`, by whose values it is `trusted`."""

    __slots__ = (
        "_buffer", "_discarding", "_full", "_half_closed", "_listener", "_plane", "_reader", "_reading", "_tunnel",
        "client", "client_bytes", "exchange", "port", "request_id", "trusted",
    )  # fmt: skip

    def __init__(self, plane: DataPlane, port: Port) -> None:
        super().__init__(plane.wheel, plane.date)
        self._plane = plane
        self.port = port
        self._listener = port.listener
        self.client = ""
        self.client_bytes = b""
        self.trusted = False
        self.exchange: LiveExchange | None = None
        self.request_id = b""
        self._reader: BodyReader | None = None
        self._buffer = b""
        self._discarding = 0
        self._full = False
        self._half_closed = False
        self._reading = False
        self._tunnel: Call | None = None

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.client = self.port.peer(transport)
        self.trusted = self.port.trusts(self.client)
        self.client_bytes = self.client.encode()
        if self.port.opened(self):
            self.expect_within(self.port.listener.head_timeout)
        else:
            self._refuse(Failure("overloaded", f"{self.port.listener.max_connections} connections are open"))

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.pass_through(data)
        elif self._reader is not None:
            self._read_body(self._reader, data)
        elif self._discarding:
            self._discard(len(data))
        elif self.exchange is not None or self._full:
            self._read_ahead(data)
        else:
            self._read_requests(self._buffer + data if self._buffer else data)

    def eof_received(self) -> bool:
        """A FIN while an answer is owed means that the client has gone, unless the listener says otherwise."""
        if self._tunnel is not None:
            self._tunnel.pass_end()
            return True
        owed = self.exchange is not None and self._reader is None
        if owed and self.port.listener.half_close == "answer":
            self._half_closed = True
            self._owe()
            return True
        self._lose_client()
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._wheel.forget(self)
        self.port.closed(self)
        self._lose_client()

    def pause_writing(self) -> None:
        self._full = True
        if self.exchange is not None:
            self.exchange.client_writable(False)

    def resume_writing(self) -> None:
        self._full = False
        if self.exchange is not None:
            self.exchange.client_writable(True)
        elif not self._discarding:
            self.resume(AHEAD)
            self._read_on()

    def on_deadline(self) -> None:
        """The wheel's call: too slow a head or body, an idle connection, or enough thrown away."""
        if self._discarding:
            self._discarding = 0
            self.close()
        elif self.exchange is not None:
            if self._paused or self._reader is None:
                self._look_after()
            else:
                self.exchange.client_failed(Failure("client_timeout", "the request's body stalled"))
        elif self._closing or self._full:
            self._await_flush()
        elif self._buffer:
            self._refuse(Failure("client_timeout", "the request's head did not arrive in time"))
        else:
            self.close()

    # Reading.

    def _read_requests(self, data: bytes) -> None:
        """Begin requests until one is under way or the bytes are used up. Never re-entered: an exchange that ends
        within `begin` only leaves word that the next one may start."""
        self._reading = True
        raw = b""
        try:
            while self.exchange is None and not self._closing and not self._full:
                begin = 2 if data.startswith(b"\r\n") else 0
                raw, rest = split_head(data, begin, len(self._buffer))
                if not raw:
                    self._hold_head(data)
                    return
                self._buffer = b""
                listener = self.port.listener
                if listener is not self._listener:  # a reload may have changed whom it trusts
                    self._listener = listener
                    self.trusted = self.port.trusts(self.client)
                data = self._begin(read_request_head(raw, listener, self.trusted), rest)
        except Failure as failure:
            self._refuse(failure, raw != b"")
            return
        finally:
            self._reading = False
        if data:
            self._read_ahead(data)

    def _hold_head(self, data: bytes) -> None:
        check_beginning(data, len(self._buffer), self.port.listener)
        if data and not self._buffer:
            self.expect_within(self.port.listener.head_timeout)
        self._buffer = data

    def _begin(self, head: RequestHead, data: bytes) -> bytes:
        """Open the exchange; return the bytes behind the request's end."""
        started = _now()
        plane = self._plane
        self._minor = head.minor
        self._keep_alive = head.keep_alive and not plane.draining
        self._head_only = head.method == b"HEAD"
        self._owe()
        request_id, trace_id, span_id = plane.ids()
        if head.carried is None:
            spans = trace.Context(trace_id, span_id)
        else:
            spans = trace.continued(head.carried, trace_id, span_id, self.trusted)
        if head.claims is not None:
            request_id = accepted_request_id(head.claims.get(b"x-request-id")) or request_id
        self.request_id = request_id
        headers, scheme = head.headers, self.port.scheme
        add_forwarding(headers, head.claims, head.authority, self.client_bytes, scheme, request_id)
        length = head.length
        whole = 0 <= length <= len(data)
        content = b""
        if whole and length:
            content = data if length == len(data) else data[:length]
        request = Request(
            head.method, head.target, head.authority, headers, content, whole, length if length >= 0 else None, scheme
        )
        if whole:
            data = data[length:]
        else:
            self._reader = CountedBody(length) if length >= 0 else ChunkedBody("bad_request")
            self._waiting_leave = head.expects_continue and not data
            self.expect_within(self.port.listener.body_timeout)
        exchange = plane.open(self, request, started, spans, head.upgrade)
        self.exchange = exchange
        if plane.teller is not None:
            plane.teller.open(exchange, self.trusted, self.port, head.minor, started)
        exchange.begin()
        if not whole:
            if data and self._reader is not None:
                self._read_body(self._reader, data)
            data, self._buffer = self._buffer, b""
        return data

    def _read_body(self, reader: BodyReader, data: bytes) -> None:
        try:
            content, rest = reader.feed(data)
        except Failure as failure:
            self._reader = None
            self._keep_alive = False
            if self.exchange is not None:
                self.exchange.client_failed(failure)
            else:
                self.close()
            return
        self._waiting_leave = False
        if rest is not None:
            self._reader = None
        if self._discarding:
            self._discard_body(len(data), rest)
            return
        if rest is None:
            self.expect_within(self.port.listener.body_timeout)
        else:
            self._owe()
            if rest:
                self._buffer = rest
        if self.exchange is not None and (content or rest is not None):
            self.exchange.client_data(content, rest is not None)
        self._read_on()

    def _read_ahead(self, data: bytes) -> None:
        """Bytes behind the request that is being answered wait, within a bound."""
        self._buffer += data
        if len(self._buffer) > _READ_AHEAD_BYTES:
            self.pause(AHEAD)

    def _read_on(self) -> None:
        """After an exchange: read what waited, unless a caller further up the stack will."""
        if self._reading or self._closing or self._full or self._discarding:
            return
        if self.exchange is None and self._buffer:
            data, self._buffer = self._buffer, b""
            self._read_requests(data)

    def _discard(self, size: int) -> None:
        self._discarding -= size
        if self._discarding <= 0:
            self.close()

    def _discard_body(self, size: int, rest: bytes | None) -> None:
        if rest is None:
            self._discard(size)
            return
        self._discarding = 0
        if rest:
            self._buffer = rest
        self._rest()

    # The exchange's side: with `AnswerWriter`, the `Client` of proxy/exchange.py.

    def tunnel(self, response: Response, call: Call, first: bytes) -> None:
        """Confirm the switch of protocols and pass bytes through from now on."""
        if self.transport is None:
            return
        self._tunnel = call
        self._keep_alive = False
        self.transport.write(write.response_head(response.status, response.headers, b"") + first)
        held, self._buffer = self._buffer, b""
        if held:
            call.pass_through(held)
        self.resume(HELD | AHEAD)

    def pause(self, reason: int) -> None:
        """Read no more while any reason stands. Meanwhile no event tells that the client left."""
        super().pause(reason)
        self.expect_within(LOOK_S)

    def resume(self, reason: int) -> None:
        """These reasons stand no longer."""
        if not self._paused:
            return
        super().resume(reason)
        if self._paused:
            return
        if self._reader is not None:
            self.expect_within(self.port.listener.body_timeout)
        elif self.exchange is not None:
            self._owe()

    def _owe(self) -> None:
        """An answer is owed, and nothing expected of the client. Behind its FIN no event tells of a reset."""
        if self._half_closed:
            self.expect_within(LOOK_S)
        else:
            self.deadline = NEVER

    def finished(self) -> None:
        """The exchange is over; the next request may begin."""
        self.exchange = None
        self._tunnel = None
        if self.transport is None or self._closing:
            return
        self.resume(EVERYTHING)
        if self._reader is not None and self._keep_alive:
            self._discarding = _DISCARD_BYTES
            self.expect_within(_DISCARD_S)
        elif not self._keep_alive:
            self._close_softly()
        else:
            self._rest()

    # Endings.

    def _rest(self) -> None:
        """Between two requests."""
        if (self._plane.draining or self._half_closed) and not self._buffer:
            self.close()
            return
        self.expect_within(self.port.listener.idle_timeout)
        self._read_on()

    def _await_flush(self) -> None:
        """The client has yet to take the end of its answer: as long as it takes some, it may."""
        if self.progressed():
            self.expect_within(self.port.listener.idle_timeout)
        else:
            self.cut()

    def _look_after(self) -> None:
        """A connection that is not read: the kernel knows whether the client has reset it."""
        if self.transport is not None and is_reset(self.transport):
            self.transport.abort()
            self._lose_client()
        else:
            self.expect_within(LOOK_S)

    def _lose_client(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    def _refuse(self, failure: Failure, read: bool = False) -> None:
        """Answer what is no request, and close: where the next one would begin cannot be known."""
        self.request_id = self._plane.refused(failure, self, read)
        self._keep_alive = False
        self._head_only = False
        self._minor = 1
        self._buffer = b""
        response = problem(failure, self.request_id)
        response.append(b"x-request-id", self.request_id)
        self.answer(response)
        self._close_softly()

    def _close_softly(self) -> None:
        """Close so that the answer arrives: unread bytes would make the kernel reset it (RFC 9112 section 9.6)."""
        transport = self.transport
        if transport is None or self._discarding:
            return
        self._reader = None
        self._buffer = b""
        self._closing = True
        self._discarding = _DISCARD_BYTES
        if transport.can_write_eof():
            transport.write_eof()
            self.resume(EVERYTHING)
            self.expect_within(_DISCARD_S)
        else:
            self.close()

    def close(self) -> None:
        """Close when what was written has left."""
        self._closing = True
        transport = self.transport
        if transport is None:
            return
        if transport.get_write_buffer_size():
            self.expect_within(self.port.listener.idle_timeout)
        else:
            self._wheel.forget(self)
        transport.close()

    def drain(self) -> None:
        """End the connection after the answer under way, at once when there is none."""
        self._keep_alive = False
        if self.exchange is None and not self._discarding:
            self.close()
