"""An OTLP collector that only counts: how many spans it was sent, by protobuf over HTTP.

`python -m bench.loopback.collector PORT` answers every POST with 200 and `GET /count` with the number of spans so far;
with `hung` behind the port it accepts and reads, and never answers.

Spans are counted by walking the message (opentelemetry/proto/trace/v1: ResourceSpans 1, ScopeSpans 2, Span 2) over the
lengths of its fields, so that counting costs little on the core that also runs the load.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import cast

import httptools
import uvloop

from .wire import HOST

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n%b"
PATH_TO_SPANS = (1, 2, 2)
spans = 0


def count_spans(message: bytes) -> int:
    """How many spans an ExportTraceServiceRequest holds. Raises IndexError where it is cut short."""
    parts = [(0, len(message))]
    for wanted in PATH_TO_SPANS:
        parts = [(start, end) for part in parts for number, start, end in _fields(message, *part) if number == wanted]
    return len(parts)


def _fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of each length-delimited field between two offsets; the others are passed over."""
    while at < end:
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                yield key >> 3, at, at + length
                at += length
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class Collector(asyncio.Protocol):
    """One connection. Mutable state: the request being read."""

    def __init__(self, hung: bool) -> None:
        self.hung = hung
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = b""
        self.body.clear()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        global spans  # noqa: PLW0603 - one process, one counter
        answer = b""
        if self.url == b"/count":
            answer = b"%d" % spans
        elif self.hung:
            return
        elif self.url == b"/v1/traces":
            spans += count_spans(b"".join(self.body))
        self.transport.write(OK % (len(answer), answer))


async def serve(port: int, hung: bool) -> None:
    """Listen until cancelled."""
    server = await asyncio.get_running_loop().create_server(lambda: Collector(hung), HOST, port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Run until a signal ends the process."""
    uvloop.run(serve(int(sys.argv[1]), "hung" in sys.argv[2:]))


if __name__ == "__main__":
    main()
