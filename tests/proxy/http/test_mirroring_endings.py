"""Where copies end early or oddly: what they held is given back, and a shadow is blamed for its own failures alone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from understudy.filters.api import Exchange

from tests.kit.acting import Does
from tests.kit.configured import snapshot_of
from tests.kit.conversation import on_the_loop
from tests.kit.shadows import document_of, mirror, mirroring, ok, post

DEEP = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
JSON = b"Content-Type: application/json\r\n"
REWRITES = {"rewrite": {"json": {"model": "next"}}}
MIB = 1024 * 1024


@on_the_loop
async def test_a_body_that_the_shadow_cannot_be_asked_with_ends_the_copy_alone() -> None:
    async with mirroring(shadow=REWRITES) as stage:
        client = await stage.connect()
        client.send(post(DEEP, JSON))
        call, asked = await stage.live.call()
        assert asked.body == DEEP
        call.send(ok())
        assert (await client.message()).status == 200
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome) == (False, "not_mirrorable")
        assert stage.lane.copy_stats.dropped == {"not_mirrorable": 1}
        assert stage.lane.breaker.failures == 0


@on_the_loop
async def test_a_copy_that_waits_for_its_whole_body_keeps_no_connection_from_others() -> None:
    async with mirroring(shadow={**REWRITES, "keep_alive": "200ms"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b'{"a":1}', JSON))
        live.send(ok())
        shadow.send(ok())
        await client.message()
        await stage.pair()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%bContent-Length: 7\r\n\r\n" % JSON + b'{"a')
        live = await stage.live.accept()
        await live.head()
        assert await shadow.gone() == b"", "it was idle for long enough meanwhile"
        client.send(b'":2}')
        await live.exactly(7)
        again, copy = await stage.shadow.call()
        assert copy.body == b'{"a":2,"model":"next"}'
        live.send(ok())
        again.send(ok())
        assert (await client.message()).status == 200
        pair = await stage.pair(2)
        assert (pair.sent, pair.shadow_outcome) == (True, "complete")


@on_the_loop
async def test_a_reload_with_a_new_version_while_a_copy_is_under_way() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        assert (await client.message()).status == 200
        plane = stage.proxy.plane
        text = document_of(
            stage.live.url, [stage.shadow.url], [mirror([{"backend": "next"}])], shadow={"version": "10"}
        )
        plane.apply(replace(snapshot_of(text, plane), version=2))
        shadow.send(ok())
        pair = await stage.pair()
        assert (pair.shadow_version, pair.config, pair.shadow_outcome) == ("9", 1, "complete")
        await stage.over()
        assert [(each.key.version, each.in_flight) for each in plane.stats.calls() if each.key.role == "shadow"] == [
            ("9", 0), ("10", 0),
        ]  # fmt: skip


@on_the_loop
async def test_the_bytes_that_are_here_already_are_held_against_max_body() -> None:
    here = asyncio.Event()
    seen: list[Any] = []

    async def selects(exchange: Exchange) -> None:
        exchange.copies = ["next"]
        seen.append(exchange)
        await here.wait()

    async with mirroring(
        {"max_body": "1KiB"}, backend={"keep_alive": "30s"}, build=lambda _: [Does(on_request=selects)]
    ) as stage:
        here.set()
        client, live, _, shadow, _ = await stage.asked(post(b"warm"))
        live.send(ok())
        shadow.send(ok())
        await client.message()
        await stage.pair()
        here.clear()
        body = bytes(4096)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n%b\r\n0\r\n\r\n" % body)
        await stage.proxy.settled(lambda: len(seen) == 2 and seen[1]._intake.size == 4096)
        here.set()
        assert (await live.message()).body == body
        live.send(ok())
        await client.message()
        pair = await stage.pair(2)
        assert (pair.sent, pair.shadow_outcome) == (False, "body_too_large")


@on_the_loop
async def test_a_long_answer_beside_a_live_failure_is_not_blamed_on_the_shadow() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * MIB) + bytes(MIB))
        await stage.proxy.settled(lambda: any(each._waits for each in stage.lane.copies))
        live.reset()
        assert (await client.message()).status == 502
        pair = await stage.pair()
        assert (pair.live_outcome, pair.shadow_outcome) == ("upstream_closed", "live_over")
        assert stage.lane.breaker.failures == 0


@on_the_loop
async def test_an_answer_much_longer_than_live_s_is_cut() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * MIB) + bytes(MIB))
        live.send(ok())
        assert (await client.message()).body == b"ok"
        pair = await stage.pair()
        assert (pair.live_outcome, pair.shadow_outcome) == ("complete", "shadow_error")
        assert pair.shadow_bytes <= MIB
        assert stage.lane.breaker.failures == 1


@on_the_loop
async def test_an_answer_that_waited_is_not_cut_once_live_s_is_long_enough() -> None:
    """Live's whole answer comes at once, and ends the exchange in the same turn."""
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: 350000\r\n\r\n" + bytes(270_000))
        await stage.proxy.settled(lambda: any(each._waits for each in stage.lane.copies))
        live.send(ok(bytes(50_000)))
        assert (await client.message()).status == 200
        shadow.send(bytes(80_000))
        pair = await stage.pair()
        assert (pair.live_outcome, pair.shadow_outcome, pair.shadow_bytes) == ("complete", "complete", 350_000)
        assert stage.lane.breaker.failures == 0


@on_the_loop
async def test_what_is_over_is_freed_at_once_and_not_by_the_collector() -> None:
    async with mirroring({}, {}) as stage:
        gc.collect()
        gc.disable()
        try:
            for number in range(1, 6):
                client = await stage.connect()
                client.send(post(b"abc"))
                calls = [await each.call() for each in (stage.live, *stage.shadows)]
                for call, _ in calls:
                    call.send(ok())
                assert (await client.message()).status == 200
                await stage.pair(2 * number)
                client.close()
            left = [type(each).__name__ for each in gc.get_objects()]
        finally:
            gc.enable()
        assert left.count("Copy") + left.count("Mirrored") == 0


class Unreadable(list[tuple[bytes, bytes]]):
    """Fields that nobody gets to see."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        raise RuntimeError


@on_the_loop
async def test_a_copy_that_cannot_even_be_made_is_counted() -> None:
    async with mirroring() as stage:
        stage.lane.own = Unreadable()
        await stage.live_alone(await stage.connect(), post(b"abc"))
        pair = await stage.pair()
        assert (pair.live_outcome, pair.sent, pair.shadow_outcome) == ("complete", False, "not_mirrorable")
