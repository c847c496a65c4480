"""One very large body, with a slow peer at the other end.

`python -m bench.loopback.bulk upload|download PORT MIB RATE_MIB_PER_S` prints one JSON line. An upload is sent as
fast as the proxy takes it and read slowly by the backend; a download is sent fast and read slowly here.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from threading import Event

import xxhash

from .wire import BLOCK, BULK_PATH, MIB, BenchError, connect, digest_of_blocks, expect, read_head, request, sink_answer


def upload(port: int, blocks: int, rate: int) -> None:
    """Send all blocks; the backend must have counted and digested every byte. Raises BenchError."""
    sock = connect(port, timeout_s=60)
    head = request(f"{BULK_PATH}?rate={rate}", length=blocks * MIB)
    sock.sendall(head)
    for _ in range(blocks - 1):
        sock.sendall(BLOCK)
    expect(sock, BLOCK, sink_answer(blocks * MIB, digest_of_blocks(blocks)))


def download(port: int, blocks: int, rate: int) -> None:
    """Read all blocks, no faster than `rate` bytes a second, and digest every byte. Raises BenchError."""
    sock = connect(port, timeout_s=60)
    sock.sendall(request(f"{BULK_PATH}?blocks={blocks}", method="GET"))
    status, length, _, rest = read_head(sock)
    if status != 200 or length != blocks * MIB:
        raise BenchError(f"status {status} and {length} bytes")
    digest = xxhash.xxh3_64(rest)
    if _read_slowly(sock, length, len(rest), rate, digest) != length or digest.hexdigest() != digest_of_blocks(blocks):
        raise BenchError("a download was cut or changed")


def _read_slowly(sock: socket.socket, length: int, got: int, rate: int, digest: xxhash.xxh3_64) -> int:
    wait = Event().wait
    began = time.monotonic()
    while got < length:
        ahead_s = got / rate - (time.monotonic() - began)
        if ahead_s > 0:
            wait(ahead_s)
        data = sock.recv(262144)
        if not data:
            break
        digest.update(data)
        got += len(data)
    return got


def main() -> None:
    """Run once; a wrong byte is an exit status of 1 and its description on stderr."""
    port, blocks, rate = map(int, sys.argv[2:5])
    began = time.monotonic()
    try:
        {"upload": upload, "download": download}[sys.argv[1]](port, blocks, rate * MIB)
    except (BenchError, OSError) as mistake:
        sys.exit(str(mistake))
    print(json.dumps({"mib": blocks, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
