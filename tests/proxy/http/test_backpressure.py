"""Whoever is slow slows the other side down: what the plane holds is bounded, whatever passes."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.configured import configured, document
from tests.kit.conversation import Peer, on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1024 * 1024
SIZE = 64 * MIB
KERNEL = 24 * MIB
"""More than what two pairs of loopback sockets and the ends of the test hold by themselves."""
STALLED_S = 0.25


async def pour(peer: Peer, size: int) -> int:
    """Write until the other side takes no more; how much was written by then."""
    peer.writer.transport.set_write_buffer_limits(high=MIB)
    piece = bytes(256 * 1024)
    poured = 0
    while poured < size:
        peer.send(piece)
        poured += len(piece)
        try:
            async with asyncio.timeout(STALLED_S):
                await peer.writer.drain()
        except TimeoutError:
            break
    return poured


async def pour_rest(peer: Peer, size: int, *, close: bool = False) -> None:
    piece = bytes(256 * 1024)
    for _ in range(size // len(piece)):
        peer.send(piece)
        await peer.writer.drain()
    if close:
        peer.close()


@on_the_loop
async def test_a_slow_backend_slows_an_upload() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
        call = await backend.accept()
        await call.head()
        poured = await pour(client, SIZE)
        assert poured < KERNEL, "nobody read it, so somebody holds it"
        await asyncio.gather(pour_rest(client, SIZE - poured), call.exactly(SIZE))
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await client.message()).status == 200


@pytest.mark.parametrize("framing", ["counted", "until close"])
@on_the_loop
async def test_a_slow_client_slows_an_answer(framing: str) -> None:
    counted = framing == "counted"
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(b"HTTP/1.1 200 OK\r\n%b\r\n" % (b"Content-Length: %d\r\n" % SIZE if counted else b""))
        poured = await pour(call, SIZE)
        assert poured < KERNEL, "nobody read it, so somebody holds it"
        answer = await client.head()
        _, body = await asyncio.gather(pour_rest(call, SIZE - poured, close=not counted), client.body(answer))
        assert len(body) == SIZE


@on_the_loop
async def test_a_client_that_reads_nothing_is_not_served_all_that_it_pipelined() -> None:
    """Each answer alone is small; what is not taken yet of one answer holds back the next request."""
    size, asked = 200 * 1024, 500
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    async with upstream() as backend, configured(document([backend.url], backend={"keep_alive": "30s"})) as proxy:
        client = await proxy.connect()
        client.send(GET * asked)
        call = await backend.accept()
        served = 0
        while served < asked:
            try:
                async with asyncio.timeout(STALLED_S):
                    await call.reader.readuntil(b"\r\n\r\n")
            except TimeoutError:
                break
            call.send(answer)
            served += 1
        assert served * size < KERNEL, "nobody read it, so somebody holds it"

        async def serve_rest() -> None:
            for _ in range(asked - served):
                await call.message()
                call.send(answer)

        async def read_all() -> None:
            for _ in range(asked):
                assert len((await client.message()).body) == size

        await asyncio.gather(serve_rest(), read_all())


@on_the_loop
async def test_nor_is_it_given_more_local_answers_than_it_takes() -> None:
    """A refusal is many times as long as a request, and needs no backend that could be slow."""
    asked = 200_000
    async with configured(document(["http://127.0.0.1:9"], route={"match": {"path_prefix": "/v2"}})) as proxy:
        client = await proxy.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(GET * asked)
        await proxy.settled(lambda: bool(proxy.stats("", "").statuses))
        answered = proxy.stats("", "").statuses
        before = -1
        while before != answered.get(404, 0):
            before = answered.get(404, 0)
            waited = asyncio.Event()
            asyncio.get_running_loop().call_later(STALLED_S, waited.set)
            await waited.wait()
        assert 0 < answered[404] < asked // 2
