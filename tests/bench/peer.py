"""A peer that answers every request with the same bytes, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

from bench.loopback.wire import ANSWER_BODY

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n" + ANSWER_BODY


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    answer = b""
    then_close = False


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server, sock = self.server, self.request
        assert isinstance(server, _Server) and isinstance(sock, socket.socket)
        with contextlib.suppress(ConnectionError):
            while sock.recv(65536):  # the clients of the bench send small requests in one segment
                sock.sendall(server.answer)
                if server.then_close:
                    return


@contextlib.contextmanager
def answering(answer: bytes, *, then_close: bool = False) -> Iterator[int]:
    """The port of a peer that gives this answer, and may close the connection after it without having said so."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer, server.then_close = answer, then_close
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
