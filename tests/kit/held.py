"""A model server that answers when the test says so: `/hold` waits for `release`, `/status/503` is a 503, else 200."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import serving

WAIT_S = 20.0


class HeldBackend:
    """Mutable state: how many requests are held now, and whether they may go on."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.held = threading.Semaphore(0)  # released once for each request that begins to wait
        self.url = ""

    def wait_held(self) -> None:
        """Return when one more request waits here."""
        assert self.held.acquire(timeout=WAIT_S), "no request came to /hold"


@contextmanager
def held_backend() -> Iterator[HeldBackend]:
    """The server, for the length of the block."""
    backend = HeldBackend()

    class Handler(serving.Handler):
        def do_GET(self) -> None:
            status = 200
            self.body()
            if self.path == "/hold":
                backend.held.release()
                backend.release.wait(WAIT_S)
            elif self.path.startswith("/status/"):
                status = int(self.path.removeprefix("/status/"))
            self.send_response(status)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"done\n")

        do_POST = do_GET

    with serving.serving(Handler) as backend.url:
        try:
            yield backend
        finally:
            backend.release.set()
