"""The backend for large bodies: it reads a whole body before it answers, or sends one; both with back-pressure.

`python -m bench.loopback.sink PORT`

- `POST /bulk` answers the size and the digest of the body; `?rate=BYTES_PER_S` reads no faster than that
- `POST /bulk?echo=1` answers the body itself
- `GET /bulk?blocks=N` answers N times `BLOCK`
- `GET /count` answers how many requests have been answered, itself included
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop
import xxhash

from .wire import BLOCK, HOST, sink_answer

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n"
answered = 0


class Sink(asyncio.Protocol):
    """One connection. Mutable state: the request being read, and the blocks that remain to be sent."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.query: dict[str, list[str]] = {}
        self.blocks = 0
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = b""
        self.size = 0
        self.digest = xxhash.xxh3_64()
        self.kept: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.path = urlsplit(self.url.decode())
        self.query = parse_qs(self.path.query)
        self.rate = int(self.query.get("rate", ["0"])[0])
        self.echo = "echo" in self.query
        self.began = time.monotonic()

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        if self.echo:
            self.kept.append(body)
        else:
            self.digest.update(body)
        if self.rate:
            self._slow_down()

    def _slow_down(self) -> None:
        ahead_s = self.size / self.rate - (time.monotonic() - self.began)
        if ahead_s > 0 and self.transport.is_reading():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(ahead_s, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def on_message_complete(self) -> None:
        global answered  # noqa: PLW0603 - one process, one counter
        answered += 1
        if self.path.path == "/count":
            self._answer([b"%d" % answered])
        elif self.echo:
            self._answer(self.kept)
        elif "blocks" in self.query:
            self.blocks = int(self.query["blocks"][0])
            self.transport.write(HEAD % (self.blocks * len(BLOCK)))
            self._send_blocks()
        else:
            self._answer([sink_answer(self.size, self.digest.hexdigest())])

    def _answer(self, body: list[bytes]) -> None:
        self.transport.writelines([HEAD % sum(map(len, body)), *body])

    def _send_blocks(self) -> None:
        while self.blocks and self.writable:
            self.blocks -= 1
            self.transport.write(BLOCK)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._send_blocks()


async def serve(port: int) -> None:
    """Listen until cancelled."""
    server = await asyncio.get_running_loop().create_server(Sink, HOST, port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Run until a signal ends the process."""
    uvloop.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
