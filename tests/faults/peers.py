"""Both ends of the proxy, played by the test itself, step by step: nothing here runs on its own.

`C` is a client, `B` a backend: sockets with deadlines. What they read is judged by the strict reader of the kit.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Literal

from tests.kit.strict import Incomplete, Request, Response, read_request, read_response

WITHIN_S = 5.0
_READ_BYTES = 256 * 1024
_LINGER_ZERO = struct.pack("ii", 1, 0)

Address = tuple[str, int]


class End:
    """One end of a TCP connection. Mutable state: `received`, all bytes so far; `ended`, how the peer ended it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.ended: Literal["", "end", "reset"] = ""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send all of it; the peer may have gone."""
        self.sock.settimeout(WITHIN_S)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def offer(self, data: bytes, most: int, patience_s: float = 0.3) -> int:
        """Send the data again and again until the peer takes no more for a while; how many bytes it took."""
        sent = 0
        self.sock.settimeout(patience_s)
        with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            while sent < most:
                sent += self.sock.send(data)
        return sent

    def read_more(self, within_s: float) -> bool:
        """Read once; False when nothing came in time."""
        self.sock.settimeout(max(within_s, 0.0001))
        try:
            data = self.sock.recv(_READ_BYTES)
        except (TimeoutError, BlockingIOError):
            return False
        except ConnectionResetError:
            self.ended = "reset"
            return True
        self.received += data
        if not data:
            self.ended = "end"
        return True

    def until(self, satisfied: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Read until it holds. AssertionError when it does not in time, or the peer ended before."""
        deadline = monotonic() + within_s
        while not satisfied():
            assert not self.ended, f"the peer ended it ({self.ended}) after {bytes(self.received[-200:])!r}"
            left_s = deadline - monotonic()
            assert left_s > 0 and self.read_more(left_s), f"only this came: {bytes(self.received[-200:])!r}"

    def wait_end(self, within_s: float = WITHIN_S) -> float:
        """Read until the peer has ended the connection; the monotonic time at which it did."""
        deadline = monotonic() + within_s
        while not self.ended:
            left_s = deadline - monotonic()
            assert left_s > 0 and self.read_more(left_s), f"still open: {bytes(self.received[-200:])!r}"
        return monotonic()

    def still_open(self, for_s: float = 0.05) -> bool:
        """Whether nothing but silence comes for this long."""
        return not self.read_more(for_s)

    def finish(self) -> None:
        """Half-close: a FIN, and reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close; the kernel sends a FIN, or a reset when bytes were left unread."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.sock.close()


class Client(End):
    """C. Mutable state beside that of its end: how far its answers were read."""

    def __init__(self, address: Address, *, buffer_bytes: int = 0) -> None:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.settimeout(WITHIN_S)
        sock.connect(address)
        super().__init__(sock)
        self._at = 0

    def answer(self, method: bytes = b"GET", within_s: float = WITHIN_S) -> Response:
        """The next whole answer, interim ones with it."""
        deadline = monotonic() + within_s
        while True:
            read = read_response(bytes(self.received), self._at, method=method, closed=self.ended == "end")
            if isinstance(read, Response):
                self._at = read.end
                return read
            assert isinstance(read, Incomplete), read
            assert not self.ended, f"{self.ended} after {bytes(self.received[self._at :][:300])!r}"
            left_s = deadline - monotonic()
            assert left_s > 0 and self.read_more(left_s), f"no answer: {bytes(self.received[self._at :][:300])!r}"

    def cut_answer(self, within_s: float = WITHIN_S) -> Response:
        """The head of an answer that has begun and was cut; AssertionError when it can be taken for complete."""
        self.wait_end(within_s)
        read = read_response(bytes(self.received), self._at, closed=True)
        assert isinstance(read, Incomplete), f"taken for complete: {read}"
        assert isinstance(read.head, Response), f"no head: {bytes(self.received)!r}"
        return read.head

    def body_so_far(self) -> bytes:
        """What stands behind the head of the answer under way, as it came."""
        _, _, rest = bytes(self.received[self._at :]).partition(b"\r\n\r\n")
        return rest


class Call(End):
    """One connection of the proxy to B. Mutable state beside that of its end: the whole requests it carried."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.requests: list[Request] = []
        self._at = 0
        self._read_bytes = -1

    @property
    def request(self) -> Request:
        """The request read last."""
        return self.requests[-1]

    @property
    def pending(self) -> bytes:
        """Bytes of a request that is not whole."""
        return bytes(self.received[self._at :])

    def take(self) -> bool:
        """Read one more whole request from what was received; False when there is none."""
        if len(self.received) == self._read_bytes:
            return False
        read = read_request(bytes(self.received), self._at)
        if not isinstance(read, Request):
            assert isinstance(read, Incomplete), read
            self._read_bytes = len(self.received)
            return False
        self._at = read.end
        self.requests.append(read)
        return True

    def head(self) -> Request | None:
        """The head of a request whose body is still to come."""
        read = read_request(bytes(self.received), self._at)
        return read.head if isinstance(read, Incomplete) and isinstance(read.head, Request) else None


