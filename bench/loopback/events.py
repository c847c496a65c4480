"""The backend for server-sent events: every event carries the monotonic time at which it was written.

`python -m bench.loopback.events PORT`

`GET /events?stream=I&events=N&group=G&rate=R`: once G streams are open, events leave one by one, evenly spaced,
R a second over all streams in turn, until each stream has had N. The even spacing is the point: a burst would
measure the queue in front of a proxy instead of the proxy.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
import time
from urllib.parse import parse_qs, urlsplit

from .pace import Pace
from .wire import HOST

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PAD = b"t" * 80  # about what one token of an OpenAI-style stream weighs
LAST = b"0\r\n\r\n"


def event(stream: int, index: int, now_ns: int) -> bytes:
    """One event, as its reader expects it."""
    return b"data: %d %d %d %s\n\n" % (stream, index, now_ns, PAD)


class Group:
    """The streams that are served together. Mutable state: the streams, the pace, how many events have left."""

    def __init__(self, size: int, events: int, rate: float) -> None:
        self.size = size
        self.events = events
        self.rate = rate
        self.streams: list[tuple[int, socket.socket]] = []
        self.pace: Pace | None = None
        self.sent = 0

    def send_due(self) -> bool:
        """Send what is due; True when every stream has ended. Raises OSError when a stream takes no more."""
        assert self.pace is not None
        for _ in range(min(self.pace.due(), self.size * self.events - self.sent)):
            index, turn = divmod(self.sent, self.size)
            stream, sock = self.streams[turn]
            data = event(stream, index, time.monotonic_ns())
            sock.send(b"%x\r\n%s\r\n%s" % (len(data), data, LAST if index + 1 == self.events else b""))
            self.sent += 1
        return self.sent == self.size * self.events


class EventServer:
    """All connections and at most one group at a time. Mutable state: the sockets and the group."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server((HOST, port), backlog=4096)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.sockets: dict[int, socket.socket] = {}
        self.group: Group | None = None

    def run(self) -> None:
        """Serve until a signal ends the process."""
        while True:
            for fd, _ in self.epoll.poll():
                if fd == self.listener.fileno():
                    self._accept()
                elif fd in self.sockets:
                    self._read(self.sockets[fd])
                else:
                    self._send_due()

    def _accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets[sock.fileno()] = sock
        self.epoll.register(sock, select.EPOLLIN)

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            del self.sockets[sock.fileno()]
            sock.close()
            self._drop_group_of(sock)
            return
        # A request head is one small segment on the loopback; anything else is not our bench.
        query = {
            name: int(value[0]) for name, value in parse_qs(urlsplit(data.split(b" ", 2)[1].decode()).query).items()
        }
        if self.group is None:
            self.group = Group(query["group"], query["events"], query["rate"])
        self.group.streams.append((query["stream"], sock))
        sock.send(HEAD)
        if len(self.group.streams) == self.group.size:
            self.group.pace = Pace(self.group.rate, lead_s=0.2)
            self.epoll.register(self.group.pace.fd, select.EPOLLIN)

    def _drop_group_of(self, sock: socket.socket) -> None:
        if self.group is not None and any(each is sock for _, each in self.group.streams):
            self._end_group()

    def _send_due(self) -> None:
        assert self.group is not None
        try:
            ended = self.group.send_due()
        except OSError:  # a stream that cannot take 150 bytes: its reader will miss events and fail the run
            ended = True
        if ended:
            self._end_group()

    def _end_group(self) -> None:
        assert self.group is not None
        if self.group.pace is not None:
            self.epoll.unregister(self.group.pace.fd)
            self.group.pace.close()
        if self.group.sent < self.group.size * self.group.events:
            for _, sock in self.group.streams:
                if self.sockets.pop(sock.fileno(), None) is not None:
                    sock.close()
        self.group = None


def main() -> None:
    """Run until a signal ends the process."""
    gc.disable()  # a collection here would be charged to the proxy
    EventServer(int(sys.argv[1])).run()


if __name__ == "__main__":
    main()
