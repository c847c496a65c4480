"""Raw ends of a wire: a backend that records every byte and answers by script, and a client that sends exact bytes.

Neither uses an HTTP library; the backend finds the end of a request with the strict reader of this kit. All ports are
chosen by the system. Nothing here sleeps: `RawClient.until` waits for what it was told to wait for, within a deadline.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from .segments import unread_by_peer
from .strict import Incomplete, Refusal, Request, read_request

SAW = b"x-saw"
"""The answer's field that names the request it answers."""


def identity(method: bytes, target: bytes, body: bytes) -> bytes:
    """What tells one request from another: its method, its target and a digest of its body."""
    return b"%s %s %s" % (method, target, hashlib.sha256(body).hexdigest()[:16].encode())


def good_answer(request: Request) -> bytes:
    """A whole, correct answer that carries the request's identity in a field and, save for HEAD, in its body."""
    saw = identity(request.method, request.target, request.body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Saw: %s\r\nContent-Length: %d\r\n\r\n" % (saw, len(saw))
    return head if request.method == b"HEAD" else head + saw


@dataclass(frozen=True, slots=True)
class Answer:
    """Scripted bytes for one request, sent segment by segment, and what becomes of the connection then."""

    segments: tuple[bytes, ...]
    then: Literal["keep", "close", "reset"] = "keep"
    early: bool = False  # sent as soon as the request's head is there


@dataclass(slots=True, eq=False)
class Connection:
    """One connection of the raw backend: all that it read, and how far that has been understood."""

    number: int
    data: bytearray = field(default_factory=bytearray)
    understood: int = 0
    broken: Refusal | None = None
    closed: bool = False
    transport: asyncio.Transport | None = None

    @property
    def unfinished(self) -> bool:
        """Bytes of a request that never became whole."""
        return self.understood < len(self.data)


class RawBackend:
    """Accepts, records, answers. Mutable state: `connections`, the `log` of whole requests, the `script`.

    `delay_s` is asked before each good answer for how long the model thinks.
    """

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.log: list[tuple[Connection, Request]] = []
        self.script: deque[Answer] = deque()  # one for each of the next requests; good answers when it is empty
        self.sending: set[asyncio.Task[None]] = set()
        self.delay_s: Callable[[], float] | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Listen on the loopback; returns host and port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _BackendProtocol(self), "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        if hasattr(self._server, "close_clients"):
            self._server.close_clients()

    def push(self, data: bytes) -> None:
        """Send bytes that nobody asked for on every open connection."""
        for each in self.connections:
            if each.transport is not None and not each.closed:
                each.transport.write(data)

    def forget(self) -> None:
        """Drop the log and the records of closed connections; open ones keep what is not understood yet."""
        self.log.clear()
        self.script.clear()
        self.connections = [each for each in self.connections if not each.closed]
        for each in self.connections:
            del each.data[: each.understood]
            each.understood = 0


class _BackendProtocol(asyncio.Protocol):
    def __init__(self, backend: RawBackend) -> None:
        self.backend = backend

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.record = Connection(len(self.backend.connections), transport=transport)
        self.answered_early = False
        self.backend.connections.append(self.record)

    def data_received(self, data: bytes) -> None:
        record = self.record
        record.data += data
        while record.understood < len(record.data) and record.broken is None and not self.transport.is_closing():
            request = read_request(bytes(record.data), record.understood)
            if isinstance(request, Incomplete):
                self._answer_early(request)
                return
            if isinstance(request, Refusal):
                record.broken = request
                self.transport.close()
                return
            record.understood = request.end
            self.backend.log.append((record, request))
            if not self.answered_early:
                self._answer(request)
            self.answered_early = False

    def _answer_early(self, request: Incomplete) -> None:
        script = self.backend.script
        if request.head is not None and not self.answered_early and script and script[0].early:
            self.answered_early = True
            self._send(script.popleft())

    def _answer(self, request: Request) -> None:
        backend = self.backend
        if backend.script:
            self._send(backend.script.popleft())
        elif backend.delay_s is None:
            self._send(Answer((good_answer(request),)))
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(backend.delay_s(), self._send, Answer((good_answer(request),)))

    def _send(self, answer: Answer) -> None:
        """In one turn of the loop where that will do; segment by segment as the peer reads them otherwise."""
        if len(answer.segments) > 1:
            sending = asyncio.get_running_loop().create_task(self._send_apart(answer))
            self.backend.sending.add(sending)
            sending.add_done_callback(self.backend.sending.discard)
            return
        self.transport.write(b"".join(answer.segments))
        self._end(answer)

    async def _send_apart(self, answer: Answer) -> None:
        for segment in answer.segments:
            self.transport.write(segment)
            await unread_by_peer(self.transport, 1.0)
        self._end(answer)

    def _end(self, answer: Answer) -> None:
        if answer.then == "close":
            self.transport.close()
        elif answer.then == "reset":
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.record.closed = True


class RawClient(asyncio.Protocol):
    """Sends exact bytes and keeps all that comes back. Mutable state: `received`, `ended`."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended: Literal["", "end", "reset"] = ""
        self._changed = asyncio.Event()

    @classmethod
    async def connect(cls, address: tuple[str, int]) -> RawClient:
        """A new connection."""
        _, client = await asyncio.get_running_loop().create_connection(cls, *address)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        self.ended = self.ended or "end"
        self._changed.set()
        return True  # stay open to write: what is still sent then is part of some tests

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or ("reset" if exc else "end")
        self._changed.set()

    async def send(self, segments: Iterable[bytes], within_s: float = 2.0) -> None:
        """Write each segment when the peer has read the one before, so that it reads them apart."""
        first = True
        for segment in segments:
            if not first:
                await unread_by_peer(self.transport, within_s)
            first = False
            self.transport.write(segment)

    def finish(self) -> None:
        """Half-close: nothing more will be sent."""
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    async def until(self, satisfied: Callable[[], bool], within_s: float = 3.0) -> bool:
        """Wait until the condition on what was received holds or the stream has ended; False when neither came."""
        try:
            async with asyncio.timeout(within_s):
                while not (self.ended or satisfied()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close at once."""
        self.transport.abort() if self.ended else self.transport.close()
