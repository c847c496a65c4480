"""One HTTP/1.1 connection to a backend: it sends a request while it reads the answer (RFC 9112).

Its bytes are judged as strictly as a client's: an answer that two readers could read differently is no answer. A
connection serves the next call only when the request was sent whole, the answer ended where it said, and nothing
came behind it.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from ...filters.api import Failure, Headers, Response
from ..exchange import EVERYTHING, Call, Caller, Fields
from ..timers import NEVER, Wheel
from . import write
from .body import BodyReader, BodyUntilClose, ChunkedBody, CountedBody
from .grammar import split_head
from .head import CHUNKED, UNTIL_CLOSE, ResponseHead, read_response_head
from .link import Link

if TYPE_CHECKING:
    from ...config.snapshot import Backend
    from ..pool import Target

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 1000
_MAX_INTERIMS: Final = 32
_SHARED_BYTES: Final = 64 * 1024
"""A larger body is not copied to stand behind its head: live and its copies share it."""
_REST_S: Final = 0.1
"""How long a connection rests after a streamed answer. Some servers, cpp-httplib and with it llama.cpp among them,
close after a stream without having said so; a POST that met the closing could not be sent again."""
_VERSION: Final = b"HTTP/1."
_BODY_METHODS: Final = frozenset({b"POST", b"PUT", b"PATCH"})


class ClientConnection(Link, Call):
    """Mutable state: the call under way (`caller`, None when idle), its reading position (`_buffer` holds an
    incomplete head, `_reader` finds the body's end), and whether anything forbids another call (`_spent`). Whose turn
    it is, and so the deadline: `_sent`, the request has ended; `_full`, the backend takes no more of it."""

    __slots__ = (
        "_adopted", "_arrived", "_asked", "_buffer", "_chunked", "_first_byte_s", "_full", "_idle_s", "_interims",
        "_method", "_owner", "_reader", "_rests_until", "_sent", "_spent", "_tunnel", "answered", "caller", "reused",
    )  # fmt: skip

    def __init__(self, owner: Target, wheel: Wheel) -> None:
        super().__init__(wheel)
        self._owner = owner
        self.caller: Caller | None = None
        self.reused = False
        self.answered = False
        self._arrived: Callable[[int], object] | None = None
        self._buffer = b""
        self._reader: BodyReader | None = None
        self._first_byte_s = self._idle_s = self._rests_until = 0.0
        self._method = b""
        self._interims = 0
        self._asked = b""  # the protocols that the request offered to switch to
        self._sent = self._full = self._chunked = self._spent = self._tunnel = self._adopted = False

    # The call's side.

    def send(
        self, caller: Caller, backend: Backend, method: bytes, target: bytes, authority: bytes, fields: Fields | None,
        own: Headers, content: bytes, ended: bool, length: int | None, upgrade: bytes | None,
    ) -> None:  # fmt: skip
        """Write the head, and as much of the body as is at hand, in one write."""
        self.caller = caller
        self._first_byte_s = backend.first_byte_timeout
        self._idle_s = backend.idle_timeout
        self._method = method
        self._asked = upgrade or b""
        self._sent = ended
        self._full = False
        self._interims = 0
        self.answered = False
        self._chunked = length is None
        tail = b""
        if length is None:
            tail = write.framing(None)
            content = write.chunk(content) + (write.LAST_CHUNK if ended else b"")
        elif length or method in _BODY_METHODS:
            tail = write.framing(length)
        if upgrade is not None:
            tail += b"connection: upgrade\r\nupgrade: %b\r\n" % upgrade
        assert self.transport is not None
        self._arm()
        lines = b""
        if fields is not None:
            if not fields.rendered:
                fields.rendered = write.field_lines(fields.headers)
            lines = fields.rendered
        if len(content) > _SHARED_BYTES:
            self.transport.writelines((write.request_head(method, target, authority, lines, own, tail), content))
        else:
            self.transport.write(write.request_head(method, target, authority, lines, own, tail, content))

    def write(self, chunk: bytes) -> None:
        """More of the request's body."""
        if self.transport is not None:
            self.transport.write(write.chunk(chunk) if self._chunked else chunk)

    def finish(self) -> None:
        """The request's body has ended."""
        self._sent = True
        self._arm()
        if self.transport is not None and self._chunked:
            self.transport.write(write.LAST_CHUNK)

    def unsent(self) -> int:
        """How many bytes the kernel has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def cancel(self) -> None:
        """End the call at once. Nothing is reported any more."""
        self.caller = None
        self.discard()

    def pass_through(self, data: bytes) -> None:
        """After a switch of protocols: bytes as they are."""
        if self.transport is not None:
            self._arm()
            self.transport.write(data)

    def pass_end(self) -> None:
        """After a switch of protocols: the client sends no more."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    # The owner's side.

    def idle_for(self, seconds: float) -> None:
        """Keep for another call, and no longer than this."""
        self.reused = True
        self.expect_within(seconds)

    @property
    def resting(self) -> bool:
        """Whether it is too early to tell that the backend keeps the connection."""
        return self._rests_until > self._wheel.now

    @property
    def usable(self) -> bool:
        """Whether the connection can take a call now."""
        transport = self.transport
        return transport is not None and not transport.is_closing() and self.deadline > self._wheel.now

    @property
    def silent(self) -> bool:
        """Whether the kernel holds nothing that was not read yet. At rest, that is the connection's end or an answer
        that nobody asked for; a request sent now would be lost with the one or be given the other."""
        return self._arrived is None or not self._arrived(0)

    def adopt(self) -> None:
        """The owner counts it from now on, and hears when it is gone."""
        self._adopted = True

    def _tell_owner(self) -> None:
        if self._adopted:
            self._owner.lost(self)

    def discard(self, *, abort: bool = True) -> None:
        """Close, at once or when what was written has left; the owner is told."""
        self._wheel.forget(self)
        transport, self.transport = self.transport, None
        if transport is not None:
            if abort:
                transport.abort()
            else:
                transport.close()
            self._tell_owner()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            self._arrived = poll.poll

    def data_received(self, data: bytes) -> None:
        if self.caller is None:
            # An answer that nobody asked for: whatever follows cannot be told from the next answer.
            self.discard()
        elif self._tunnel:
            self._arm()
            self.caller.call_data(data, False)
        else:
            try:
                if self._reader is None:
                    self._read_head(self._buffer + data if self._buffer else data)
                else:
                    self._read_body(self._reader, data)
            except Failure as failure:
                self._fail(failure)

    def eof_received(self) -> bool:
        caller = self.caller
        if caller is None or self.transport is None:
            return False
        if self._tunnel or isinstance(self._reader, BodyUntilClose):
            self._end(spent=True)
            caller.call_data(b"", True)
            return False
        self._fail(self._broken_off())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self.transport = None
            self._wheel.forget(self)
            self._tell_owner()
        caller, self.caller = self.caller, None
        if caller is not None:
            caller.call_lost(self._broken_off())

    def pause_writing(self) -> None:
        self._full = True
        if self.caller is not None:
            self._arm()
            self.caller.call_writable(False)

    def resume_writing(self) -> None:
        self._full = False
        if self.caller is not None:
            if not self._sent:
                self._arm()
            self.caller.call_writable(True)

    def _arm(self) -> None:
        """A call's deadline, by whose turn it is. An answer or a tunnel moves on, and a request that the backend has
        whole, or takes no more of, is answered: the backend's. Else the client's, who has limits of its own."""
        if self._reader is not None or self._tunnel:
            self.expect_within(self._idle_s)
        elif self._sent or self._full:
            self.expect_within(self._first_byte_s)
        else:
            self.deadline = NEVER

    def on_deadline(self) -> None:
        """The wheel's call: no answer in time, a stalled stream, or an idle connection that is too old."""
        caller = self.caller
        if caller is None:
            self.discard()
        elif self._paused:
            if caller.client_progressed():
                self._arm()
            else:
                self._fail(Failure("client_timeout", "the client took no byte of the answer in time"))
        elif self._reader is None and not self._tunnel:
            self._fail(Failure("upstream_timeout", "no answer from the backend in time"))
        else:
            self._fail(Failure("upstream_timeout", "the backend's answer stalled"))

    # Reading.

    def _read_head(self, data: bytes) -> None:
        while True:
            raw, rest = split_head(data, 0, len(self._buffer))
            if not raw:
                self._hold_head(data)
                return
            if len(raw) > MAX_HEAD_BYTES:
                raise Failure("upstream_protocol", "the head of the backend's answer is too large")
            head = read_response_head(raw, self._method, MAX_FIELDS)
            self._buffer = b""
            self.answered = True
            data = rest
            if head.status >= 200 or head.status == 101:
                break
            self._pass_interim(head)
            if not data or self.caller is None:
                return
        if head.status == 101:
            self._switch(head, data)
        else:
            self._answer(head, data)

    def _hold_head(self, data: bytes) -> None:
        self.answered = True
        if data[:7] != _VERSION[: len(data)]:
            raise Failure("upstream_protocol", "the backend's answer is not HTTP/1.1")
        if len(data) > MAX_HEAD_BYTES:
            raise Failure("upstream_protocol", "the head of the backend's answer is too large")
        self._buffer = data

    def _pass_interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > _MAX_INTERIMS:
            raise Failure("upstream_protocol", "the backend sent interim answers without end")
        if self.caller is not None:
            self.caller.call_interim(head.status, head.headers)

    def _switch(self, head: ResponseHead, first: bytes) -> None:
        protocol = head.offers
        if protocol is None or not _offered(protocol, self._asked) or self.caller is None:
            raise Failure("upstream_protocol", "the backend switched protocols unasked")
        self._tunnel = self._spent = True
        headers = head.headers
        headers += [(b"connection", b"upgrade"), (b"upgrade", protocol)]
        self._arm()
        self.caller.call_switched(Response(101, headers, b"", False), first)

    def _answer(self, head: ResponseHead, data: bytes) -> None:
        caller = self.caller
        assert caller is not None
        length = head.length
        # A body behind a head that says there is none would be read as the next answer: such connections end here.
        odd = self._method == b"HEAD" or (head.status == 204 and _declares_body(head))
        self._spent = odd or not head.keep_alive or length == UNTIL_CLOSE
        headers = head.headers.copy()
        if 0 <= length <= len(data):
            self._end(spent=len(data) > length)
            response = Response(head.status, headers, data[:length] if len(data) > length else data)
            if self._method == b"HEAD" or head.status == 304:
                response.length = None if head.declared is None else int(head.declared)
            caller.call_answered(response)
            return
        content, ended = self._begin_body(head, data)
        response = Response(head.status, headers, content, ended, length if length >= 0 else None)
        response.unsized = length < 0
        caller.call_answered(response)

    def _begin_body(self, head: ResponseHead, data: bytes) -> tuple[bytes, bool]:
        length = head.length
        reader: BodyReader
        if length == CHUNKED:
            reader = ChunkedBody("upstream_protocol")
        elif length == UNTIL_CLOSE:
            reader = BodyUntilClose()
        else:
            reader = CountedBody(length)
        self._reader = reader
        self._arm()
        if not data:
            return b"", False
        content, rest = reader.feed(data)
        if rest is not None:
            self._end(spent=bool(rest), streamed=length == CHUNKED)
        return content, rest is not None

    def _read_body(self, reader: BodyReader, data: bytes) -> None:
        caller = self.caller
        assert caller is not None
        content, rest = reader.feed(data)
        if rest is None:
            self._arm()
            if content:
                caller.call_data(content, False)
        else:
            self._end(spent=bool(rest), streamed=isinstance(reader, ChunkedBody))
            caller.call_data(content, True)

    # Endings.

    def _end(self, *, spent: bool, streamed: bool = False) -> None:
        """The answer is whole: give the connection back before the answer goes on."""
        self.caller = None
        self._reader = None
        sent = self._sent and not self.unsent()  # what waits for a backend that answered already may never leave
        if spent or self._spent or not sent:
            self.discard(abort=not sent)
        else:
            self.resume(EVERYTHING)
            self._rests_until = self._wheel.now + _REST_S if streamed else 0.0
            self._owner.freed(self)

    def _fail(self, failure: Failure) -> None:
        caller, self.caller = self.caller, None
        self.discard()
        if caller is not None:
            caller.call_lost(failure)

    def _broken_off(self) -> Failure:
        if self._reader is None:
            return Failure("upstream_closed", "the backend closed the connection before it answered")
        return Failure("truncated", "the backend's answer broke off")


def _offered(chosen: bytes, asked: bytes) -> bool:
    """Whether a 101 names only what the request offered (RFC 9110 section 7.8)."""
    offers = {each.strip(b" \t") for each in asked.lower().split(b",")} - {b""}
    return all(each.strip(b" \t") in offers for each in chosen.lower().split(b","))


def _declares_body(head: ResponseHead) -> bool:
    return head.coding is not None or head.declared not in (None, b"0")
