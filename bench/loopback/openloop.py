"""Constant-rate load: requests leave when they are due, whether or not earlier ones have been answered.

`python -m bench.loopback.openloop PORT RATE SECONDS WARMUP_S CONNECTIONS` prints one JSON line. A latency counts
from the moment the request was due, so one that had to wait for a free connection, or for this process, is charged
for it: no coordinated omission. Sockets and epoll without an event loop, because at 13,000 requests a second on the
core that also runs the backend, this process must cost little.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from array import array
from collections import deque

from .figures import percentile
from .pace import Pace
from .wire import ANSWER_BODY, PLAIN_PATH, REQUEST_BODY, BenchError, connect, request

QUIET_S = 5.0
REQUEST = request(PLAIN_PATH, REQUEST_BODY)


class Connection:
    """One keep-alive connection. Mutable state: when its request was due, and the answer's bytes so far."""

    __slots__ = ("data", "due_ns", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(None)  # only read when readable: a timeout would cost one more system call each time
        self.sock = sock
        self.due_ns = 0
        self.data = b""

    def answered(self) -> bool:
        """Read; True when the answer is whole. Raises BenchError when it is not the expected one."""
        data = self.sock.recv(65536)
        if not data:
            raise BenchError("a connection was closed before its answer")
        self.data = data = self.data + data
        if not data.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"answer {data[:200]!r}")
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + len(ANSWER_BODY):
            return False
        if data[head + 4 :] != ANSWER_BODY:
            raise BenchError(f"body {data[head + 4 :][:200]!r}")
        self.data = b""
        return True


class OpenLoop:
    """The load. Mutable state: free connections, requests that wait for one, and the latencies so far."""

    def __init__(self, port: int, rate: float, seconds: float, warmup_s: float, connections: int) -> None:
        self.free = deque(Connection(connect(port)) for _ in range(connections))
        self.by_fd = {connection.sock.fileno(): connection for connection in self.free}
        self.waiting: deque[int] = deque()
        self.latencies_ns = array("q")
        self.total = round(rate * (seconds + warmup_s))
        self.skip = round(rate * warmup_s)
        self.pace = Pace(rate)
        self.began_ns = self.pace.beat_ns(self.skip)  # of what is measured
        self.epoll = select.epoll()
        for fd in (*self.by_fd, self.pace.fd):
            self.epoll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        """Send everything, hear every answer. Raises BenchError, or OSError of a broken connection."""
        sent = heard = 0
        counted_from = self.began_ns
        while heard < self.total:
            ready = self.epoll.poll(QUIET_S)
            if not ready:
                raise BenchError(f"{sent - heard} requests were never answered")
            for fd, _ in ready:
                if fd == self.pace.fd:
                    sent = self._send_due(sent)
                    continue
                connection = self.by_fd[fd]
                if connection.answered():
                    heard += 1
                    if connection.due_ns >= counted_from:
                        self.latencies_ns.append(time.monotonic_ns() - connection.due_ns)
                    self._free(connection)

    def _send_due(self, sent: int) -> int:
        upto = min(self.total, sent + self.pace.due())
        for index in range(sent, upto):
            due_ns = self.pace.beat_ns(index)
            if self.free:
                self._send(self.free.popleft(), due_ns)
            else:
                self.waiting.append(due_ns)
        if upto == self.total and sent < upto:
            self.epoll.unregister(self.pace.fd)
        return upto

    def _free(self, connection: Connection) -> None:
        if self.waiting:
            self._send(connection, self.waiting.popleft())
        else:
            self.free.append(connection)

    def _send(self, connection: Connection, due_ns: int) -> None:
        connection.due_ns = due_ns
        connection.sock.sendall(REQUEST)


def main() -> None:
    """Run once; an error or a wrong byte is an exit status of 1 and its description on stderr."""
    port, rate, seconds, warmup_s, connections = map(float, sys.argv[1:6])
    gc.disable()  # nothing here makes cycles, and a collection would be charged to the proxy
    try:
        load = OpenLoop(int(port), rate, seconds, warmup_s, int(connections))
        load.run()
    except (BenchError, OSError) as mistake:
        sys.exit(str(mistake))
    latencies_us = [latency / 1000 for latency in load.latencies_ns]
    figures = {f"latency_p{percent}_us": percentile(latencies_us, percent) for percent in (50, 99)}
    figures |= {"max_us": max(latencies_us), "began_ns": load.began_ns, "ended_ns": time.monotonic_ns()}
    print(json.dumps({"requests": len(latencies_us), **figures}))


if __name__ == "__main__":
    main()
