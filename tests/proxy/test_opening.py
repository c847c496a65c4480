"""Connections that are being opened: clients that come and go make no more of them, and what was begun is used."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from tests.kit.configured import Proxy, configured, document
from tests.kit.conversation import Peer, Upstream, on_the_loop, upstream
from tests.kit.shadows import Stage, mirroring, ok, post

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENT = {"connect_timeout": "5s", "keep_alive": "30s"}


class Hole:
    """An address that takes no connection, since the kernel's queue for it is full, until it is opened."""

    def __enter__(self) -> Hole:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.sock.setblocking(False)
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self._fillers = [socket.socket() for _ in range(2)]
        for filler in self._fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(self.sock.getsockname())
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (*self._fillers, self.sock):
            sock.close()

    async def open(self, backend: Upstream) -> asyncio.Server:
        """Let this backend accept what comes."""
        for filler in self._fillers:
            filler.close()
        with suppress(BlockingIOError):
            while True:
                self.sock.accept()[0].close()
        return await asyncio.start_server(backend.accepted, sock=self.sock)


async def ask(proxy: Proxy) -> Peer:
    client = await proxy.connect()
    client.send(GET)
    return client


def connecting(proxy: Proxy) -> int:
    return proxy.plane.gauges().pools[0].connecting


async def comes_and_goes(proxy: Proxy) -> None:
    """A client for whom a connection is being opened, and who leaves before it is there."""
    client = await ask(proxy)
    await proxy.settled(lambda: proxy.in_flight() > 0)
    client.reset()
    await proxy.settled(lambda: proxy.in_flight() == 0)


@on_the_loop
async def test_clients_that_come_and_go_leave_no_more_connects_behind_than_there_may_be_calls() -> None:
    with Hole() as hole:
        async with configured(document([hole.url], backend={"max_in_flight": 2})) as proxy:
            for _ in range(20):
                one, other = await ask(proxy), await ask(proxy)
                await proxy.settled(lambda: proxy.plane.pools["stable"].in_flight == 2)
                assert 1 <= connecting(proxy) <= 2
                one.reset()
                other.reset()
                await proxy.settled(lambda: proxy.in_flight() == 0)


@on_the_loop
async def test_copies_that_are_given_up_leave_no_more_connects_behind_than_their_budget() -> None:
    with Hole() as hole:
        async with mirroring(url=hole.url, budget={"requests": 2}) as stage:
            for _ in range(20):
                await _left_while_copied(stage)
                (target,) = stage.lane.pool.targets
                assert target.connecting <= 2


async def _left_while_copied(stage: Stage) -> None:
    client = await stage.connect()
    client.send(post(b"abc"))
    await stage.live.call()
    assert stage.lane.copies
    client.reset()
    await stage.proxy.settled(lambda: not stage.lane.copies)


@on_the_loop
async def test_a_connection_whose_client_left_is_the_next_ones() -> None:
    with Hole() as hole:
        async with upstream() as backend, configured(document([hole.url], backend=PATIENT)) as proxy:
            await comes_and_goes(proxy)
            client = await ask(proxy)
            await proxy.settled(lambda: proxy.in_flight() > 0)
            assert connecting(proxy) == 1
            server = await hole.open(backend)
            call, _ = await backend.call()
            call.send(ok(b"served"))
            assert (await client.message()).body == b"served"
            assert len(backend.connections) == 1
            server.close()


@on_the_loop
async def test_a_connection_whose_client_left_is_kept_when_it_comes() -> None:
    with Hole() as hole:
        async with upstream() as backend, configured(document([hole.url], backend=PATIENT)) as proxy:
            await comes_and_goes(proxy)
            server = await hole.open(backend)
            call = await backend.accept()
            await proxy.settled(lambda: proxy.idle() == 1)
            client = await ask(proxy)
            await call.message()
            call.send(ok(b"served"))
            assert (await client.message()).body == b"served"
            assert len(backend.connections) == 1
            server.close()


@on_the_loop
async def test_a_connection_whose_client_left_goes_to_one_that_waits() -> None:
    with Hole() as hole:
        text = document([hole.url], backend={**PATIENT, "max_connections": 1})
        async with upstream() as backend, configured(text) as proxy:
            first = await ask(proxy)
            await proxy.settled(lambda: connecting(proxy) == 1)
            waiting = await ask(proxy)
            await proxy.settled(lambda: proxy.plane.gauges().pools[0].pending == 1)
            first.reset()
            await proxy.settled(lambda: proxy.plane.gauges().pools[0].pending == 0)
            assert proxy.connections() == connecting(proxy) == 1
            server = await hole.open(backend)
            call, _ = await backend.call()
            call.send(ok(b"served"))
            assert (await waiting.message()).body == b"served"
            server.close()


@on_the_loop
async def test_the_place_of_a_connection_that_rested_is_given_to_one_alone() -> None:
    """Who waits gets it when it closes, and not whoever made it close as well."""
    async with upstream() as a, upstream() as b:
        async with configured(document([a.url, b.url], backend={"max_connections": 1, "keep_alive": "30s"})) as proxy:
            pool = proxy.plane.pools["stable"]
            away = pool.targets[0]
            for _ in range(2):
                await ask(proxy)
            call, _ = await a.call()
            await b.call()
            call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            await proxy.settled(lambda: bool(away.idle))
            away.failures, away.down_until = 1, float("inf")
            await ask(proxy)
            await proxy.settled(lambda: proxy.plane.gauges().pools[0].pending == 1)
            away.failures, away.down_until = 0, 0.0
            await ask(proxy)
            await proxy.settled(lambda: pool.in_flight == 3)
            assert [target.open for target in pool.targets] == [1, 1]
            assert proxy.plane.gauges().pools[0].pending == 1