class Backend:
    """B: accepts when it is asked to. Mutable state: every connection that it ever had."""

    def __init__(self, *, listen: bool = True, address: Address = ("127.0.0.1", 0)) -> None:
        self.sock = socket.socket()
        self.sock.bind(address)
        self.address: Address = self.sock.getsockname()
        self.connections: list[Call] = []
        self.listening = False
        if listen:
            self.listen()

    def listen(self, backlog: int = 128) -> None:
        """Let the kernel accept."""
        self.sock.listen(backlog)
        self.listening = True

    def next_call(self, within_s: float = WITHIN_S) -> Call:
        """The connection on which the next whole request arrives, an old or a new one."""
        return self._wait(Call.take, within_s, "no request")

    def next_head(self, within_s: float = WITHIN_S) -> Call:
        """The connection on which a request's head has arrived while its body has not."""
        return self._wait(lambda call: call.head() is not None, within_s, "no head of a request")

    def next_connection(self, within_s: float = WITHIN_S) -> Call:
        """A connection of the proxy on which nothing needs to have arrived."""
        known = len(self.connections)
        self._wait(lambda call: call is self.connections[-1] and len(self.connections) > known, within_s, "none")
        return self.connections[-1]

    def quiet(self, for_s: float = 0.05) -> bool:
        """Whether neither a connection nor a byte arrives for this long."""
        return not self._poll(for_s)

    @property
    def effects(self) -> int:
        """How many whole requests ever arrived, as far as the bytes here now tell."""
        while self._poll(0):
            pass
        for call in self.connections:
            while call.take():
                pass
        return sum(len(call.requests) for call in self.connections)

    def close(self) -> None:
        """Everything."""
        self.sock.close()
        for call in self.connections:
            call.close()

    def _wait(self, ready: Callable[[Call], bool], within_s: float, else_: str) -> Call:
        deadline = monotonic() + within_s
        while True:
            for call in self.connections:
                if ready(call):
                    return call
            left_s = deadline - monotonic()
            assert left_s > 0 and self._poll(left_s), f"{else_} in {within_s} s"

    def _poll(self, within_s: float) -> bool:
        """Accept and read what is there; False when nothing comes in time."""
        poll = select.poll()
        if self.listening:
            poll.register(self.sock, select.POLLIN)
        calls = {call.sock.fileno(): call for call in self.connections if not call.ended and call.sock.fileno() >= 0}
        for number in calls:
            poll.register(number, select.POLLIN)
        ready = poll.poll(within_s * 1000)
        for number, _ in ready:
            if number == self.sock.fileno():
                accepted, _ = self.sock.accept()
                self.connections.append(Call(accepted))
            else:
                calls[number].read_more(0)
        return bool(ready)


def ok(content: bytes = b"fine\n", fields: bytes = b"") -> bytes:
    """A whole, good answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%bContent-Length: %d\r\n\r\n%b" % (
        fields,
        len(content),
        content,
    )


def problem(response: Response) -> tuple[int, str]:
    """Status and reason of a problem+json answer, which must be one through and through."""
    assert response.all(b"content-type") == [b"application/problem+json"], response
    said = json.loads(response.body)
    assert said["status"] == response.status
    assert response.all(b"x-request-id") == [said["request_id"].encode()]
    return response.status, said["reason"]
