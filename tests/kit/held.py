"""A model server that answers when the test says so: `/hold` waits for `release`, `/status/503` is a 503, else 200."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAIT_S = 20.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # read when it begins to listen


class HeldBackend:
    """Mutable state: how many requests are held now, and whether they may go on."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.held = threading.Semaphore(0)  # released once for each request that begins to wait
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes

            def do_GET(self) -> None:
                status = 200
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
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

            def log_message(self, format: str, *args: object) -> None:
                """Tests read the proxy's log, not this one's."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def wait_held(self) -> None:
        """Return when one more request waits here."""
        assert self.held.acquire(timeout=WAIT_S), "no request came to /hold"

    def close(self) -> None:
        """Let everybody go."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def held_backend() -> Iterator[HeldBackend]:
    """The server, for the length of the block."""
    backend = HeldBackend()
    try:
        yield backend
    finally:
        backend.close()
