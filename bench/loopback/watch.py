"""The reader of event streams: how long each event took from the backend's write to this process.

`python -m bench.loopback.watch PORT STREAMS EVENTS RATE WARMUP_EVENTS` prints one JSON line. Both clocks are the
machine's monotonic clock. Every stream must carry every event, once, in order and unchanged, and end properly.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from array import array

import httptools

from .events import event
from .figures import percentile
from .wire import EVENTS_PATH, BenchError, connect, request

QUIET_S = 5.0


class Stream:
    """One stream and its parser. Mutable state: the bytes of an unfinished event and the number of the next one."""

    def __init__(self, number: int, sock: socket.socket, delays_ns: array[int], warmup: int) -> None:
        self.number = number
        sock.settimeout(None)  # only read when readable: a timeout would cost one more system call each time
        self.sock = sock
        self.delays_ns = delays_ns
        self.warmup = warmup
        self.parser = httptools.HttpResponseParser(self)
        self.rest = b""
        self.next = 0
        self.ended = False

    def read(self) -> None:
        """Take what has arrived. Raises BenchError for anything but the expected bytes."""
        data = self.sock.recv(65536)
        self.now_ns = time.monotonic_ns()
        if not data:
            raise BenchError(f"stream {self.number} was cut after {self.next} events")
        self.parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self.parser.get_status_code() != 200:
            raise BenchError(f"stream {self.number}: status {self.parser.get_status_code()}")

    def on_body(self, body: bytes) -> None:
        *whole, self.rest = (self.rest + body).split(b"\n\n")
        for each in whole:
            sent_ns = int(each.split(b" ", 4)[3])
            if each + b"\n\n" != event(self.number, self.next, sent_ns):
                raise BenchError(f"stream {self.number}: {each!r} where event {self.next} was due")
            if self.next >= self.warmup:
                self.delays_ns.append(self.now_ns - sent_ns)
            self.next += 1

    def on_message_complete(self) -> None:
        self.ended = True


def open_streams(port: int, streams: int, events: int, rate: int, warmup: int) -> list[Stream]:
    """Connect and ask for all streams; the backend starts when the last one has reached it."""
    delays_ns = array("q")
    opened = []
    for number in range(streams):
        stream = Stream(number, connect(port), delays_ns, warmup)
        query = f"stream={number}&events={events}&group={streams}&rate={rate}"
        stream.sock.sendall(request(f"{EVENTS_PATH}?{query}", method="GET"))
        opened.append(stream)
    return opened


def watch(opened: list[Stream], events: int) -> None:
    """Read all streams to their ends. Raises BenchError when one is wrong or all are silent."""
    epoll = select.epoll()
    by_fd = {stream.sock.fileno(): stream for stream in opened}
    for fd in by_fd:
        epoll.register(fd, select.EPOLLIN)
    while by_fd:
        ready = epoll.poll(QUIET_S)
        if not ready:
            raise BenchError(f"{len(by_fd)} streams fell silent")
        for fd, _ in ready:
            stream = by_fd[fd]
            stream.read()
            if stream.ended:
                if stream.next != events:
                    raise BenchError(f"stream {stream.number} ended after {stream.next} of {events} events")
                epoll.unregister(fd)
                del by_fd[fd]


def main() -> None:
    """Run once; a wrong byte is an exit status of 1 and its description on stderr."""
    port, streams, events, rate, warmup = map(int, sys.argv[1:6])
    gc.disable()  # a collection here would be charged to the proxy
    try:
        opened = open_streams(port, streams, events, rate, warmup)
        watch(opened, events)
    except (BenchError, OSError, httptools.HttpParserError) as mistake:
        sys.exit(
            f"{mistake}: {mistake.__context__}" if isinstance(mistake, httptools.HttpParserError) else str(mistake)
        )
    delays_us = [delay / 1000 for delay in opened[0].delays_ns]
    figures = {f"delay_p{percent}_us": percentile(delays_us, percent) for percent in (50, 99)}
    print(json.dumps({"events": len(delays_us), **figures}))


if __name__ == "__main__":
    main()
