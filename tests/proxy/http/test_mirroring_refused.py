"""Live is refused in the very turn in which its connection is asked for: its copies are made, and told of, as ever."""

from __future__ import annotations

import pytest

from tests.kit.configured import Options
from tests.kit.conversation import on_the_loop
from tests.kit.hearing import Told, traces
from tests.kit.shadows import mirroring, ok, post

DEEP = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
JSON = b"Content-Type: application/json\r\n"
REWRITES = {"rewrite": {"json": {"model": "next"}}}
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
LIMITS: list[Options] = [{"max_connections": 1, "max_pending": 1}, {"max_in_flight": 2}]


@pytest.mark.parametrize("limits", LIMITS)
@on_the_loop
async def test_an_exchange_beyond_live_s_limits_has_its_copies_all_the_same(limits: Options) -> None:
    async with mirroring({}, {"max_body": "2B"}, backend=limits) as stage:
        held = [await stage.connect() for _ in range(2)]
        for client in held:
            client.send(post(b"abc"))
            shadow, _ = await stage.shadow.call()
            shadow.send(ok())
        refused = await stage.connect()
        refused.send(post(b"xyz"))
        assert (await refused.message()).status == 503
        shadow, copy = await stage.shadow.call()
        assert copy.body == b"xyz"
        shadow.send(ok())
        pairs = [each for each in [await stage.pair(1), await stage.pair(2)] if each.shadow == "next"]
        assert [(each.live_outcome, each.live_status, each.shadow_outcome) for each in pairs] == [
            ("overloaded", 503, "complete")
        ]
        (pair,) = [each for each in stage.pairs if each.shadow == "next2"]
        assert (pair.live_outcome, pair.sent, pair.shadow_outcome) == ("overloaded", False, "body_too_large")
        for client in held:
            live, _ = await stage.live.call()
            live.send(ok())
            assert (await client.message()).status == 200
        await stage.pair(6)
        assert [each.copy_stats.exchanges for each in stage.lanes] == [3, 3]
        assert [each.copy_stats.selected for each in stage.lanes] == [3, 3]
        assert stage.lane.copy_stats.complete == 3


@pytest.mark.parametrize("limits", LIMITS)
@on_the_loop
async def test_an_upload_beyond_live_s_limits_will_not_be_whole_and_is_not_begun(limits: Options) -> None:
    async with mirroring(budget={"rate": 0.001}, backend=limits) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))  # with the one token that there is
        second = await stage.connect()
        second.send(post(b"abc"))
        await stage.proxy.settled(lambda: stage.lane.copy_stats.exchanges == 2)
        refused = await stage.connect()
        refused.send(CHUNKED)
        assert (await refused.message()).status == 503
        pair = await stage.pair()
        assert (pair.live_outcome, pair.sent, pair.shadow_outcome) == ("overloaded", False, "live_over")
        shadow.send(ok())
        live.send(ok())
        await client.message()
        await stage.live_alone(second)
        await stage.pair(3)
        assert stage.lane.copy_stats.exchanges == stage.lane.copy_stats.selected == 3
        assert stage.lane.copy_stats.dropped == {"live_over": 1, "budget_requests": 1}
        assert len(stage.shadow.connections) == 1


@on_the_loop
async def test_a_live_call_that_fails_before_it_is_sent_has_its_copy_answered() -> None:
    """Its connection is warm, and so it fails in the very turn in which that was asked for."""
    async with mirroring(backend={**REWRITES, "keep_alive": "30s"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b'{"a": 1}', JSON))
        live.send(ok())
        shadow.send(ok())
        assert (await client.message()).status == 200
        client.send(post(DEEP, JSON))
        assert (await client.message()).status == 400
        shadow, copy = await stage.shadow.call()
        assert copy.body == DEEP
        shadow.send(ok())
        pair = await stage.pair(2)
        assert (pair.live_outcome, pair.live_status, pair.shadow_outcome) == ("bad_request", 400, "complete")


@on_the_loop
async def test_the_copies_of_a_call_beyond_live_s_limit_are_told_with_their_exchange() -> None:
    async with mirroring({}, {"max_body": "2B"}, telemetry=traces(), backend={"max_in_flight": 1}) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        refused = await stage.connect()
        refused.send(post(b"abc"))
        assert (await refused.message()).status == 503
        copy_call, request = await stage.shadow.call()
        copy_call.send(ok())
        exchange = await told.exchange()
        limited, copy, dropped = exchange.calls
        assert [(each.role, each.outcome) for each in exchange.calls] == [
            ("live", "overloaded"), ("shadow", "complete"), ("shadow", "body_too_large"),
        ]  # fmt: skip
        assert limited.start_ms <= limited.end_ms <= copy.end_ms
        assert request.get(b"traceparent") == b"00-%b-%b-01" % (exchange.trace_id, copy.span_id)
        assert 0 <= dropped.start_ms == dropped.end_ms <= copy.end_ms
        live.send(ok())
        shadow.send(ok())
        await client.message()
        await told.exchange(2)
