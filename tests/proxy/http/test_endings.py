"""How exchanges end: every limit in time, every side that leaves, and what is given back then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.kit.configured import configured, document
from tests.kit.conversation import Peer, on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun"
CANCELLED_WITHIN_S = 0.1
LATE_S = 1.0  # a machine that is busy with something else; a tick early is in the bounds below
"""Two ticks of the wheel, and a busy machine."""


async def timed(awaited: Awaitable[Any]) -> tuple[float, Any]:
    """How long it took, and the result."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    result = await awaited
    return loop.time() - began, result


@on_the_loop
async def test_no_answer_in_time() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"first_byte_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            took, answer = await timed(client.message())
            assert answer.status == 504 and b'"upstream_timeout"' in answer.body
            assert 0.2 < took < 0.3 + LATE_S
            await call.gone()
            client.send(GET)
            again, _ = await backend.call()
            again.send(OK)
            assert (await client.message()).body == b"ok", "the client's connection lives on"


@on_the_loop
async def test_no_limit_ends_early() -> None:
    """Deadlines are counted from the wheel's last tick, which may be one tick old."""
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"first_byte_timeout": "100ms"})) as proxy:
            client = await proxy.connect()
            for n in range(8):
                ticked = asyncio.Event()
                asyncio.get_running_loop().call_later(0.007 * n, ticked.set)
                await ticked.wait()
                client.send(GET)
                took, answer = await timed(client.message())
                assert answer.status == 504 and 0.1 <= took < 0.1 + LATE_S


@on_the_loop
async def test_a_stream_that_stalls_is_cut_and_one_that_moves_is_not() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"idle_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            call.send(BEGUN)
            await client.head()
            assert await client.chunk() == b"begun"
            loop = asyncio.get_running_loop()
            ticked = asyncio.Event()
            for _ in range(5):
                loop.call_later(0.12, ticked.set)
                await ticked.wait()
                ticked.clear()
                call.send(b"1\r\n.\r\n")
                assert await client.chunk() == b"."
            took, rest = await timed(client.gone())
            assert rest == b"", "no last chunk"
            assert 0.2 < took < 0.3 + LATE_S
            await call.gone()
            assert proxy.stats().reasons == {"upstream_timeout": 1} and proxy.stats().statuses == {200: 1}


@pytest.mark.parametrize(
    ("backend_limit", "route_limit"),
    [({"total_timeout": "300ms"}, {}), ({}, {"timeout": "300ms"}), ({"total_timeout": "300ms"}, {"timeout": "5s"})],
)
@on_the_loop
async def test_the_whole_time_is_over(backend_limit: dict[str, str], route_limit: dict[str, str]) -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend=backend_limit, route=route_limit)) as proxy:
            waiting, streaming = await proxy.connect(), await proxy.connect()
            waiting.send(GET)
            quiet, _ = await backend.call()
            streaming.send(GET)
            call, _ = await backend.call()
            call.send(BEGUN)
            await streaming.head()
            await streaming.chunk()
            took, answer = await timed(waiting.message())
            assert answer.status == 504 and took < 0.3 + LATE_S
            assert await streaming.gone() == b""
            await quiet.gone()
            await call.gone()


@on_the_loop
async def test_a_body_that_stalls_is_a_408() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"body_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(UPLOAD)
            call = await backend.accept()
            await call.head()
            took, answer = await timed(client.message())
            assert answer.status == 408 and b'"client_timeout"' in answer.body
            assert 0.2 < took < 0.3 + LATE_S
            await call.gone()
            assert await client.rest() == b""


@on_the_loop
async def test_a_head_that_stalls_is_a_408_and_an_idle_connection_is_closed_without_a_word() -> None:
    listener = {"head_timeout": "300ms", "idle_timeout": "300ms"}
    async with upstream() as backend, configured(document([backend.url], listener=listener)) as proxy:
        silent, slow, idle = await proxy.connect(), await proxy.connect(), await proxy.connect()
        slow.send(GET[:10])
        idle.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        await idle.message()
        assert await silent.rest() == b""
        answer = await slow.message()
        assert answer.status == 408 and await slow.rest() == b""
        assert await idle.rest() == b""


