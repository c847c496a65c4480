"""The data plane as a whole: draining, listeners that come and go, and what it lends to filters."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

import pytest
from understudy.filters.api import Failure

from tests.kit.configured import configured, document, snapshot_of
from tests.kit.conversation import on_the_loop, soon, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"


@on_the_loop
async def test_draining_closes_what_is_idle_and_waits_for_what_is_not() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        idle, waiting, streaming = [await proxy.connect() for _ in range(3)]
        idle.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        await idle.message()
        waiting.send(GET)
        waited_for = await call.message()
        streaming.send(GET)
        stream, _ = await backend.call()
        stream.send(BEGUN)
        await streaming.head()
        await streaming.chunk()
        draining = asyncio.get_running_loop().create_task(proxy.plane.drain(5.0))
        assert await idle.rest() == b""
        with pytest.raises(OSError):
            await proxy.connect()
        assert waited_for.line.startswith(b"GET") and not draining.done()
        call.send(OK)
        answer = await waiting.message()
        assert (answer.body, answer.get(b"connection")) == (b"ok", b"close")
        assert await waiting.rest() == b""
        stream.send(b"4\r\ndone\r\n0\r\n\r\n")
        assert await streaming.chunk() == b"done" and await streaming.chunk() == b""
        assert await streaming.rest() == b""
        await soon(draining)
        assert proxy.plane.open_connections() == 0


@on_the_loop
async def test_what_outlasts_the_grace_period_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call, _ = await backend.call()
        call.send(BEGUN)
        await client.head()
        await client.chunk()
        with caplog.at_level(logging.WARNING):
            await soon(proxy.plane.drain(0.1), 1.0)
        assert await client.gone() == b""
        await call.gone()
        assert "cutting 1 connections" in caplog.text
        await proxy.settled(lambda: proxy.in_flight() == 0)


@on_the_loop
async def test_a_listener_that_is_full_says_so() -> None:
    async with upstream() as backend, configured(document([backend.url], listener={"max_connections": 2})) as proxy:
        first, _ = await proxy.connect(), await proxy.connect()
        await proxy.settled(lambda: proxy.plane.open_connections() == 2)
        refused = await proxy.connect()
        answer = await refused.message()
        assert (answer.status, answer.get(b"retry-after"), answer.get(b"connection")) == (503, b"1", b"close")
        assert b'"overloaded"' in answer.body and answer.get(b"x-request-id")
        assert await refused.rest() == b""
        refused.close()
        first.close()
        await proxy.settled(lambda: proxy.plane.open_connections() == 1)
        served = await proxy.connect()
        served.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        assert (await served.message()).body == b"ok"
        gauge = proxy.plane.gauges().listeners[0]
        assert (gauge.listener, gauge.open, gauge.accepted, gauge.refused) == ("ingress", 2, 4, 1)


@on_the_loop
async def test_who_is_refused_takes_no_place() -> None:
    async with upstream() as backend, configured(document([backend.url], listener={"max_connections": 1})) as proxy:
        first = await proxy.connect()
        await proxy.settled(lambda: proxy.plane.open_connections() == 1)
        for _ in range(3):  # they do not close
            assert (await (await proxy.connect()).message()).status == 503
        first.close()
        await proxy.settled(lambda: proxy.plane.open_connections() == 0, within_s=0.5)
        served = await proxy.connect()
        served.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        assert (await served.message()).status == 200


@on_the_loop
async def test_a_reload_changes_whom_an_open_connection_is_believed() -> None:
    async with upstream() as backend:

        def text(*trust: str) -> str:
            return document([backend.url], listener={"trust": trust}, backend={"keep_alive": "0s"})

        async with configured(text()) as proxy:
            client = await proxy.connect()
            for trust, told in ((), b"127.0.0.1"), (("127.0.0.0/8",), b"6.6.6.6, 127.0.0.1"), ((), b"127.0.0.1"):
                proxy.plane.apply(snapshot_of(text(*trust), proxy.plane))
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
                call, asked = await backend.call()
                assert asked.get(b"x-forwarded-for") == told
                call.send(OK)
                await client.message()


@pytest.mark.parametrize("trust", [["unix"], ["0.0.0.0/0", "::/0"]])
@on_the_loop
async def test_a_peer_that_has_no_address_any_more_is_not_trusted(trust: list[str]) -> None:
    async with upstream() as backend, configured(document([backend.url], listener={"trust": trust})) as proxy:
        warm = await proxy.connect()
        warm.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        await warm.message()
        with socket.create_connection(proxy.addresses["ingress"]) as sock:  # accepted when it is reset already
            sock.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asked = await call.message()
        assert asked.get(b"x-forwarded-for") == b"unknown"


@on_the_loop
async def test_a_listener_that_a_reload_dropped_ends_after_its_answers() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        idle, busy = await proxy.connect(), await proxy.connect()
        busy.send(GET)
        call, _ = await backend.call()
        proxy.plane.unlisten("ingress")
        assert await idle.rest() == b""
        call.send(OK)
        answer = await busy.message()
        assert (answer.body, await busy.rest()) == (b"ok", b"")


@on_the_loop
async def test_an_exchange_ends_by_the_configuration_that_it_began_with() -> None:
    async with upstream() as old, upstream() as new, configured(document([old.url])) as proxy:
        client = await proxy.connect()
        client.send(GET + GET)
        call, _ = await old.call()
        proxy.plane.apply(snapshot_of(document([new.url], backend={"version": "2"}), proxy.plane))
        call.send(OK)
        assert (await client.message()).body == b"ok"
        call, _ = await new.call()
        call.send(OK)
        assert (await client.message()).body == b"ok"
        assert proxy.stats(version="").statuses == {200: 1} == proxy.stats(version="2").statuses
        assert len(old.connections) == 1


@on_the_loop
async def test_new_limits_hold_from_the_next_request_on() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        await backend.call()
        text = document([backend.url], backend={"max_in_flight": 1}, listener={"max_target": "1KiB"})
        proxy.plane.apply(snapshot_of(text, proxy.plane))
        other = await proxy.connect()
        other.send(GET + b"GET /" + b"x" * 1024 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await other.message()).status == 503
        assert (await other.message()).status == 414


@on_the_loop
async def test_work_beside_the_requests_is_bounded_and_its_failures_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with configured(document(["http://127.0.0.1:9"])) as proxy:
        go = asyncio.Event()

        async def wait() -> None:
            await go.wait()

        async def fail() -> None:
            raise KeyError("x-user")

        with caplog.at_level(logging.ERROR):
            proxy.plane.spawn(fail(), "store")
            await proxy.settled(lambda: "store" in caplog.text)
        assert "KeyError" in caplog.text
        with pytest.raises(Failure) as refused:
            for _ in range(10_001):
                proxy.plane.spawn(wait(), "copy")
        assert refused.value.reason == "overloaded"
        go.set()


@on_the_loop
async def test_ids_are_new_each_time_and_the_date_is_of_now() -> None:
    async with configured(document(["http://127.0.0.1:9"])) as proxy:
        drawn = [proxy.plane.ids() for _ in range(1_000)]
        for request_id, trace_id, span_id in drawn:
            assert (len(request_id), len(trace_id), len(span_id)) == (32, 32, 16)
        assert len({each for ids in drawn for each in ids}) == 3_000
        assert proxy.plane.date().endswith(b" GMT") and proxy.plane.date() is proxy.plane.date()
