"""A copy is made once: where live would be asked again, over another connection or elsewhere, a shadow is not."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from tests.kit.conversation import on_the_loop, upstream
from tests.kit.shadows import mirroring, ok, post

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WARM = {"keep_alive": "30s"}


@pytest.mark.parametrize("how", ["reset", "close"])
@on_the_loop
async def test_a_safe_request_on_a_connection_that_the_shadow_closed_is_not_sent_again(how: str) -> None:
    async with mirroring(backend=WARM, shadow=WARM) as stage:
        client, live, _, shadow, _ = await stage.asked(GET)
        live.send(ok())
        shadow.send(ok())
        await client.message()
        await stage.pair()
        client.send(GET)
        await live.message()
        await shadow.message()
        for end in (live, shadow):
            end.reset() if how == "reset" else end.close()
        await stage.live_alone(client)  # over a new connection: of live it is safe to ask again
        pair = await stage.pair(2)
        assert (pair.live_outcome, pair.sent, pair.shadow_outcome) == ("complete", True, "shadow_error")
        assert len(stage.live.connections) == 2
        assert len(stage.shadow.connections) == 1
        assert stage.proxy.plane.stats.counters == {"retries_stale": 1}


@on_the_loop
async def test_no_other_endpoint_is_asked_where_one_refuses() -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        refuses = "http://{}:{}".format(*nobody.getsockname())
        async with upstream() as well:
            endpoints = {"endpoints": [well.url, refuses], "balance": "round_robin"}
            async with mirroring(shadow=endpoints, backend=endpoints) as stage:
                client = await stage.connect()
                client.send(post(b"abc"))
                live, _ = await well.call()  # after the other one, whose turn it is
                live.send(ok(b"live"))
                assert (await client.message()).body == b"live"
                pair = await stage.pair()
                assert (pair.live_outcome, pair.sent, pair.shadow_outcome) == ("complete", False, "shadow_error")
                assert stage.lane.copy_stats.dropped == {"shadow_error": 1}
                assert len(well.connections) == 1
                assert stage.proxy.plane.stats.counters == {"retries_connect": 1}


@on_the_loop
async def test_a_copy_has_a_connect_timeout_of_its_own() -> None:
    """The shadow accepts and never shakes hands, which is part of connecting."""
    async with upstream() as silent:
        secure = silent.url.replace("http:", "https:")
        async with mirroring({"connect_timeout": "200ms"}, shadow={"connect_timeout": "60s"}, url=secure) as stage:
            begun = asyncio.get_running_loop().time()
            await stage.live_alone(await stage.connect(), post(b"abc"))
            pair = await stage.pair()
            assert (pair.live_outcome, pair.sent, pair.shadow_outcome) == ("complete", False, "shadow_error")
            assert asyncio.get_running_loop().time() - begun > 0.19
            assert len(silent.connections) == 1
