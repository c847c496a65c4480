"""Upgrade: WebSocket by the real `websockets` on either side, and the switch itself byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from tests.kit.configured import Proxy, configured, document
from tests.kit.conversation import WITHIN_S, on_the_loop, soon, upstream

ASK = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@asynccontextmanager
async def sockets(
    handler: Callable[[ServerConnection], Awaitable[None]] = echo, **options: Any
) -> AsyncIterator[tuple[Proxy, str]]:
    """A WebSocket server behind the proxy, and the URL in front of it."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with configured(document([f"http://127.0.0.1:{port}"])) as proxy:
            yield proxy, "ws://{}:{}/chat".format(*proxy.addresses["ingress"])


def dial(url: str, **options: Any) -> connect:
    return connect(url, open_timeout=WITHIN_S, close_timeout=WITHIN_S, proxy=None, **options)


@pytest.mark.parametrize("compression", ["deflate", None])
@on_the_loop
async def test_messages_of_every_size_come_back(compression: str | None) -> None:
    async with sockets(max_size=None, compression=compression) as (proxy, url):
        async with dial(url, max_size=None, compression=compression) as client:
            for message in "text", b"bytes", "", b"x" * 125, b"x" * 126, b"x" * 65_536, b"x" * (5 << 20):
                await client.send(message)
                assert await soon(client.recv()) == message
            await soon(await client.ping())
        await proxy.settled(lambda: proxy.in_flight() == 0)
        assert proxy.stats().statuses == {101: 1}


@on_the_loop
async def test_the_closing_handshake_is_between_the_two_ends() -> None:
    async def leave(socket: ServerConnection) -> None:
        assert await socket.recv() == "bye"
        await socket.close(4001, "see you")

    async with sockets(leave) as (proxy, url), dial(url) as client:
        await client.send("bye")
        with pytest.raises(ConnectionClosedError) as closed:
            await soon(client.recv())
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "see you")
        await proxy.settled(lambda: proxy.in_flight() == 0)
        assert proxy.stats().reasons == {}, "a socket that was closed in order is no failure"


@on_the_loop
async def test_a_server_may_refuse_the_upgrade() -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(HTTPStatus.UNAUTHORIZED, "who are you?\n")

    async with sockets(process_request=refuse) as (proxy, url):
        with pytest.raises(InvalidStatus) as refused:
            await soon(dial(url).__aenter__())
        assert refused.value.response.status_code == 401
        assert refused.value.response.body == b"who are you?\n"
        assert proxy.stats().statuses == {401: 1}


@on_the_loop
async def test_headers_and_the_subprotocol_reach_the_server() -> None:
    seen: list[Request] = []

    def note(socket: ServerConnection, request: Request) -> None:
        seen.append(request)

    async with sockets(process_request=note, subprotocols=["v2.infer"]) as (_, url):
        async with dial(url, subprotocols=["v1.infer", "v2.infer"], additional_headers={"X-User": "7"}) as client:
            assert client.subprotocol == "v2.infer"
            assert client.response is not None and client.response.headers["X-Request-Id"]
    assert seen[0].headers["X-User"] == "7"
    assert seen[0].headers["X-Forwarded-For"] == "127.0.0.1"
    assert seen[0].headers["Via"] == "1.1 understudy"


@on_the_loop
async def test_a_client_that_vanishes_is_told_to_the_server() -> None:
    told = asyncio.Event()

    async def wait(socket: ServerConnection) -> None:
        with pytest.raises((ConnectionClosedError, ConnectionClosedOK)):
            await socket.recv()
        told.set()

    async with sockets(wait) as (proxy, url):
        client: ClientConnection = await soon(dial(url).__aenter__())
        client.transport.abort()
        await soon(told.wait(), 0.1 + 0.4)
        await proxy.settled(lambda: proxy.in_flight() == 0)


@on_the_loop
async def test_the_switch_byte_by_byte() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(ASK + b"early")
        call, asked = await backend.call()
        assert (asked.get(b"connection"), asked.get(b"upgrade")) == (b"upgrade", b"echo/1")
        call.send(SWITCH + b"first")
        answer = await client.head()
        assert answer.line == b"HTTP/1.1 101 Switching Protocols"
        assert (answer.get(b"connection"), answer.get(b"upgrade")) == (b"upgrade", b"echo/1")
        assert answer.get(b"transfer-encoding") is None and answer.get(b"content-length") is None
        assert await client.exactly(5) == b"first"
        assert await call.exactly(5) == b"early"
        for n in range(3):
            client.send(b"\x00\xff\r\n\r\n%d" % n)
            assert await call.exactly(7) == b"\x00\xff\r\n\r\n%d" % n
            call.send(b"HTTP/1.1 200 OK\r\n\r\n%d" % n)
            assert await client.exactly(20) == b"HTTP/1.1 200 OK\r\n\r\n%d" % n
        client.finish()
        assert await call.rest() == b""
        call.send(b"last words")
        call.close()
        assert await client.rest() == b"last words"


@on_the_loop
async def test_no_tunnel_before_the_backends_101() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(ASK + ASK.replace(b"/chat", b"/next"))
        call, asked = await backend.call()
        assert asked.line == b"GET /chat HTTP/1.1"
        call.send(OK)
        assert (await client.message()).body == b"ok"
        call, asked = (call, await call.message()) if len(backend.connections) == 1 else await backend.call()
        assert asked.line == b"GET /next HTTP/1.1", "what stood behind was a request all the time"
        call.send(OK)
        assert (await client.message()).body == b"ok"


@on_the_loop
async def test_a_switch_that_nobody_asked_for_is_a_502() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        for asked in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ASK.replace(b"Connection: Upgrade\r\n", b""):
            client = await proxy.connect()
            client.send(asked)
            call, request = await backend.call()
            assert request.get(b"upgrade") is None
            call.send(SWITCH)
            answer = await client.message()
            assert answer.status == 502 and b'"upstream_protocol"' in answer.body
            await call.gone()


@on_the_loop
async def test_a_tunnel_that_is_silent_ends_and_one_side_that_talks_keeps_it() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"idle_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(ASK)
            call, _ = await backend.call()
            call.send(SWITCH)
            await client.head()
            tick = asyncio.Event()
            for _ in range(4):
                asyncio.get_running_loop().call_later(0.12, tick.set)
                await soon(tick.wait())
                tick.clear()
                client.send(b".")
                assert await call.exactly(1) == b"."
            await call.gone(1.0)
            await client.gone(1.0)
            assert proxy.stats().reasons == {"upstream_timeout": 1}


@on_the_loop
async def test_a_slow_reader_slows_the_other_side_of_a_tunnel() -> None:
    size = 48 << 20
    for towards_client in True, False:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(ASK)
            call, _ = await backend.call()
            call.send(SWITCH)
            await client.head()
            writer, reader = (call, client) if towards_client else (client, call)
            writer.writer.transport.set_write_buffer_limits(high=1 << 20)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < size:
                    writer.send(bytes(1 << 18))
                    sent += 1 << 18
                    async with asyncio.timeout(0.25):
                        await writer.writer.drain()
            assert sent < size // 2
            assert len(await reader.exactly(sent)) == sent
