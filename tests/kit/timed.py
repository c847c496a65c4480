"""Model servers that take a known time for each answer, by the timers of a loop, and measure what it really was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from .strict import Request, read_request

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n"


class Timed:
    """A server that holds a request for `slower` times as many milliseconds as its body says.

    Mutable state: `held_s`, how long each was held, by the request's id; those too that nobody waits for any more.
    """

    def __init__(self, slower: float) -> None:
        self.slower = slower
        self.held_s: dict[bytes, float] = {}
        self.url = ""

    async def listen(self) -> asyncio.Server:
        """On a port of its own."""
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server


class _Connection(asyncio.Protocol):
    """Mutable state: what came of the next request."""

    def __init__(self, server: Timed) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        request = read_request(self._received)
        if isinstance(request, Request):
            self._received = b""
            (request_id,) = request.all(b"x-request-id")
            seconds = int(request.body) / 1000 * self._server.slower
            asyncio.get_running_loop().call_later(seconds, self._answer, request_id, monotonic())

    def _answer(self, request_id: bytes, since: float) -> None:
        self._server.held_s[request_id] = monotonic() - since
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


@contextmanager
def timed(*slower: float) -> Iterator[list[Timed]]:
    """One server for each of these, on a loop in a thread of their own."""
    servers = [Timed(each) for each in slower]
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        listening = [await each.listen() for each in servers]
        ready.set()
        await over.wait()
        for each in listening:
            each.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield servers
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
