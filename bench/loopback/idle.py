"""Connections that were used once and are then kept open in silence.

`python -m bench.loopback.idle PORT CONNECTIONS`: prints `open` when every connection has had one good answer, waits
for the end of its standard input, then insists that none was closed meanwhile.
"""

from __future__ import annotations

import select
import sys

from .wire import ANSWER_BODY, PLAIN_PATH, REQUEST_BODY, BenchError, connect, expect, request


def main() -> None:
    """Run once; an error is an exit status of 1 and its description on stderr."""
    port, connections = map(int, sys.argv[1:3])
    message = request(PLAIN_PATH, REQUEST_BODY)
    try:
        socks = [connect(port) for _ in range(connections)]
        for sock in socks:
            expect(sock, message, ANSWER_BODY)
    except (BenchError, OSError) as mistake:
        sys.exit(str(mistake))
    print("open", flush=True)
    sys.stdin.read()
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN)
    if closed := len(poll.poll(0)):
        sys.exit(f"{closed} of {connections} idle connections were closed")


if __name__ == "__main__":
    main()
