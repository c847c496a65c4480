"""Once an answer is settled nothing else is sent, and what filters put in place is framed as it is."""

from __future__ import annotations

import asyncio

from understudy.filters.api import BodyWrap, Exchange, Filter, Response

from tests.kit.configured import configured, document, snapshot_of
from tests.kit.conversation import on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
EMPTY_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def passed(seconds: float) -> None:
    """This much time went by."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


class Slow(Filter):
    """Takes its time over requests and answers, and notes the statuses it saw."""

    def __init__(self, request_s: float = 0.0, response_s: float = 0.0, read: bool = False) -> None:
        self.request_s, self.response_s, self.read = request_s, response_s, read
        self.statuses: list[int] = []

    async def on_request(self, exchange: Exchange) -> None:
        if self.read:
            await exchange.request.read(100)
        if self.request_s:
            await passed(self.request_s)

    async def on_response(self, exchange: Exchange, response: Response) -> Response:
        self.statuses.append(response.status)
        await passed(self.response_s)
        return response


@on_the_loop
async def test_nothing_is_sent_for_a_request_whose_filter_was_too_slow() -> None:
    slow = Slow(request_s=0.3, response_s=0.4)
    async with upstream() as backend:
        async with configured(document([backend.url], route={"timeout": "150ms"}), lambda _: [slow]) as proxy:
            client = await proxy.connect()
            client.send(EMPTY_POST)
            assert (await client.message()).status == 504
            assert slow.statuses == [504] and backend.connections == []


@on_the_loop
async def test_an_answer_is_shown_to_filters_once() -> None:
    slow = Slow(response_s=0.2, read=True)
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"body_timeout": "200ms"}), lambda _: [slow]) as proxy:
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
            received = await client.gone()
            assert received.startswith(b"HTTP/1.1 408 ") and received.count(b"HTTP/1.1") == 1
            assert slow.statuses == [408]


@on_the_loop
async def test_a_waiting_request_outlives_its_backend() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"max_connections": 1})) as proxy:
            first, second = await proxy.connect(), await proxy.connect()
            first.send(GET)
            call, _ = await backend.call()
            second.send(GET)
            pool = proxy.plane.pools["stable"]
            await proxy.settled(lambda: len(pool._waiting) == 1)
            proxy.plane.apply(snapshot_of(document([backend.url]).replace("stable", "other"), proxy.plane))
            call.send(OK)
            assert (await first.message()).status == 200
            again, _ = await backend.call()
            again.send(OK)
            assert (await second.message()).status == 200


@on_the_loop
async def test_a_304_has_no_body_whatever_a_wrap_adds() -> None:
    class Adds(BodyWrap):
        def end(self) -> bytes:
            return b"HTTP/1.1 200 OK\r\n"

    class Wraps(Filter):
        def on_response(self, exchange: Exchange, response: Response) -> Response:
            response.wrap(Adds())
            return response

    async with upstream() as backend, configured(document([backend.url]), lambda s: [Wraps(None, s)]) as proxy:
        client = await proxy.connect()
        for _ in range(2):
            client.send(GET)
            call = backend.connections[0] if backend.connections else await backend.accept()
            await call.message()
            call.send(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n")
            assert (await client.message()).status == 304
        client.finish()
        assert await client.rest() == b""


@on_the_loop
async def test_content_that_a_filter_put_in_place_is_framed_as_it_is() -> None:
    class Replaces(Filter):
        def on_request(self, exchange: Exchange) -> None:
            exchange.request.content = b"xxGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

        def on_response(self, exchange: Exchange, response: Response) -> Response:
            response.content = b"longer than it was"
            return response

    async with upstream() as backend, configured(document([backend.url]), lambda s: [Replaces(None, s)]) as proxy:
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
        call, asked = await backend.call()
        assert asked.body == b"xxGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        call.send(OK)
        assert (await client.message()).body == b"longer than it was"


@on_the_loop
async def test_strangers_do_not_say_where_they_came_through() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /evil\r\nX-Real-Ip: 1.2.3.4\r\n\r\n")
        _, asked = await backend.call()
        assert asked.get(b"x-forwarded-prefix") is None and asked.get(b"x-real-ip") is None


@on_the_loop
async def test_a_request_waits_no_longer_than_for_an_answer() -> None:
    limits = {"max_connections": 1, "first_byte_timeout": "300ms"}
    async with upstream() as backend, configured(document([backend.url], backend=limits)) as proxy:
        first, second = await proxy.connect(), await proxy.connect()
        first.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await first.head()
        second.send(GET)
        answer = await second.message()
        assert answer.status == 503 and b'"overloaded"' in answer.body


@on_the_loop
async def test_a_client_that_ended_its_asking_gets_every_answer() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"half_close": "answer"})) as proxy:
            client = await proxy.connect()
            client.send(GET + GET)
            call, _ = await backend.call()
            client.finish()
            call.send(OK)
            await call.message()
            call.send(OK)
            assert (await client.rest()).count(b"HTTP/1.1 200") == 2
