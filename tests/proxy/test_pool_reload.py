"""What a reload means for those that wait: they are sent as they began, and have the room that it makes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from understudy.filters.api import Exchange

from tests.kit.acting import Does
from tests.kit.configured import Build, Proxy, configured, document, snapshot_of
from tests.kit.conversation import Peer, Upstream, on_the_loop, upstream
from tests.kit.shadows import ok

POST = b"POST /m HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def version(backend: Upstream, number: str, **options: Any) -> str:
    """A configuration in which the backend has this version, and a path of its own for it."""
    rewrite = {"path": {"prefix": "/m", "to": f"/models/{number}"}}
    return document([backend.url], backend={"version": number, "rewrite": rewrite, **options})


async def ask(proxy: Proxy) -> Peer:
    client = await proxy.connect()
    client.send(POST)
    return client


def pending(proxy: Proxy) -> int:
    return proxy.plane.gauges().pools[0].pending


@on_the_loop
async def test_what_waits_for_a_connection_is_sent_and_counted_as_it_began() -> None:
    async with upstream() as backend, configured(version(backend, "7", max_connections=1)) as proxy:
        first = await ask(proxy)
        call, asked = await backend.call()
        assert asked.line == b"POST /models/7 HTTP/1.1"
        second = await ask(proxy)
        await proxy.settled(lambda: pending(proxy) == 1)
        proxy.plane.apply(snapshot_of(version(backend, "8", max_connections=1), proxy.plane))
        third = await ask(proxy)
        await proxy.settled(lambda: pending(proxy) == 2)
        sent = []
        for client in first, second, third:
            call.send(ok())
            assert (await client.message()).status == 200
            if client is not third:
                sent.append((await call.message()).line)
        assert sent == [b"POST /models/7 HTTP/1.1", b"POST /models/8 HTTP/1.1"]
        assert proxy.stats(version="7").statuses == {200: 2}
        assert proxy.stats(version="8").statuses == {200: 1}


@on_the_loop
async def test_what_waits_in_a_filter_is_sent_and_counted_as_it_began() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        entered.set()
        await go.wait()

    build: Build = lambda _: [Does(on_request=waits)]  # noqa: E731
    async with upstream() as backend, configured(version(backend, "7"), build) as proxy:
        client = await ask(proxy)
        await entered.wait()
        proxy.plane.apply(snapshot_of(version(backend, "8"), proxy.plane, build))
        go.set()
        call, asked = await backend.call()
        assert asked.line == b"POST /models/7 HTTP/1.1"
        call.send(ok())
        assert (await client.message()).status == 200
        assert (proxy.stats(version="7").statuses, proxy.stats(version="8").statuses) == ({200: 1}, {})


@pytest.mark.parametrize(("limit", "left"), [(3, 1), (0, 0)])
@on_the_loop
async def test_a_reload_that_allows_more_connections_wakes_as_many_as_wait_for_one(limit: int, left: int) -> None:
    async with upstream() as backend, configured(version(backend, "7", max_connections=1)) as proxy:
        clients = [await ask(proxy)]
        calls = [(await backend.call())[0]]
        for number in 1, 2, 3:
            clients.append(await ask(proxy))
            await proxy.settled(lambda: pending(proxy) == number)  # noqa: B023
        proxy.plane.apply(snapshot_of(version(backend, "7", max_connections=limit), proxy.plane))
        assert pending(proxy) == left
        calls += [(await backend.call())[0] for _ in range(3 - left)]
        for call in calls:
            call.send(ok())
        for client in clients[: 4 - left]:
            assert (await client.message()).body == b"ok"


@on_the_loop
async def test_a_reload_that_adds_an_endpoint_wakes_who_waits_for_a_connection() -> None:
    async with upstream() as old, upstream() as new:
        async with configured(document([old.url], backend={"max_connections": 1})) as proxy:
            await ask(proxy)
            await old.call()
            second = await ask(proxy)
            await proxy.settled(lambda: pending(proxy) == 1)
            text = document([old.url, new.url], backend={"max_connections": 1})
            proxy.plane.apply(snapshot_of(text, proxy.plane))
            call, _ = await new.call()
            call.send(ok(b"new"))
            assert (await second.message()).body == b"new"
