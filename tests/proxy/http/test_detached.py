"""Exchanges that outlive their client: the answer is read to its end, for the sake of the filters."""

from __future__ import annotations

from understudy.filters.api import BodyWrap, Exchange, Response

from tests.kit.acting import Does, Notes
from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
COUNTED = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"


def detached(wrap: BodyWrap | None = None) -> Does:
    def ask(exchange: Exchange) -> None:
        exchange.detach()

    def answer(exchange: Exchange, response: Response) -> Response:
        if wrap is not None:
            response.wrap(wrap)
        return response

    return Does(ask, answer)


@on_the_loop
async def test_a_detached_answer_is_read_to_its_end_though_nobody_waits() -> None:
    for when in "before the head", "mid-stream":
        notes = Notes()
        does = detached(notes)
        async with upstream() as backend, configured(document([backend.url]), lambda _, does=does: [does]) as proxy:
            client = await proxy.connect()
            client.send(COUNTED + b"0123456789")
            call, _ = await backend.call()
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
            if when == "mid-stream":
                call.send(head)
                await client.head()
                assert await client.chunk() == b"first"
            client.reset()
            await proxy.settled(lambda: proxy.plane.open_connections() == 0)
            if when == "before the head":
                call.send(head)
            size = 4 << 20
            call.send(b"%x\r\n" % size + bytes(size) + b"\r\n")
            await call.drain()
            assert does.outcomes == []
            call.send(b"0\r\n\r\n")
            await does.completed.wait()
            assert len(b"".join(notes.chunks)) == size + 5 and notes.ended == 1
            assert [outcome.status for outcome in does.outcomes] == [200]
            assert proxy.in_flight() == 0


@on_the_loop
async def test_a_detached_exchange_completes_when_its_backend_fails() -> None:
    does = detached()
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        client.reset()
        await proxy.settled(lambda: proxy.plane.open_connections() == 0)
        call.reset()
        await does.completed.wait()
        assert [outcome.reason for outcome in does.outcomes] == ["upstream_closed"]


@on_the_loop
async def test_a_detached_exchange_whose_request_is_not_whole_ends_with_its_client() -> None:
    does = detached()
    async with upstream() as backend, configured(document([backend.url]), lambda _: [does]) as proxy:
        client = await proxy.connect()
        client.send(COUNTED + b"0123")
        call = await backend.accept()
        await call.head()
        client.reset()
        await call.gone(0.5)
        await does.completed.wait()
        assert [outcome.reason for outcome in does.outcomes] == ["client_gone"]


@on_the_loop
async def test_a_detached_exchange_still_has_its_limits() -> None:
    does = detached()
    async with upstream() as backend:
        limits = {"first_byte_timeout": "300ms"}
        async with configured(document([backend.url], backend=limits), lambda _: [does]) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            client.reset()
            await call.gone(1.0)
            await does.completed.wait()
            assert [outcome.reason for outcome in does.outcomes] == ["upstream_timeout"]
