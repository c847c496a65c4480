"""A model server that talks at a known pace: OpenAI's chat as server-sent events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(delta: dict[str, object]) -> bytes:
    """One event of a chat."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
WORD = event({"content": " word"})
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """As one chunk of a chunked body; b"" is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


@contextmanager
def talking(first_s: float, between_s: float, words: int) -> Iterator[str]:
    """Its URL. It says at once who speaks, the first word after `first_s`, and then one in `between_s`."""
    pause = threading.Event().wait

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(HEAD + chunk(ROLE))
            pause(first_s)
            for number in range(words):
                if number:
                    pause(between_s)
                self.wfile.write(chunk(WORD))
            self.wfile.write(chunk(DONE) + chunk(b""))

        def log_message(self, format: str, *args: object) -> None:
            """Tests read the proxy's log, not this one's."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
