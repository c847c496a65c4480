"""What the bench's own clients say and expect to hear. Blocking and minimal: only for answers with a Content-Length."""

from __future__ import annotations

import json
import socket
from typing import NamedTuple

import xxhash

HOST = "127.0.0.1"
MIB = 1024 * 1024
PLAIN_PATH = "/v2/models/iris/infer"
BULK_PATH = "/bulk"
EVENTS_PATH = "/events"


class BenchError(Exception):
    """A side answered errors or wrong bytes, or did not run at all: no figure may be taken from this run."""


def _padded(document: dict[str, object], size: int) -> bytes:
    """The document as JSON of exactly `size` bytes."""
    text = json.dumps({**document, "pad": ""})
    return text[:-2].encode() + b"x" * (size - len(text)) + b'"}'


REQUEST_BODY = _padded(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}, 1024
)
ANSWER_BODY = _padded(
    {"model_name": "iris", "outputs": [{"name": "y", "shape": [1], "datatype": "INT64", "data": [0]}]}, 1024
)
BLOCK = b"".join(xxhash.xxh3_128_digest(index.to_bytes(4, "big")) for index in range(MIB // 16))
"""1 MiB without a pattern that a compressor or a wrong offset could hide in."""


def digest_of_blocks(count: int) -> str:
    """The digest of `count` blocks in a row, as `sink.py` reports it."""
    digest = xxhash.xxh3_64()
    for _ in range(count):
        digest.update(BLOCK)
    return str(digest.hexdigest())


def sink_answer(size: int, digest: str) -> bytes:
    """What the bulk backend answers when a body of `size` bytes has arrived whole."""
    return b'{"bytes": %12d, "xxh3": "%s"}' % (size, digest.encode())


class Errand(NamedTuple):
    """What is sent and what must come back."""

    path: str
    body: bytes
    answer: bytes


def errand(size: int) -> Errand:
    """A body of this many bytes to the backend that takes such: 1 KiB to the plain one, whole MiB to the bulk one."""
    if size == len(REQUEST_BODY):
        return Errand(PLAIN_PATH, REQUEST_BODY, ANSWER_BODY)
    blocks, rest = divmod(size, MIB)
    if rest or not blocks:
        raise BenchError(f"there is no errand of {size} bytes: 1 KiB or whole MiB")
    return Errand(BULK_PATH, BLOCK * blocks, sink_answer(size, digest_of_blocks(blocks)))


def request(path: str, body: bytes = b"", *, method: str = "POST", length: int | None = None) -> bytes:
    """One request with a Content-Length; `length` when the body is sent afterwards."""
    size = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nhost: bench.test\r\n"
    if method == "POST":
        head += f"content-type: application/json\r\ncontent-length: {size}\r\n"
    return head.encode() + b"\r\n" + body


def connect(port: int, *, timeout_s: float = 10.0) -> socket.socket:
    """A blocking connection to the loopback with Nagle's algorithm off."""
    sock = socket.create_connection((HOST, port), timeout=timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_head(sock: socket.socket) -> tuple[int, int, bytes, bytes]:
    """Read an answer's head: (status, Content-Length, raw head, first bytes of the body). Raises BenchError."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise BenchError(f"closed after {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(head.split(b" ", 2)[1]), int(line[15:]), head + b"\r\n\r\n", rest
    raise BenchError(f"an answer without a Content-Length: {head!r}")


def ask(sock: socket.socket, message: bytes) -> tuple[int, bytes, int]:
    """Send one request, read one whole answer: (status, body, bytes on the wire). Raises BenchError, OSError."""
    sock.sendall(message)
    status, length, head, body = read_head(sock)
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            raise BenchError(f"closed {length - len(body)} bytes before the end of an answer")
        body += more
    return status, body, len(head) + len(body)


def expect(sock: socket.socket, message: bytes, body: bytes) -> int:
    """Ask, insist on a 200 with exactly this body, and return the answer's length on the wire. Raises BenchError."""
    status, got, length = ask(sock, message)
    if status != 200 or got != body:
        raise BenchError(f"status {status} and body {got[:200]!r}; wanted 200 and {body[:60]!r}")
    return length
