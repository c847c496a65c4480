"""Shadows that misbehave, each in its own way and each on a port of its own, in one process.

`python -m bench.loopback.faulty KIND=PORT ...` prints `listening`, and then, for each line on its standard input, ends
every connection that there is and prints how many: nothing of one measured window shall go on during the next.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable

from .wire import HOST

KINDS = {
    "dead": "no handshake: connecting takes until its timeout",
    "refused": "nobody listens",
    "refusing": "accepts, resets at once",
    "resetting": "reads the request, resets",
    "hung-before": "accepts, reads nothing",
    "hung-after": "reads the request, answers nothing",
    "dripping": "reads the request, answers one byte a second",
    "flooding": "reads the request, answers without end as fast as it can",
}
FLOOD_S = 2.0  # after which a flood is cut off, whoever still reads it
DRIP_S = 1.0
TICK_S = 0.05
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"
FLOOD_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DRIP_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close sends RST


class Connection:
    """One accepted connection. Mutable state: what remains of its request, and when its answer began or went on."""

    def __init__(self, sock: socket.socket, kind: str) -> None:
        self.sock = sock
        self.kind = kind
        self.head: bytes | None = b""  # so far; None: read
        self.left = 0  # bytes of the body
        self.since_s = 0.0
        self.unsent = memoryview(b"")

    def read(self) -> bool:
        """Take what has arrived; True when the request is whole. Raises OSError, EOFError."""
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError
        if self.head is None:
            self.left -= len(data)
        else:
            self.head += data
            head, end, body = self.head.partition(b"\r\n\r\n")
            if not end:
                return False
            self.head = None
            self.left = _length(head) - len(body)
        return self.left <= 0

    def again(self) -> None:
        """The answer is done with, or never comes: the next bytes are another request's."""
        self.head = b""

    def reset(self) -> None:
        """End it with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


class Faulty:
    """All listeners and their connections. Mutable state: the sockets, and which of them answer by the clock."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.epoll = select.epoll()
        self.listeners: dict[int, tuple[socket.socket, str]] = {}
        self.connections: dict[int, Connection] = {}
        self.dripping: dict[int, Connection] = {}
        self.queue: list[socket.socket] = []
        for kind, port in ports.items():
            if kind == "dead":
                self._never_accept(port)
            elif kind != "refused":
                listener = socket.create_server((HOST, port), backlog=4096)
                listener.setblocking(False)
                self.listeners[listener.fileno()] = (listener, kind)
                self.epoll.register(listener, select.EPOLLIN)
        self.heard: dict[str, Callable[[Connection], None]] = {
            "resetting": self._end,
            "hung-after": Connection.again,
            "dripping": self._begin_drip,
            "flooding": self._begin_flood,
        }

    def _never_accept(self, port: int) -> None:
        """Fill the queue of those who wait to be accepted: the kernel drops further SYNs."""
        listener = socket.create_server((HOST, port), backlog=0)
        self.queue.append(listener)
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((HOST, port))
            self.queue.append(waiting)

    def run(self) -> None:
        """Serve until the standard input ends."""
        stdin = sys.stdin.fileno()
        self.epoll.register(stdin, select.EPOLLIN)
        print("listening", flush=True)
        while True:
            for fd, event in self.epoll.poll(TICK_S if self.dripping else -1):
                if fd == stdin:
                    if not os.read(stdin, 64):
                        return
                    print(len(self.connections), flush=True)
                    for connection in list(self.connections.values()):
                        self._end(connection)
                elif fd in self.listeners:
                    self._accept(*self.listeners[fd])
                elif fd in self.connections:
                    self._serve(self.connections[fd], event)
            if self.dripping:
                self._drip()

    def _accept(self, listener: socket.socket, kind: str) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # it has gone again
            return
        sock.setblocking(False)
        connection = Connection(sock, kind)
        if kind == "refusing":
            connection.reset()
            return
        self.connections[sock.fileno()] = connection
        if kind != "hung-before":
            self.epoll.register(sock, select.EPOLLIN)

    def _serve(self, connection: Connection, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                self._flood(connection)
            elif connection.read():
                self.heard[connection.kind](connection)
        except BlockingIOError:
            pass
        except (OSError, EOFError):
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        fd = connection.sock.fileno()
        self.connections.pop(fd, None)
        self.dripping.pop(fd, None)
        connection.reset()

    def _begin_drip(self, connection: Connection) -> None:
        connection.sock.send(DRIP_HEAD)
        connection.since_s = time.monotonic()
        self.dripping[connection.sock.fileno()] = connection

    def _drip(self) -> None:
        now_s = time.monotonic()
        for connection in list(self.dripping.values()):
            if now_s - connection.since_s >= DRIP_S:
                connection.since_s = now_s
                try:
                    connection.sock.send(b" ")
                except OSError:
                    self._end(connection)

    def _begin_flood(self, connection: Connection) -> None:
        connection.since_s = time.monotonic()
        connection.unsent = memoryview(FLOOD_HEAD)
        self.epoll.modify(connection.sock, select.EPOLLOUT)

    def _flood(self, connection: Connection) -> None:
        if time.monotonic() - connection.since_s > FLOOD_S:
            self._end(connection)
            return
        if not connection.unsent:
            connection.unsent = memoryview(CHUNK)
        connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]


def main() -> None:
    """Run until the standard input ends."""
    Faulty({kind: int(port) for kind, _, port in (arg.partition("=") for arg in sys.argv[1:])}).run()


if __name__ == "__main__":
    main()