@on_the_loop
async def test_a_client_that_takes_nothing_of_its_answer_is_given_up() -> None:
    """Back-pressure holds the backend back; a client that takes no byte for idle_timeout lets it go."""
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"idle_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises(ConnectionError):
                for _ in range(1 << 10):
                    call.send(bytes(1 << 16))
                    await call.drain()
            assert proxy.stats().reasons == {"client_timeout": 1}
            assert [each.reason for each in proxy.plane.stats.records.take()[0]] == ["client_timeout"]


# Clients that leave.


@on_the_loop
async def test_a_client_that_leaves_while_it_waits() -> None:
    for leave in Peer.reset, Peer.close, Peer.finish:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            leave(client)
            took, _ = await timed(call.gone())
            assert took < CANCELLED_WITHIN_S
            await proxy.settled(lambda: proxy.in_flight() == 0)
            assert proxy.stats().reasons == {"client_gone": 1}
            assert len(proxy.plane.stats.records) == 0, "no failure to look at"


@on_the_loop
async def test_a_client_that_leaves_mid_stream() -> None:
    for leave in Peer.reset, Peer.close, Peer.finish:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            call.send(BEGUN)
            await client.head()
            await client.chunk()
            leave(client)
            took, _ = await timed(call.gone())
            assert took < CANCELLED_WITHIN_S


@on_the_loop
async def test_a_client_that_leaves_mid_upload() -> None:
    for leave in Peer.reset, Peer.close, Peer.finish:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(UPLOAD)
            call = await backend.accept()
            await call.head()
            assert await call.exactly(5) == b"begun"
            leave(client)
            took, rest = await timed(call.gone())
            assert took < CANCELLED_WITHIN_S
            assert rest == b""


@on_the_loop
async def test_a_client_that_leaves_while_it_is_held_back() -> None:
    """The backend reads nothing, so the client is not read either: its reset must be noticed all the same."""
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        call = await backend.accept()
        await call.head()
        call.reader._transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    client.send(bytes(1 << 16))
                    await client.writer.drain()
        client.reset()
        await proxy.settled(lambda: proxy.in_flight() == 0, within_s=1.0)


@on_the_loop
async def test_half_close_may_be_an_end_of_asking_only() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"half_close": "answer"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            client.finish()
            call.send(BEGUN)
            answer = await client.head()
            assert await client.chunk() == b"begun"
            call.send(b"0\r\n\r\n")
            assert await client.chunk() == b""
            assert answer.status == 200 and await client.rest() == b""


@pytest.mark.parametrize("requests", [1, 2])
@on_the_loop
async def test_a_reset_behind_a_half_close_is_noticed_at_any_request(requests: int) -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"half_close": "answer"})) as proxy:
            client = await proxy.connect()
            client.send(GET * requests)
            client.finish()
            call, _ = await backend.call()
            for _ in range(requests - 1):
                call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await client.message()
                await call.message()
            client.reset()
            await call.gone(1.0)


@on_the_loop
async def test_a_backend_that_breaks_off_mid_body_is_cut_without_a_last_chunk() -> None:
    for part in BEGUN, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun":
        for leave in Peer.reset, Peer.close:
            async with upstream() as backend, configured(document([backend.url])) as proxy:
                client = await proxy.connect()
                client.send(GET)
                call, _ = await backend.call()
                call.send(part)
                await client.head()
                leave(call)
                rest = await client.gone()
                assert b"0\r\n\r\n" not in rest and b"HTTP/1.1" not in rest
                assert proxy.stats().reasons == {"truncated": 1}


@on_the_loop
async def test_a_backend_that_answers_before_it_has_read_all_is_not_asked_again_on_that_connection() -> None:
    """The request was written whole, but its end waits in the proxy: what followed would wait behind it."""
    body = bytes(6 * 1024 * 1024)
    held_whole = {"rewrite": {"json": {"model": "next"}, "max_body": "8MiB"}, "keep_alive": "30s"}
    async with upstream() as backend, configured(document([backend.url], backend=held_whole)) as proxy:
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: x/y\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        call = await backend.accept()
        await call.head()
        call.send(OK)
        assert (await client.message()).body == b"ok"
        await proxy.settled(lambda: proxy.connections() == 0)
        client.send(GET)
        fresh, _ = await backend.call()
        fresh.send(OK)
        assert (await client.message()).body == b"ok"
