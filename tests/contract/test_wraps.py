"""Wraps that fail or break their promise: the exchange ends at once, and all agree on where its messages end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from understudy.filters.api import BodyWrap, Exchange, Filter, Outcome, Response

from tests.kit.plane import serving
from tests.kit.raw import Answer, RawBackend, RawClient

GET = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]
POST = [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nabcd", b"efgh"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"


class Short(BodyWrap):
    def data(self, chunk: bytes) -> bytes:
        return chunk[:-1]


class Long(BodyWrap):
    def end(self) -> bytes:
        return b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


class Raises(BodyWrap):
    def data(self, chunk: bytes) -> bytes:
        raise KeyError("x")


class RaisesAtTheEnd(BodyWrap):
    async def end(self) -> bytes:
        raise KeyError("x")


class Resizes(Filter):
    """Says that the size is no longer known, and adds to it."""

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        response.length = None
        response.wrap(Long())
        return response


class Wrapping(Filter):
    def __init__(self, wrap: type[BodyWrap], side: str) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.wrap = wrap
        self.side = side
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def on_request(self, exchange: Exchange) -> None:
        if self.side == "request":
            exchange.request.wrap(self.wrap())

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        if self.side == "response" and not response.local:
            response.wrap(self.wrap())
        return response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        self.outcome.set_result(outcome)


async def wrapped(
    wrap: type[BodyWrap], side: str, asked: list[bytes], script: tuple[Answer, ...] = ()
) -> tuple[Outcome, RawClient, RawBackend]:
    backend = RawBackend()
    address = await backend.start()
    backend.script.extend(script)
    step = Wrapping(wrap, side)
    async with serving(lambda services: [step], address) as (_, front):
        client = await RawClient.connect(front)
        await client.send(asked)
        async with asyncio.timeout(3):
            outcome = await step.outcome
        await client.until(lambda: outcome.status == 500 and b"request_id" in client.received)
        client.close()
    await backend.close()
    return outcome, client, backend


BAD = pytest.mark.parametrize("wrap", [Short, Long, Raises, RaisesAtTheEnd])


@BAD
@pytest.mark.parametrize("segments", [(HEAD + b"some more",), (HEAD + b"so", b"me more")])
def test_an_answer_is_cut_at_once(wrap: type[BodyWrap], segments: tuple[bytes, ...], caplog: Any) -> None:
    outcome, client, _ = asyncio.run(wrapped(wrap, "response", GET, (Answer(segments),)))
    assert (outcome.status, outcome.reason) == (200, "filter_failed")
    assert client.ended, "an answer that is not what its head says ends the connection"
    assert b"smuggled" not in client.received
    assert "Wrapping" in caplog.text


@BAD
@pytest.mark.parametrize("asked", [POST, [b"".join(POST)]])
def test_a_request_is_refused_and_its_connection_is_never_used_again(
    wrap: type[BodyWrap], asked: list[bytes], caplog: Any
) -> None:
    outcome, client, backend = asyncio.run(wrapped(wrap, "request", asked))
    assert (outcome.status, outcome.reason) == (500, "filter_failed")
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert b"smuggled" not in b"".join(bytes(each.data) for each in backend.connections)
    assert "Wrapping" in caplog.text


def test_a_wrapped_answer_without_a_body_is_whole() -> None:
    asked = [b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    outcome, client, _ = asyncio.run(wrapped(BodyWrap, "response", asked, (Answer((HEAD,)),)))
    assert (outcome.status, outcome.reason) == (200, None)
    assert b"content-length: 9" in client.received.lower()


def test_a_filter_that_changes_the_size_says_so_and_is_served_chunked() -> None:
    async def run() -> bytes:
        backend = RawBackend()
        address = await backend.start()
        backend.script.append(Answer((HEAD + b"some more",)))
        async with serving(lambda services: [Resizes(None, services)], address) as (_, front):
            client = await RawClient.connect(front)
            await client.send(GET)
            assert await client.until(lambda: client.received.endswith(b"0\r\n\r\n"))
            client.close()
        await backend.close()
        return bytes(client.received).lower()

    received = asyncio.run(run())
    assert b"transfer-encoding: chunked" in received and b"content-length" not in received
    assert b"some more" in received and b"smuggled" in received
