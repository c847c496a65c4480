"""Both ends of the wire in the hands of one test, which says what each sends and reads, line after line.

    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        call = await backend.accept()
        asked = await call.message()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        answer = await client.message()

Every wait has a deadline; nothing sleeps. `on_the_loop` runs such a test on uvloop, as a worker would.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

WITHIN_S = 5.0
TEST_WITHIN_S = 15.0
_LIMIT_BYTES = 128 * 1024
T = TypeVar("T")


def on_the_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, as one that pytest knows, on a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        # pytest's own timeout is a signal, which uvloop takes for itself.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(soon(test(*args, **named), TEST_WITHIN_S))

    return run


async def soon(awaited: Awaitable[T], within_s: float = WITHIN_S) -> T:
    """What is awaited, or TimeoutError."""
    async with asyncio.timeout(within_s):
        return await awaited


class Message:
    """A message as it stood on the wire. `fields` have lower-case names; `body` is free of its framing."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        self.body = b""

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.line.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        """Every line of this lower-case name."""
        return [value for each, value in self.fields if each == name]

    def get(self, name: bytes) -> bytes | None:
        """The one line of this name, or None; more than one is an AssertionError."""
        values = self.all(name)
        assert len(values) <= 1, f"{name.decode()} stands there {len(values)} times"
        return values[0] if values else None


class Peer:
    """One end of a connection. Reads within `WITHIN_S`, or raises TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: tuple[str, int] | str) -> Peer:
        """A new connection to host and port, or to a unix socket."""
        if isinstance(address, str):
            return cls(*await asyncio.open_unix_connection(address, limit=_LIMIT_BYTES))
        return cls(*await asyncio.open_connection(*address, limit=_LIMIT_BYTES))

    def send(self, data: bytes) -> None:
        """Write these very bytes."""
        self.writer.write(data)

    async def drain(self) -> None:
        """Wait until the other side takes more."""
        await soon(self.writer.drain())

    async def head(self) -> Message:
        """The next head; whatever stands behind it is left unread."""
        return Message(await soon(self.reader.readuntil(b"\r\n\r\n")))

    async def exactly(self, size: int) -> bytes:
        """The next bytes, this many."""
        return await soon(self.reader.readexactly(size))

    async def some(self) -> bytes:
        """Whatever comes next; b"" at the end."""
        return await soon(self.reader.read(65536))

    async def chunk(self) -> bytes:
        """The content of the next chunk; b"" for the last one."""
        size = int(await soon(self.reader.readuntil(b"\r\n")), 16)
        return (await self.exactly(size + 2))[:-2]

    async def body(self, message: Message, *, head_only: bool = False) -> bytes:
        """The body that belongs to a head."""
        if head_only or (message.line.startswith(b"HTTP/") and message.status in (204, 304)):
            return b""
        if message.get(b"transfer-encoding") is not None:
            chunks = []
            while content := await self.chunk():
                chunks.append(content)
            return b"".join(chunks)
        length = message.get(b"content-length")
        if length is None and message.line.startswith(b"HTTP/"):
            return await self.rest()
        return await self.exactly(int(length or b"0"))

    async def message(self, *, head_only: bool = False) -> Message:
        """The next message, whole. `head_only`: it answers HEAD."""
        message = await self.head()
        message.body = await self.body(message, head_only=head_only)
        return message

    async def rest(self) -> bytes:
        """All that still comes until the other side ends well; a reset is a ConnectionResetError."""
        return await soon(self.reader.read(-1))

    async def gone(self, within_s: float = WITHIN_S) -> bytes:
        """All that still comes until the other side is gone, well or by a reset."""
        received = b""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return received
                if not data:
                    return received
                received += data

    def finish(self) -> None:
        """Half-close: nothing more will be sent."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Go away at once, with a reset."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX and not self.writer.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """Close when what was written has left."""
        self.writer.close()


class Upstream:
    """A backend: every connection is handed to the test. Mutable state: `connections`, all there ever were."""

    def __init__(self) -> None:
        self.connections: list[Peer] = []
        self.url = ""
        self._accepted: asyncio.Queue[Peer] = asyncio.Queue()

    async def accept(self) -> Peer:
        """The next connection."""
        return await soon(self._accepted.get())

    async def call(self) -> tuple[Peer, Message]:
        """The next connection, and the whole request on it."""
        peer = await self.accept()
        return peer, await peer.message()

    def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The server's part."""
        peer = Peer(reader, writer)
        self.connections.append(peer)
        self._accepted.put_nowait(peer)


@asynccontextmanager
async def upstream(path: str | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """A backend on a port of its own, or on a unix socket, for the length of the block."""
    backend = Upstream()
    if path is not None:
        server = await asyncio.start_unix_server(backend.accepted, path, limit=_LIMIT_BYTES, ssl=tls)
        backend.url = f"unix:{path}"
    else:
        server = await asyncio.start_server(backend.accepted, "127.0.0.1", 0, limit=_LIMIT_BYTES, ssl=tls)
        backend.url = "{}://127.0.0.1:{}".format("https" if tls else "http", server.sockets[0].getsockname()[1])
    try:
        yield backend
    finally:
        server.close()
        for peer in backend.connections:
            peer.reset()
