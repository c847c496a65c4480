"""Filters that hold, read, watch and refuse bodies, and exchanges that outlive their client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from understudy.filters.api import BodyWrap, Exchange, Failure, Response

from tests.kit.acting import Does, Notes
from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
COUNTED = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reads(limit: int, seen: list[bytes]) -> Callable[[Exchange], Any]:
    async def read(exchange: Exchange) -> None:
        seen.append(await exchange.request.read(limit))

    return read


class Gate(BodyWrap):
    """Holds back the end until the test opens it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def end(self) -> bytes:
        self.reached.set()
        await self.open.wait()
        return b""


# Leave to send the body.


@on_the_loop
async def test_leave_to_send_is_given_when_the_body_is_wanted() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(EXPECT)
        call = await backend.accept()
        assert (await call.head()).get(b"expect") is None, "the leave is ours to give"
        assert (await client.head()).line == b"HTTP/1.1 100 Continue"
        client.send(b"12345" + GET)
        assert await call.exactly(5) == b"12345"
        call.send(OK)
        assert (await client.message()).status == 200
        await call.message()
        call.send(OK)
        assert (await client.message()).status == 200, "and the connection lives on"


@on_the_loop
async def test_a_client_that_does_not_wait_for_leave_gets_none() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(EXPECT + b"12345")
        call, asked = await backend.call()
        assert asked.body == b"12345"
        call.send(OK)
        assert (await client.head()).status == 200


@on_the_loop
async def test_no_leave_where_a_filter_refuses_and_the_connection_ends() -> None:
    def refuse(exchange: Exchange) -> None:
        raise Failure("key_missing", "send a key")

    async with upstream() as backend, configured(document([backend.url]), lambda _: [Does(refuse)]) as proxy:
        client = await proxy.connect()
        client.send(EXPECT)
        answer = await client.message()
        assert (answer.status, answer.get(b"connection")) == (400, b"close")
        assert await client.rest() == b""
        assert backend.connections == []


@on_the_loop
async def test_no_leave_where_the_backend_cannot_be_reached() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"max_in_flight": 1})) as proxy:
            (await proxy.connect()).send(GET)
            await backend.call()
            client = await proxy.connect()
            client.send(EXPECT)
            answer = await client.message()
            assert (answer.status, answer.get(b"connection")) == (503, b"close")


@on_the_loop
async def test_leave_is_given_when_a_filter_reads_the_body() -> None:
    seen: list[bytes] = []
    async with upstream() as backend, configured(document([backend.url]), lambda _: [Does(reads(100, seen))]) as proxy:
        client = await proxy.connect()
        client.send(EXPECT)
        assert (await client.head()).status == 100
        client.send(b"12345")
        call, asked = await backend.call()
        assert asked.body == b"12345" and seen == [b"12345"]
        assert asked.get(b"content-length") == b"5"
        call.send(OK)
        assert (await client.message()).status == 200


# Reading a body whole.


@on_the_loop
async def test_a_body_that_was_read_goes_on_whole_with_its_size() -> None:
    seen: list[bytes] = []
    async with upstream() as backend, configured(document([backend.url]), lambda _: [Does(reads(100, seen))]) as proxy:
        client = await proxy.connect()
        for head, rest in (
            (CHUNKED + b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"),
            (COUNTED + b"abc", b"defghij"),
            (GET, b""),
        ):
            client.send(head)
            if rest:
                await proxy.settled(lambda: proxy.plane.open_connections() == 1)
                client.send(rest)
            call = backend.connections[0] if backend.connections else await backend.accept()
            asked = await call.message()
            assert asked.body == seen[-1]
            assert asked.get(b"transfer-encoding") is None
            call.send(OK)
            assert (await client.message()).status == 200
        assert seen == [b"abcde", b"abcdefghij", b""]


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (COUNTED, b""),
        (COUNTED + b"0123456789", b""),
        (CHUNKED, b"6\r\n012345\r\n"),
        (CHUNKED + b"3\r\n012\r\n", b"3\r\n345\r\n"),
        (CHUNKED + b"6\r\n012345\r\n0\r\n\r\n", b""),
    ],
)
@on_the_loop
async def test_a_body_over_the_limit_is_413_before_it_has_come(head: bytes, rest: bytes) -> None:
    does = Does(reads(5, []))
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(head)
        if rest:
            await proxy.settled(lambda: proxy.plane.open_connections() == 1)
            client.send(rest)
        answer = await client.message()
        assert answer.status == 413 and b'"body_too_large"' in answer.body
        assert backend.connections == []
        assert [outcome.reason for outcome in does.outcomes] == ["body_too_large"]


