"""An HTTP server in threads of this process, on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Keeps connections alive, and says nothing on stderr."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body may be two writes

    def body(self) -> bytes:
        """The request's, by its length."""
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def log_message(self, format: str, *args: object) -> None:
        """Tests read the proxy's log, not this one's."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # read when it begins to listen


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    """The URL at which it answers, for the length of the block."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
