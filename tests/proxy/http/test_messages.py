"""Requests and answers through the plane, told as what stood on either wire."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream

GET = b"GET /v2/models/iris HTTP/1.1\r\nHost: model.local\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: model.local\r\nContent-Length: 5\r\n\r\n"


@on_the_loop
async def test_a_small_request_that_came_whole_leaves_in_one_write() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(POST + b"12345")
        call = await backend.accept()
        first = await call.some()
        assert first.startswith(b"POST /v2/models/iris/infer HTTP/1.1\r\n") and first.endswith(b"\r\n\r\n12345")
        call.send(OK)
        assert (await client.message()).body == b"ok"
        assert len(backend.connections) == 1


@on_the_loop
async def test_a_body_goes_on_as_it_arrives_and_the_answer_may_come_first() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(POST)
        call = await backend.accept()
        assert (await call.head()).get(b"content-length") == b"5"
        for digit in b"1", b"2":
            client.send(digit)
            assert await call.exactly(1) == digit
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsoon\r\n")
        answer = await client.head()
        assert answer.get(b"transfer-encoding") == b"chunked" and answer.get(b"content-length") is None
        assert await client.chunk() == b"soon"
        client.send(b"345")
        assert await call.exactly(3) == b"345"
        call.send(b"0\r\n\r\n")
        assert await client.chunk() == b""
        await proxy.settled(lambda: proxy.idle() == 1)
        client.send(GET)
        assert (await call.message()).line == b"GET /v2/models/iris HTTP/1.1", "both connections live on"


@on_the_loop
async def test_chunks_both_ways_keep_their_borders_lose_extensions_and_trailers() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
        call = await backend.accept()
        asked = await call.head()
        assert asked.get(b"transfer-encoding") == b"chunked"
        assert asked.get(b"content-length") is None and asked.get(b"trailer") is None
        client.send(b"3;name=value\r\nabc\r\n")
        assert await call.exactly(8) == b"3\r\nabc\r\n"
        client.send(b"0\r\nX-Sum: 1\r\n\r\n")
        assert await call.exactly(5) == b"0\r\n\r\n"
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n")
        assert (await client.head()).get(b"transfer-encoding") == b"chunked"
        assert await client.exactly(7) == b"2\r\nde\r\n"
        call.send(b"0\r\nX-Sum: 2\r\n\r\n")
        assert await client.exactly(5) == b"0\r\n\r\n"
        await proxy.settled(lambda: proxy.idle() == 1)
        client.send(GET)
        assert (await call.message()).all(b"x-sum") == []
        call.send(OK)
        assert (await client.message()).all(b"x-sum") == []


@on_the_loop
async def test_a_connection_serves_request_after_request_on_either_side() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        call = None
        for count in range(5):
            client.send(GET)
            call = call or await backend.accept()
            await call.message()
            call.send(OK.replace(b"ok", b"%02d" % count))
            assert (await client.message()).body == b"%02d" % count
        assert len(backend.connections) == 1
        assert proxy.stats().statuses == {200: 5}


@on_the_loop
async def test_pipelined_requests_are_asked_one_after_the_other_and_answered_in_order() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3)) + POST + b"12345" + GET[:20])
        call = await backend.accept()
        for n in range(3):
            assert (await call.message()).line == b"GET /%d HTTP/1.1" % n
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
        assert (await call.message()).body == b"12345"
        call.send(OK)
        client.send(GET[20:])
        await call.message()
        call.send(OK)
        assert [(await client.message()).body for _ in range(5)] == [b"0", b"1", b"2", b"ok", b"ok"]


@on_the_loop
async def test_what_waits_behind_an_answer_is_bounded() -> None:
    """Pipelined bytes wait for their turn: past 64 KiB, and what the kernel holds, the client is not read any more."""
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call = await backend.accept()
        await call.message()
        client.writer.transport.set_write_buffer_limits(high=0)
        client.send(GET * 200_000)
        left = client.writer.transport.get_write_buffer_size()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.writer.drain()
        assert 0 < client.writer.transport.get_write_buffer_size() <= left
        call.send(OK)
        assert (await client.message()).body == b"ok"
        assert (await call.message()).line.startswith(b"GET ")


@on_the_loop
async def test_head_no_content_and_not_modified_have_no_body() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET.replace(b"GET", b"HEAD"))
        call, asked = await backend.call()
        assert asked.line.startswith(b"HEAD ")
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        answer = await client.message(head_only=True)
        assert answer.get(b"content-length") == b"1234"

        client.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        answer = await client.message()
        assert (answer.status, answer.get(b"content-length"), answer.get(b"transfer-encoding")) == (204, None, None)

        client.send(GET)
        await call.message()
        call.send(b'HTTP/1.1 304 Not Modified\r\nETag: "7"\r\nContent-Length: 99\r\n\r\n')
        answer = await client.message()
        assert (answer.status, answer.get(b"etag"), answer.get(b"content-length")) == (304, b'"7"', b"99")

        client.send(GET)
        await call.message()
        call.send(OK)
        assert (await client.message()).body == b"ok", "nothing was left of the answers before"


@on_the_loop
async def test_a_streamed_answer_to_head_is_a_head_alone() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET.replace(b"GET", b"HEAD") + GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = await client.message(head_only=True)
        assert (answer.status, answer.get(b"content-length")) == (200, None)
        call, asked = await backend.call()
        assert asked.line.startswith(b"GET ")
        call.send(OK)
        assert (await client.message()).body == b"ok"


@on_the_loop
async def test_answers_carry_a_date_the_backends_own_where_it_sent_one() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET + GET)
        call, _ = await backend.call()
        call.send(OK)
        date = (await client.message()).get(b"date")
        assert date is not None and date.endswith(b" GMT")
        await call.message()
        call.send(OK.replace(b"\r\n\r\n", b"\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\n\r\n"))
        assert (await client.message()).get(b"date") == b"Tue, 01 Jan 2030 00:00:00 GMT"


@on_the_loop
async def test_http_1_0_closes_unless_it_asks_to_keep_the_connection() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            call = backend.connections[0] if backend.connections else await backend.accept()
            assert (await call.message()).line == b"GET / HTTP/1.1"
            call.send(OK)
            answer = await client.message()
            assert answer.get(b"connection") == b"keep-alive" and answer.body == b"ok"
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        asked = await call.message()
        assert asked.get(b"host") == backend.url.removeprefix("http://").encode(), "it sent no Host of its own"
        call.send(OK)
        assert (await client.message()).get(b"connection") == b"close"
        assert await client.rest() == b""


@on_the_loop
async def test_http_1_0_gets_no_chunks_and_no_interim_answers() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        answer = await client.head()
        assert answer.status == 200
        assert answer.get(b"transfer-encoding") is None and answer.get(b"connection") == b"close"
        assert await client.exactly(3) == b"abc"
        call.send(b"3\r\ndef\r\n0\r\n\r\n")
        assert await client.rest() == b"def", "its end is the connection's"


@on_the_loop
async def test_interim_answers_reach_an_http_1_1_client() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Hop: 1\r\nConnection: x-hop\r\n\r\n")
        early = await client.head()
        assert (early.status, early.get(b"link"), early.get(b"x-hop")) == (103, b"</a>", None)
        call.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert (await client.head()).status == 102
        call.send(OK)
        assert (await client.message()).body == b"ok"


@on_the_loop
async def test_an_answer_that_ends_with_its_connection_is_passed_on_in_chunks() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        assert (await client.head()).get(b"transfer-encoding") == b"chunked"
        assert await client.chunk() == b"abc"
        call.send(b"def")
        assert await client.chunk() == b"def"
        call.close()
        assert await client.chunk() == b""
        client.send(GET)
        again, _ = await backend.call()
        again.send(OK)
        assert (await client.message()).body == b"ok"


@on_the_loop
async def test_events_pass_one_by_one() -> None:
    """No event waits for the next: each is read by the client before the backend sends another."""
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await client.head()).get(b"content-type") == b"text/event-stream"
        for count in range(50):
            event = b"data: token %d\n\n" % count
            call.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert await client.chunk() == event
        call.send(b"0\r\n\r\n")
        assert await client.chunk() == b""


@on_the_loop
async def test_an_early_answer_ends_the_upload() -> None:
    """A backend that answers before it has read the whole body is believed; its connection is not used again."""
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(POST + b"12")
        call = await backend.accept()
        await call.head()
        call.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.message()).status == 413
        await call.gone()
        client.send(b"345" + GET)
        again, asked = await backend.call()
        assert asked.line.startswith(b"GET "), "the rest of the upload was read and thrown away"
        again.send(OK)
        assert (await client.message()).body == b"ok"


@pytest.mark.parametrize("ending", [b"Connection: close\r\n", b""])
@on_the_loop
async def test_connection_close_is_honoured_on_either_side(ending: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET.replace(b"\r\n\r\n", b"\r\n" + ending + b"\r\n"))
        call, asked = await backend.call()
        assert asked.get(b"connection") is None, "the client's wish concerns its own connection"
        call.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = await client.message()
        assert answer.get(b"connection") == (b"close" if ending else None)
        await call.gone(0.5)
        if ending:
            assert await client.rest() == b""
        else:
            client.send(GET)
            again, _ = await backend.call()
            again.send(OK)
            assert (await client.message()).body == b"ok"
