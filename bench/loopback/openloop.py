"""Constant-rate load: requests leave when they are due, whether or not earlier ones have been answered.

`python -m bench.loopback.openloop PORT RATE SECONDS WARMUP_S CONNECTIONS [BYTES] [failures | samples]` prints one JSON
line. A latency ends when the kernel received the answer's last byte, and begins when the request was sent, or was due
if it had to wait for a free connection: no coordinated omission, and nothing of what this process itself is late by,
which at 14,000 requests a second on the core that also runs the backend is as much as the proxy takes. With `samples`
every one is told, with the moment at which its request was due and in the order of those, nanoseconds. Sockets and
epoll without an event loop, because this process must cost little.

A wrong answer ends the run; with `failures` it is counted instead, as a connection that breaks or a request that is
never answered, and the request's latency is the time until then.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import struct
import sys
import time
from array import array
from collections import deque
from typing import Any

from .figures import percentile
from .pace import Pace
from .wire import BenchError, connect, errand, request

QUIET_S = 5.0
KIB = 1024
SO_TIMESTAMPNS = 35  # socket(7): with each read, when its last segment came, by the wall clock; not in Python's module
TIMESPEC = struct.Struct("@ll")
STAMP_BYTES = socket.CMSG_SPACE(TIMESPEC.size)


class Connection:
    """One keep-alive connection. Mutable state: when its request was due, and since when it has been under way by the
    wall clock; what of it is unsent; the answer so far, and when its last byte came."""

    __slots__ = ("answer", "data", "due_ns", "received_ns", "since_ns", "sock", "unsent")

    def __init__(self, sock: socket.socket, answer: bytes) -> None:
        sock.settimeout(None)  # only read when readable: a timeout would cost one more system call each time
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock = sock
        self.answer = answer
        self.due_ns = self.since_ns = self.received_ns = 0
        self.unsent = memoryview(b"")
        self.data = b""

    def send(self, unsent: memoryview) -> bool:
        """Send as much as goes without waiting; True when all has gone."""
        try:
            sent = self.sock.send(unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        self.unsent = unsent[sent:]
        return sent == len(unsent)

    def answered(self) -> bool:
        """Read; True when the answer is whole. Raises BenchError when it is not the expected one."""
        data, [*stamps], _, _ = self.sock.recvmsg(65536, STAMP_BYTES)
        if not data:
            raise BenchError("a connection was closed before its answer")
        for _, _, stamp in stamps:
            seconds, rest_ns = TIMESPEC.unpack(stamp)
            self.received_ns = seconds * 1_000_000_000 + rest_ns
        self.data = data = self.data + data
        if not data.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"answer {data[:200]!r}")
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + len(self.answer):
            return False
        if data[head + 4 :] != self.answer or self.unsent:
            raise BenchError(f"body {data[head + 4 :][:200]!r}")
        self.data = b""
        return True


class OpenLoop:
    """The load. Mutable state: free connections, requests that wait for one, the latencies and failures so far."""

    def __init__(self, port: int, rate: float, seconds: float, warmup_s: float, connections: int, size: int) -> None:
        self.port = port
        path, body, self.answer = errand(size)
        self.request = memoryview(request(path, body))
        self.free = deque(Connection(connect(port), self.answer) for _ in range(connections))
        self.by_fd = {connection.sock.fileno(): connection for connection in self.free}
        self.waiting: deque[int] = deque()
        self.latencies_ns = array("q")
        self.dues_ns = array("q")
        self.failures: int | None = None  # None: the first one ends the run
        self.heard = 0
        self.total = round(rate * (seconds + warmup_s))
        self.skip = round(rate * warmup_s)
        self.pace = Pace(rate)
        self.began_ns = self.pace.beat_ns(self.skip)  # of what is measured
        self.epoll = select.epoll()
        for fd in (*self.by_fd, self.pace.fd):
            self.epoll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        """Send everything, hear every answer. Raises BenchError, or OSError of a broken connection."""
        sent = 0
        while self.heard < self.total:
            ready = self.epoll.poll(QUIET_S)
            if not ready:
                self._give_up(sent)
            for fd, event in ready:
                if fd == self.pace.fd:
                    sent = self._send_due(sent)
                elif fd in self.by_fd:
                    self._move(self.by_fd[fd], event)

    def _move(self, connection: Connection, event: int) -> None:
        try:
            if event & select.EPOLLOUT and connection.send(connection.unsent):
                self.epoll.modify(connection.sock, select.EPOLLIN)
            if event & ~select.EPOLLOUT and connection.answered():
                self._count(connection.due_ns, connection.received_ns - connection.since_ns)
                self._free(connection)
        except (BenchError, OSError):
            if self.failures is None:
                raise
            self._fail(connection)

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
            due_ns = self.waiting.popleft()
            self._send(connection, due_ns, time.monotonic_ns() - due_ns)
        else:
            self.free.append(connection)

    def _send(self, connection: Connection, due_ns: int, waited_ns: int = 0) -> None:
        connection.due_ns, connection.since_ns = due_ns, time.time_ns() - waited_ns
        try:
            if not connection.send(self.request):
                self.epoll.modify(connection.sock, select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            if self.failures is None:
                raise
            self._fail(connection)

    def _count(self, due_ns: int, latency_ns: int) -> None:
        self.heard += 1
        if due_ns >= self.began_ns:
            self.latencies_ns.append(latency_ns)
            self.dues_ns.append(due_ns)

    def _fail(self, connection: Connection) -> None:
        """Count what failed and go on with a new connection in the place of this one."""
        assert self.failures is not None
        del self.by_fd[connection.sock.fileno()]
        connection.sock.close()
        fresh = Connection(connect(self.port), self.answer)
        self.by_fd[fresh.sock.fileno()] = fresh
        self.epoll.register(fresh.sock, select.EPOLLIN)
        if connection in self.free:  # it broke while nothing was asked of it
            self.free.remove(connection)
            self.free.append(fresh)
            return
        self.failures += 1
        self._count(connection.due_ns, time.monotonic_ns() - connection.due_ns)
        self._free(fresh)

    def _give_up(self, sent: int) -> None:
        if self.failures is None:
            raise BenchError(f"{sent - self.heard} requests were never answered")
        busy = [each.due_ns for each in self.by_fd.values() if each not in self.free]
        for due_ns in (*busy, *self.waiting):
            self.failures += 1
            self._count(due_ns, time.monotonic_ns() - due_ns)


def main() -> None:
    """Run once; an error or a wrong byte is an exit status of 1 and its description on stderr."""
    *numbers, last = sys.argv[1:]
    tolerant, told = last == "failures", last == "samples"
    port, rate, seconds, warmup_s, connections, *size = map(float, numbers if tolerant or told else sys.argv[1:])
    gc.disable()  # nothing here makes cycles, and a collection would be charged to the proxy
    try:
        load = OpenLoop(int(port), rate, seconds, warmup_s, int(connections), int(size[0]) if size else KIB)
        load.failures = 0 if tolerant else None
        load.run()
    except (BenchError, OSError) as mistake:
        sys.exit(str(mistake))
    latencies_us = [latency / 1000 for latency in load.latencies_ns]
    figures: dict[str, Any] = {f"latency_p{percent}_us": percentile(latencies_us, percent) for percent in (50, 99)}
    figures |= {"max_us": max(latencies_us), "began_ns": load.began_ns, "ended_ns": time.monotonic_ns()}
    if told:
        figures["samples"] = sorted(zip(load.dues_ns, load.latencies_ns, strict=True))
    print(json.dumps({"requests": len(latencies_us), "failures": load.failures or 0, **figures}))


if __name__ == "__main__":
    main()
