"""What one exchange costs our own code: a request parsed, routed, sent, answered and counted, with no socket beneath.

`python -m bench.micro.exchange [COUNT]` prints microseconds per exchange, `... COUNT stream` those per event of one
streamed answer.
"""

from __future__ import annotations

import asyncio
import sys
from time import perf_counter
from typing import Any

from understudy.config.snapshot import Backend, Chain, Endpoint, Listener, Route, Snapshot
from understudy.proxy.http1.downstream import ServerConnection
from understudy.proxy.http1.upstream import ClientConnection
from understudy.proxy.plane import DataPlane, Port
from understudy.proxy.telemetry.stats import Stats

REQUEST = (
    b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: 127.0.0.1:7080\r\nUser-Agent: bench\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Fri, 20 Nov 2026 22:44:28 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 22\r\nConnection: keep-alive\r\n\r\n" + b"y" * 22
)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"68\r\n" + b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}'.ljust(102) + b"\n\n\r\n"


class Sink:
    """A transport that takes everything at once and keeps nothing."""

    def write(self, data: bytes) -> None:
        self.last = len(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 40000) if name == "peername" else None

    def abort(self) -> None:
        return None


async def main(count: int, kind: str = "exchange") -> None:
    """Run `count` exchanges one after the other, or one whose answer has so many events."""
    backend = Backend("stable", "7", (Endpoint("127.0.0.1", 9001),))
    route = Route("iris", backend, Chain())
    listener = Listener("ingress", "127.0.0.1:7080")
    plane = DataPlane(asyncio.get_running_loop(), Stats())
    plane.apply(Snapshot("", 1, {"ingress": listener}, {"stable": backend}, (route,), lambda request: route))
    target = plane.pools["stable"].targets[0]
    upstream = ClientConnection(target, plane.wheel)
    upstream.connection_made(Sink())  # type: ignore[arg-type]
    target.open += 1
    target.freed(upstream)
    client = ServerConnection(plane, Port(plane, listener))
    client.connection_made(Sink())  # type: ignore[arg-type]
    if kind == "stream":
        client.data_received(REQUEST)
        upstream.data_received(STREAM)
    started = perf_counter()
    for _ in range(count):
        if kind == "stream":
            upstream.data_received(EVENT)
        else:
            client.data_received(REQUEST)
            upstream.data_received(ANSWER)
    each = (perf_counter() - started) / count
    print(f"{each * 1e6:.2f} us per {'event' if kind == 'stream' else 'exchange'}, {count} of them")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, *sys.argv[2:3]))
