"""Connections to the admin API are bounded in life and number, by a server in this process and a clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from understudy.config.schema import AdminPart
from understudy.proxy.admin.server import LIFE_S, MAX_CONNECTIONS, AdminServer

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def serving(scenario: Callable[[AdminServer], Awaitable[None]]) -> None:
    async def main() -> None:
        server = AdminServer(cast(Any, None), AdminPart(bind="127.0.0.1:0"), "/")
        await server.start()
        try:
            async with asyncio.timeout(20):
                await scenario(server)
        finally:
            await server.stop()

    asyncio.run(main())


async def connect(server: AdminServer, sent: bytes = GET) -> Connection:
    host, port = server.bound["admin"].sock.getsockname()
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(sent)
    if sent == GET:
        assert (await reader.readuntil(b"}\n")).startswith(b"HTTP/1.1 200 ")
    return reader, writer


async def ended(connection: Connection) -> bool:
    reader, writer = connection
    rest = await reader.read()
    writer.close()
    return b"200" not in rest


@pytest.mark.parametrize("sent", [GET, b"GET /livez HTTP/1.1\r\nHost: loc"])
def test_a_connection_ends_when_its_time_is_over_be_it_idle_or_in_a_head(sent: bytes) -> None:
    async def scenario(server: AdminServer) -> None:
        old = await connect(server, sent)
        server.tick(0.0)
        young = await connect(server)
        server.tick(LIFE_S)
        young[1].write(GET)
        assert (await young[0].readuntil(b"}\n")).startswith(b"HTTP/1.1 200 ")
        server.tick(LIFE_S + 1)
        assert await ended(old)
        server.tick(2 * LIFE_S + 1)
        assert await ended(young)

    serving(scenario)


def test_past_the_limit_the_oldest_connections_end() -> None:
    async def scenario(server: AdminServer) -> None:
        first = await connect(server)
        server.tick(0.0)
        others = [await connect(server) for _ in range(MAX_CONNECTIONS)]
        server.tick(1.0)
        assert await ended(first)
        others[0][1].write(GET)
        assert (await others[0][0].readuntil(b"}\n")).startswith(b"HTTP/1.1 200 ")
        for _, writer in others:
            writer.close()

    serving(scenario)
