"""Connections that were used once and are then kept open in silence.

`python -m bench.loopback.idle PORT CONNECTIONS`: prints `open` when every connection has had one good answer. Each
line on its standard input asks for as many again; at its end, none of them all may have been closed meanwhile.
"""

from __future__ import annotations

import select
import socket
import sys

from .wire import ANSWER_BODY, PLAIN_PATH, REQUEST_BODY, BenchError, connect, expect, request


def open_more(port: int, connections: int) -> list[socket.socket]:
    """Open them and use each once. Raises BenchError, or OSError of a refused connection."""
    socks = [connect(port) for _ in range(connections)]
    for sock in socks:
        expect(sock, request(PLAIN_PATH, REQUEST_BODY), ANSWER_BODY)
    print("open", flush=True)
    return socks


def main() -> None:
    """Run once; an error is an exit status of 1 and its description on stderr."""
    port, connections = map(int, sys.argv[1:3])
    try:
        socks = open_more(port, connections)
        for _ in sys.stdin:
            socks += open_more(port, connections)
    except (BenchError, OSError) as mistake:
        sys.exit(str(mistake))
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN)
    if closed := len(poll.poll(0)):
        sys.exit(f"{closed} of {len(socks)} idle connections were closed")


if __name__ == "__main__":
    main()
