"""One request over one connection, and its answer as it came: the same code asks the model and the proxy."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from time import monotonic
from typing import NamedTuple

HOP_BY_HOP = {"connection", "keep-alive"}
FRAMING = {"content-length", "transfer-encoding"}
ADDED = {"via", "x-request-id"}


class Ask(NamedTuple):
    """A request. An iterable body is sent chunked."""

    method: str
    path: str
    body: bytes | list[bytes] | None = None
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """An answer without what belongs to one connection: hop-by-hop fields, the date, and what the proxy adds.

    Whoever forwards a message may frame it anew, so its framing is kept as the length that it declares or has.
    """

    status: int
    headers: list[tuple[str, str]]
    length: int
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        return dict(self.headers)


class Event(NamedTuple):
    """One server-sent event, as bytes, and when it was there, in seconds after the request was sent."""

    data: bytes
    at_s: float


def ask(address: tuple[str, int], each: Ask) -> Answer:
    """Ask over a new connection."""
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        return ask_on(connection, each)


def ask_all(address: tuple[str, int], asked: Iterable[Ask]) -> list[Answer]:
    """Ask one after the other over one connection, as long as it is kept alive."""
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        return [ask_on(connection, each) for each in asked]


def ask_on(connection: http.client.HTTPConnection, each: Ask) -> Answer:
    """Ask over this connection."""
    connection.request(each.method, each.path, each.body, dict(each.headers))
    response = connection.getresponse()
    body = response.read()
    declared = response.getheader("content-length")
    length = len(body) if declared is None else int(declared)
    return Answer(response.status, end_to_end(response.getheaders()), length, body)


def end_to_end(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields that must arrive as they were sent, in lower case and in order."""
    lowered = [(name.lower(), value) for name, value in headers]
    return [line for line in lowered if line[0] not in HOP_BY_HOP | FRAMING | ADDED | {"date"}]


def events(address: tuple[str, int], each: Ask) -> Iterator[Event]:
    """Ask, and yield each event of the answer when its last byte is there."""
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        began = monotonic()
        connection.request(each.method, each.path, each.body, dict(each.headers))
        response = connection.getresponse()
        assert response.status == 200, response.read()
        held = b""
        while chunk := response.read1():
            *whole, held = (held + chunk).split(b"\n\n")
            for data in whole:
                yield Event(data, monotonic() - began)
        assert held == b"", "the stream ended inside an event"
