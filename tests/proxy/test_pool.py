"""Connections to backends: who gets one, who waits, who is refused, and what may be sent again."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import Counter
from random import Random
from typing import cast

import pytest

from tests.kit.configured import Proxy, configured, document, snapshot_of
from tests.kit.conversation import Message, Peer, Upstream, on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Closed:
    """An address where nobody listens until `sock` does; it stays bound, so that no other program is given it."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.label = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.url = f"http://{self.label}"

    def __enter__(self) -> Closed:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


async def ask(proxy: Proxy, request: bytes = GET) -> Peer:
    client = await proxy.connect()
    client.send(request)
    return client


def pending(proxy: Proxy) -> int:
    """Requests that wait for a connection."""
    return proxy.plane.gauges().pools[0].pending


async def one(proxy: Proxy, call: Peer, request: bytes = GET) -> Message:
    """A request on a new client connection, answered on this connection of the backend."""
    client = await ask(proxy, request)
    await call.message()
    call.send(OK)
    return await client.message()


@on_the_loop
async def test_a_warm_connection_is_taken_before_a_new_one_the_latest_first() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        clients = [await ask(proxy) for _ in range(3)]
        calls = [(await backend.call())[0] for _ in clients]
        for call, client in zip(calls, clients, strict=True):
            call.send(OK)
            await client.message()
        assert proxy.idle() == 3
        assert (await one(proxy, calls[2])).body == b"ok"
        assert (await one(proxy, calls[2])).body == b"ok"
        assert len(backend.connections) == 3


@on_the_loop
async def test_a_connection_is_closed_when_it_was_idle_for_keep_alive() -> None:
    async with upstream() as backend, configured(document([backend.url], backend={"keep_alive": "200ms"})) as proxy:
        loop = asyncio.get_running_loop()
        client = await ask(proxy)
        call, _ = await backend.call()
        call.send(OK)
        await client.message()
        idle_since = loop.time()
        assert await call.gone() == b""
        assert 0.1 < loop.time() - idle_since < 0.5
        assert proxy.connections() == 0


@on_the_loop
async def test_round_robin_asks_each_endpoint_in_turn() -> None:
    async with upstream() as a, upstream() as b, upstream() as c:
        text = document([a.url, b.url, c.url], backend={"balance": "round_robin"})
        async with configured(text) as proxy:
            for _ in range(2):
                for backend in b, c, a:
                    client = await ask(proxy)
                    call = backend.connections[0] if backend.connections else await backend.accept()
                    await call.message()
                    call.send(OK)
                    assert (await client.message()).status == 200


@on_the_loop
async def test_least_request_avoids_a_busy_endpoint() -> None:
    async with upstream() as a, upstream() as b, configured(document([a.url, b.url])) as proxy:
        proxy.plane.below = Random(3).randrange
        await ask(proxy)
        await proxy.settled(lambda: len(a.connections) + len(b.connections) == 1)
        busy, other = (a, b) if a.connections else (b, a)
        for _ in range(10):
            client = await ask(proxy)
            call = other.connections[0] if other.connections else await other.accept()
            await call.message()
            call.send(OK)
            assert (await client.message()).status == 200
        assert len(busy.connections) == 1


