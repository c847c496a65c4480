"""What copies may occupy: past it they are dropped or given up, and each shadow has a share of its own."""

from __future__ import annotations

import socket

from tests.kit.configured import Options
from tests.kit.conversation import Peer, on_the_loop
from tests.kit.shadows import Stage, mirroring, ok, post

MIB = 1024 * 1024


@on_the_loop
async def test_budget_requests() -> None:
    async with mirroring(budget={"requests": 2}) as stage:
        held = [await stage.asked(post(b"abc")) for _ in range(2)]
        client = await stage.connect()
        await stage.live_alone(client, post(b"abc"))
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome) == (False, "budget_requests")
        for held_client, live, _, shadow, _ in held:
            live.send(ok())
            shadow.send(ok())
            await held_client.message()
        await stage.pair(3)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        shadow.send(ok())
        assert (await stage.pair(4)).shadow_outcome == "complete"


@on_the_loop
async def test_a_hung_shadow_uses_up_its_own_share_alone() -> None:
    async with mirroring({}, {}, budget={"requests": 4}) as stage:
        hung, well = stage.shadows
        for number in range(5):
            client = await stage.connect()
            await stage.live_alone(client, post(b"abc"))
            if number < 2:
                await hung.call()
            shadow, _ = await well.call()
            shadow.send(ok())
            await stage.proxy.settled(lambda: stage.lanes[1].copy_stats.complete == number + 1)  # noqa: B023
        assert stage.lanes[0].copy_stats.dropped == {"budget_requests": 3}
        assert stage.lanes[1].copy_stats.dropped == {}


@on_the_loop
async def test_a_rate_bounds_copies() -> None:
    async with mirroring(budget={"rate": 0.001}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        shadow.send(ok())
        await client.message()
        await stage.live_alone(await stage.connect(), post(b"abc"))
        assert (await stage.pair(2)).shadow_outcome == "budget_requests"


async def pour(stage: Stage, size: int) -> tuple[Peer, Peer, Peer]:
    """An upload that live takes and the shadow does not read: client, live's call, the shadow's connection."""
    client = await stage.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    live, shadow = await stage.live.accept(), await stage.shadow.accept()
    shadow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await live.head()
    for _ in range(size // MIB):
        client.send(bytes(MIB))
        await live.exactly(MIB)
    return client, live, shadow


@on_the_loop
async def test_budget_bytes() -> None:
    size = 24 * MIB
    async with mirroring({"max_body": "32MiB"}, budget={"bytes": "4MiB"}) as stage:
        client, live, _ = await pour(stage, size)
        assert stage.lane.held == 0 and not stage.lane.copies, "it was given up, and everything given back"
        live.send(ok(b"live"))
        assert (await client.message()).body == b"live"
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome, pair.censored) == (True, "budget_bytes", True)
        assert pair.shadow_total_ms is not None and pair.shadow_status == 0
        assert stage.lane.copy_stats.censored == 1


@on_the_loop
async def test_slow_shadow() -> None:
    async with mirroring({"max_body": "32MiB", "first_byte_timeout": "300ms"}) as stage:
        client, live, _ = await pour(stage, 24 * MIB)
        live.send(ok(b"live"))
        assert (await client.message()).body == b"live"
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome, pair.censored) == (True, "slow_shadow", True)
        assert stage.lane.held == 0
        assert stage.lane.breaker.failures == 1


@on_the_loop
async def test_copies_that_wait_for_a_connection_are_charged_too() -> None:
    options: Options = {"max_connections": 1, "keep_alive": "30s"}
    async with mirroring({"max_body": "32MiB"}, shadow=options) as stage:
        first, first_live, _, busy, _ = await stage.asked(post(b"abc"))
        client = await stage.connect()
        size = 24 * MIB
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        live = await stage.live.accept()
        await live.head()
        for _ in range(size // MIB):
            client.send(bytes(MIB))
            await live.exactly(MIB)
        assert stage.lane.held == size
        live.send(ok())
        await client.message()
        busy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        busy.send(ok())  # and from now on it reads nothing
        await stage.proxy.settled(lambda: all(copy.sent for copy in stage.lane.copies))
        assert 0 < stage.lane.held < size, "the kernel has taken a part"
        busy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        copy = await busy.message()
        assert copy.body == bytes(size)
        busy.send(ok())
        first_live.send(ok())
        await first.message()
        await stage.pair(2)


@on_the_loop
async def test_the_kernel_keeps_little_for_a_copy() -> None:
    async with mirroring(shadow={"keep_alive": "30s"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        shadow.send(ok())
        await client.message()
        await stage.pair()
        (target,) = stage.lane.pool.targets
        sock = target.idle[0].transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 128 * 1024