@on_the_loop
async def test_a_client_that_leaves_while_its_body_is_read() -> None:
    failures: list[Exception] = []

    async def read(exchange: Exchange) -> None:
        try:
            await exchange.request.read(100)
        except BaseException as error:
            failures.append(error)
            raise

    does = Does(read)
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(COUNTED + b"0123")
        await proxy.settled(lambda: proxy.plane.open_connections() == 1)
        client.reset()
        await does.completed.wait()
        await proxy.settled(lambda: len(failures) == 1)
        assert [outcome.reason for outcome in does.outcomes] == ["client_gone"]
        assert backend.connections == []


@on_the_loop
async def test_what_a_filter_reads_meanwhile_is_bounded_by_its_limit() -> None:
    """A client that sends for ever is refused at the limit, not held."""
    does = Does(reads(1 << 20, []))
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(CHUNKED)
        piece = b"%x\r\n" % (1 << 16) + bytes(1 << 16) + b"\r\n"
        for _ in range(20):
            client.send(piece)
        answer = await client.message()
        assert answer.status == 413
        assert does.outcomes[0].request_bytes < (1 << 20) + (1 << 19)


# Wraps.


def notes_on_both(request: Notes, response: Notes) -> Does:
    def ask(exchange: Exchange) -> None:
        exchange.request.wrap(request)

    def answer(exchange: Exchange, given: Response) -> Response:
        given.wrap(response)
        return given

    return Does(ask, answer)


@on_the_loop
async def test_wraps_see_whole_and_streamed_messages_alike() -> None:
    for head, rest in (
        (COUNTED + b"0123456789", b""),
        (COUNTED + b"01234", b"56789"),
        (CHUNKED, b"a\r\n0123456789\r\n0\r\n\r\n"),
    ):
        asked_, answered = Notes(), Notes()
        does = notes_on_both(asked_, answered)
        async with upstream() as backend, configured(document([backend.url]), lambda _, does=does: [does]) as proxy:
            client = await proxy.connect()
            client.send(head)
            call = await backend.accept()
            asked = await call.head()
            client.send(rest)
            assert await call.body(asked) == b"0123456789"
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwh")
            await client.head()
            assert await client.exactly(2) == b"wh"
            call.send(b"at")
            assert await client.exactly(2) == b"at"
            await does.completed.wait()
            assert b"".join(asked_.chunks) == b"0123456789" and asked_.ended == 1
            assert b"".join(answered.chunks) == b"what" and answered.ended == 1
            assert (does.outcomes[0].request_bytes, does.outcomes[0].response_bytes) == (10, 4)


@on_the_loop
async def test_a_message_without_a_body_ends_for_its_wraps_too() -> None:
    asked, answered = Notes(), Notes()
    does = notes_on_both(asked, answered)
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, request = await backend.call()
        assert request.get(b"content-length") is None and request.get(b"transfer-encoding") is None
        call.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await client.message()).status == 204
        await does.completed.wait()
        assert (asked.chunks, asked.ended, answered.chunks, answered.ended) == ([], 1, [], 1)


@on_the_loop
async def test_the_end_of_an_answer_waits_for_its_wrap() -> None:
    gate = Gate()

    def wrap(exchange: Exchange, response: Response) -> Response:
        response.wrap(gate)
        return response

    does = Does(None, wrap)
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await client.head()
        assert await client.chunk() == b"ok"
        call.send(b"0\r\n\r\n")
        await gate.reached.wait()
        assert does.outcomes == [], "the exchange is not over"
        gate.open.set()
        assert await client.chunk() == b""
        await does.completed.wait()


@on_the_loop
async def test_a_client_that_leaves_while_a_wrap_holds_the_end() -> None:
    gate = Gate()

    def wrap(exchange: Exchange, response: Response) -> Response:
        response.wrap(gate)
        return response

    does = Does(None, wrap)
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        await gate.reached.wait()
        client.reset()
        await does.completed.wait()
        assert [outcome.reason for outcome in does.outcomes] == ["client_gone"]


# Answers of filters.


@on_the_loop
async def test_a_filter_may_answer_before_the_body_has_come() -> None:
    does = Does(lambda exchange: Response(403, [(b"x-why", b"because")], content=b"no", local=True))
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(COUNTED + b"01234")
        answer = await client.message()
        assert (answer.status, answer.body, answer.get(b"x-why")) == (403, b"no", b"because")
        client.send(b"56789" + GET)
        assert (await client.message()).status == 403, "the rest was read and thrown away"
        assert backend.connections == []
        assert [outcome.status for outcome in does.outcomes] == [403, 403]


@on_the_loop
async def test_an_answer_may_be_replaced_once_its_head_is_in() -> None:
    def replace(exchange: Exchange, response: Response) -> Response:
        return Response(299, [], content=b"mine", local=True)

    does = Does(None, replace)
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        for part in OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntheirs":
            client = await proxy.connect()
            client.send(GET)
            call = backend.connections[0] if backend.connections else await backend.accept()
            await call.message()
            call.send(part)
            answer = await client.message()
            assert (answer.status, answer.body) == (299, b"mine")
        await call.gone(0.5)