@on_the_loop
async def test_calls_past_max_in_flight_are_refused_at_once_and_the_place_is_free_after_the_last_byte() -> None:
    async with upstream() as backend, configured(document([backend.url], backend={"max_in_flight": 2})) as proxy:
        first, second = await ask(proxy), await ask(proxy)
        calls = [(await backend.call())[0] for _ in range(2)]
        refused = await (await ask(proxy)).message()
        assert (refused.status, refused.get(b"retry-after")) == (503, b"1")
        assert b'"overloaded"' in refused.body
        calls[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        for client in first, second:
            if client is first:
                await client.head()
        assert (await (await ask(proxy)).message()).status == 503, "an answer that has begun still occupies its place"
        calls[0].send(b"k")
        await first.exactly(2)
        assert (await one(proxy, calls[0])).status == 200
        assert proxy.stats().reasons == {"overloaded": 2}


@on_the_loop
async def test_a_request_waits_for_a_connection_and_is_served_by_the_one_that_is_freed() -> None:
    limits = {"max_connections": 1, "max_pending": 1}
    async with upstream() as backend, configured(document([backend.url], backend=limits)) as proxy:
        first = await ask(proxy)
        call, _ = await backend.call()
        second = await ask(proxy)
        await proxy.settled(lambda: pending(proxy) == 1)
        refused = await (await ask(proxy)).message()
        assert (refused.status, refused.get(b"retry-after")) == (503, b"1") and b'"overloaded"' in refused.body
        call.send(OK)
        assert (await first.message()).body == b"ok"
        await call.message()
        call.send(OK)
        assert (await second.message()).body == b"ok"
        assert len(backend.connections) == 1


@on_the_loop
async def test_whoever_waits_gets_a_new_connection_when_the_old_one_breaks_and_leaves_when_it_must() -> None:
    limits = {"max_connections": 1, "max_pending": 5}
    async with upstream() as backend, configured(document([backend.url], backend=limits)) as proxy:
        first = await ask(proxy)
        call, _ = await backend.call()
        left, second = await ask(proxy), await ask(proxy)
        await proxy.settled(lambda: pending(proxy) == 2)
        left.reset()
        await proxy.settled(lambda: pending(proxy) == 1)
        call.reset()
        assert (await first.message()).status == 502
        again, _ = await backend.call()
        again.send(OK)
        assert (await second.message()).body == b"ok"


@on_the_loop
async def test_waiting_is_part_of_the_routes_time() -> None:
    async with upstream() as backend:
        settings = json.loads(document([backend.url], backend={"max_connections": 1}))
        short = {"name": "short", "match": {"path_prefix": "/short"}, "backend": "stable", "timeout": "200ms"}
        settings["routes"].insert(0, short)
        async with configured(json.dumps(settings)) as proxy:
            await ask(proxy)
            await backend.call()
            waiting = await ask(proxy, GET.replace(b" / ", b" /short "))
            assert (await waiting.message()).status == 504
            assert len(backend.connections) == 1
            assert pending(proxy) == 0


@pytest.mark.parametrize("request_bytes", [GET, POST])
@on_the_loop
async def test_another_endpoint_is_asked_when_a_connection_is_refused(request_bytes: bytes) -> None:
    with Closed() as first, Closed() as last:
        async with upstream() as backend:
            await _another_is_asked(request_bytes, backend, [first.url, backend.url, last.url])


async def _another_is_asked(request_bytes: bytes, backend: Upstream, urls: list[str]) -> None:
    text = document(urls, backend={"balance": "round_robin"})
    async with configured(text) as proxy:
        for _ in range(4):
            client = await ask(proxy, request_bytes)
            call = backend.connections[0] if backend.connections else await backend.accept()
            assert (await call.message()).line == request_bytes.partition(b"\r\n")[0]
            call.send(OK)
            assert (await client.message()).status == 200
        assert proxy.stats().statuses == {200: 4}
        assert len(backend.connections) == 1
        assert proxy.plane.stats.counters["retries_connect"] >= 1
        up = Counter(gauge.up for gauge in proxy.plane.gauges().pools)
        assert up[True] >= 1


@on_the_loop
async def test_no_endpoint_can_be_reached() -> None:
    with Closed() as one_, Closed() as other:
        async with configured(document([one_.url, other.url])) as proxy:
            answer = await (await ask(proxy, POST)).message()
            assert (answer.status, answer.get(b"retry-after")) == (503, b"1") and b'"connect_failed"' in answer.body


@on_the_loop
async def test_an_endpoint_that_was_down_is_asked_again_when_it_is_the_only_one() -> None:
    with Closed() as away:
        async with upstream() as backend, configured(document([away.url])) as proxy:
            assert (await (await ask(proxy)).message()).status == 503
            server = await asyncio.start_server(backend.accepted, sock=away.sock)
            client = await ask(proxy)
            call, _ = await backend.call()
            call.send(OK)
            assert (await client.message()).status == 200
            assert (server.close(), proxy.plane.available("stable")) == (None, True)


@on_the_loop
async def test_the_log_tells_that_an_endpoint_is_away_once_a_pause_and_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Closed() as endpoint, caplog.at_level(logging.INFO, "understudy.proxy.pool"):
        away = f"backend stable: cannot connect to {endpoint.label}: "
        async with upstream() as backend, configured(document([endpoint.url])) as proxy:
            asked = 0
            while asked < 20 or len(caplog.messages) < 2:
                assert (await (await ask(proxy)).message()).status == 503
                asked += 1
            told = list(caplog.messages)
            assert len(told) < 5 and all(message.startswith(away) for message in told)  # pauses of 0.5, 1, 2, 4 s
            server = await asyncio.start_server(backend.accepted, sock=endpoint.sock)
            call = await _answered(proxy, backend)
            assert (await one(proxy, call)).status == 200
            server.close()
        assert caplog.messages[len(told) :] == [f"backend stable: connects to {endpoint.label} again"]


async def _answered(proxy: Proxy, backend: Upstream) -> Peer:
    client = await ask(proxy)
    call, _ = await backend.call()
    call.send(OK)
    assert (await client.message()).status == 200
    return call


async def on_a_stale_connection(proxy: Proxy, call: Peer, request: bytes) -> Peer:
    """Ask on the warm connection, and break it as if its close had crossed the request."""
    client = await ask(proxy, request)
    await call.message()
    call.reset()
    return client


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
@on_the_loop
async def test_a_safe_request_on_a_stale_connection_is_asked_once_more(method: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        request = GET.replace(b"GET", method)
        client = await ask(proxy)
        call, _ = await backend.call()
        call.send(OK)
        await client.message()
        client = await on_a_stale_connection(proxy, call, request)
        again, asked = await backend.call()
        assert asked.line == method + b" / HTTP/1.1"
        again.reset()
        answer = await client.message(head_only=method == b"HEAD")
        assert answer.status == 502, "once, and no more"
        assert len(backend.connections) == 2
        assert proxy.plane.stats.counters == {"retries_stale": 1}


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE"])
@on_the_loop
async def test_an_unsafe_request_is_never_sent_twice(method: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await ask(proxy)
        call, _ = await backend.call()
        call.send(OK)
        await client.message()
        client = await on_a_stale_connection(proxy, call, POST.replace(b"POST", method))
        answer = await client.message()
        assert answer.status == 502 and b'"upstream_closed"' in answer.body
        assert len(backend.connections) == 1
        assert proxy.plane.stats.counters == {}


@on_the_loop
async def test_a_safe_request_is_not_asked_again_on_a_fresh_connection_nor_after_an_answers_first_byte() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await ask(proxy)
        call, _ = await backend.call()
        call.reset()
        assert (await client.message()).status == 502

        client = await ask(proxy)
        call, _ = await backend.call()
        call.send(OK)
        await client.message()
        client = await ask(proxy)
        await call.message()
        call.send(b"HTTP/1.1 2")
        await call.drain()
        call.close()
        assert (await client.message()).status == 502
        assert len(backend.connections) == 2


@on_the_loop
async def test_a_get_with_a_body_that_was_streamed_is_not_asked_again() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await ask(proxy)
        call, _ = await backend.call()
        call.send(OK)
        await client.message()
        client = await ask(proxy, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        await call.head()
        client.send(b"hi")
        await call.exactly(2)
        call.reset()
        assert (await client.message()).status == 502
        assert len(backend.connections) == 1


@on_the_loop
async def test_bytes_that_nobody_asked_for_end_a_warm_connection() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await ask(proxy)
        call, _ = await backend.call()
        call.send(OK)
        await client.message()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await call.gone()
        client.send(GET)
        again, _ = await backend.call()
        again.send(OK)
        assert (await client.message()).body == b"ok"


@on_the_loop
async def test_bytes_behind_an_answer_are_nobodys_answer() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await ask(proxy, GET + GET)
        call, _ = await backend.call()
        call.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        assert (await client.message()).body == b"ok"
        again, _ = await backend.call()
        again.send(OK)
        assert (await client.message()).body == b"ok"


@on_the_loop
async def test_a_reload_keeps_the_connections_of_endpoints_that_stay() -> None:
    async with upstream() as kept, upstream() as dropped:
        text = document([kept.url, dropped.url], backend={"balance": "round_robin"})
        async with configured(text) as proxy:
            calls = {}
            for backend in dropped, kept:
                client = await ask(proxy)
                calls[backend], _ = await backend.call()
                calls[backend].send(OK)
                await client.message()
            running = await ask(proxy)
            await calls[dropped].message()
            proxy.plane.apply(snapshot_of(document([kept.url], backend={"version": "8"}), proxy.plane))
            assert (await one(proxy, calls[kept])).body == b"ok"
            assert len(kept.connections) == 1
            calls[dropped].send(OK)
            assert (await running.message()).body == b"ok", "what was under way ends well"
            assert proxy.stats(version="8").statuses == {200: 1}
            await calls[dropped].gone()


@on_the_loop
async def test_a_backend_that_closes_each_connection_at_once_is_no_failure_of_ours() -> None:
    """Whether the close is seen before the request was sent is a race; neither outcome is a 500."""

    class Closes(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast(asyncio.Transport, transport).abort()

    server = await asyncio.get_running_loop().create_server(Closes, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with configured(document([url])) as proxy:
        clients = [await ask(proxy, POST) for _ in range(40)]
        assert {(await client.message()).status for client in clients} <= {502, 503}
        assert set(proxy.stats().reasons) <= {"connect_failed", "upstream_closed"}
    server.close()
