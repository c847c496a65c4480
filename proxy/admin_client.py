"""Ask a running program's admin API. Synchronous, for commands."""

from __future__ import annotations

import http.client
import os
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:7081"
TIMEOUT_S = 5.0
RELOAD_TIMEOUT_S = 100.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024


class Unreachable(Exception):
    """Nobody answered there; the message names the address and says why."""


class Answer(NamedTuple):
    """A status and a body."""

    status: int
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(url: str, method: str, path: str, timeout_s: float = TIMEOUT_S, body: bytes | None = None) -> Answer:
    """One request to `http://host:port` or `unix:/path`, with the token of UNDERSTUDY_TOKEN. Raises Unreachable.

    `body` is JSON.
    """
    headers = {"Content-Type": "application/json"} if method == "POST" else {}
    token = os.environ.get("UNDERSTUDY_TOKEN")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = _connection(url, timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(MAX_ANSWER_BYTES))
    except (OSError, http.client.HTTPException) as problem:
        raise Unreachable(f"no program answers at {url}: {problem}") from problem
    finally:
        connection.close()


def _connection(url: str, timeout_s: float) -> http.client.HTTPConnection:
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:"), timeout_s)
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("it is neither http://host:port nor unix:/path")
        return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)
    except ValueError as problem:
        raise Unreachable(f"{url} is no address of an admin API: {problem}") from problem
