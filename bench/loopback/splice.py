"""The floor: bytes carried from one socket to another by uvloop, with no idea of HTTP.

`python -m bench.loopback.splice LISTEN:CONNECT ...` (ports on the loopback).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import cast

import uvloop

from .wire import HOST


class Half(asyncio.Protocol):
    """One side of a splice: what it receives, its peer writes; it reads no faster than its peer can write.

    Mutable state: its transport and its peer, both of which end together.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def data_received(self, data: bytes) -> None:
        assert self.peer is not None and self.peer.transport is not None
        self.peer.transport.write(data)

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class Front(Half):
    """The accepted side: what it receives before the other side is connected waits here (one read at most)."""

    connecting: set[asyncio.Task[None]] = set()  # noqa: RUF012 - shared on purpose: it keeps running tasks alive

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        task = asyncio.get_running_loop().create_task(self._connect())
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.early += data
        self.transport.pause_reading()

    async def _connect(self) -> None:
        assert self.transport is not None
        try:
            _, peer = await asyncio.get_running_loop().create_connection(Half, HOST, self.port)
        except OSError:
            self.transport.close()
            return
        assert peer.transport is not None
        if self.transport.is_closing():
            peer.transport.close()
            return
        # From here on nothing distinguishes the two sides: drop this class's own, slower data_received.
        half = Half()
        half.transport, half.peer, peer.peer = self.transport, peer, half
        self.transport.set_protocol(half)
        peer.transport.write(self.early)
        self.transport.resume_reading()


async def serve(pairs: list[tuple[int, int]]) -> None:
    """Listen on every first port, connect to its second, until cancelled."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        for listen, upstream in pairs:
            server = await loop.create_server(lambda port=upstream: Front(port), HOST, listen, backlog=4096)  # type: ignore[misc]
            await stack.enter_async_context(server)
        await loop.create_future()


def main() -> None:
    """Run until a signal ends the process."""
    pairs = [(int(listen), int(upstream)) for listen, _, upstream in (arg.partition(":") for arg in sys.argv[1:])]
    uvloop.run(serve(pairs))


if __name__ == "__main__":
    main()
