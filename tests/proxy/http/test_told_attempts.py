"""What control is told of calls that fail and are made again."""

from __future__ import annotations

import pytest

from tests.kit.configured import Options, configured, document
from tests.kit.conversation import on_the_loop, upstream
from tests.kit.hearing import GET, Hearing, nobody, telling, traceparent, traces
from tests.kit.shadows import ok


@on_the_loop
async def test_every_attempt_is_a_call_with_the_span_that_it_was_sent() -> None:
    async with telling(traces(), backend={"keep_alive": "30s"}) as stage:
        client = await stage.proxy.connect()
        await stage.answered(GET, ok(), client)
        await stage.told.exchange(1)
        stale = stage.live.connections[0]
        client.send(GET)
        first = await stale.message()
        stale.close()
        call, second = await stage.live.call()
        call.send(ok())
        await client.message()
        told = await stage.told.exchange(2)
        lost, made = told.calls
        assert [lost.span_id, made.span_id] == [traceparent(first)[1], traceparent(second)[1]]
        assert len({lost.span_id, made.span_id, told.span_id}) == 3
        assert (lost.resent, lost.outcome, lost.status) == (0, "upstream_closed", 0)
        assert (made.resent, made.outcome, made.status) == (1, "complete", 200)
        assert 0 <= lost.start_ms <= lost.end_ms <= made.start_ms <= made.end_ms
        assert lost.endpoint == made.endpoint


@on_the_loop
async def test_an_endpoint_that_refuses_is_an_attempt() -> None:
    with nobody() as address:
        async with upstream() as live:
            backend = {"endpoints": [f"http://{address}", live.url], "keep_alive": "0s", "balance": "round_robin"}
            async with configured(document([], backend=backend, telemetry=traces())) as proxy:
                stage = Hearing(live, proxy)
                number = 0
                while not (stage.told.exchanges and len(stage.told.exchanges[-1].calls) > 1):
                    number += 1
                    assert number <= 3, "round robin begins at either"
                    await stage.answered(GET, ok())
                    await stage.told.exchange(number)
                refused, made = stage.told.exchanges[-1].calls
                assert (refused.outcome, refused.endpoint) == ("connect_failed", address)
                assert (made.outcome, made.endpoint, made.resent) == ("complete", live.url.removeprefix("http://"), 1)
                assert len({refused.span_id, made.span_id}) == 2


@on_the_loop
async def test_a_backend_that_cannot_be_reached_is_told_with_its_endpoint() -> None:
    with nobody() as address:
        async with telling(traces(sample=0.0), backend={"endpoints": [f"http://{address}"]}) as stage:
            client = await stage.proxy.connect()
            client.send(GET)
            assert (await client.message()).status == 503
            told = await stage.told.only()
            [call] = told.calls
            assert (told.status, told.reason, call.status, call.outcome) == (503, "connect_failed", 0, "connect_failed")
            assert call.endpoint == address


@pytest.mark.parametrize("limits", [{"max_in_flight": 1}, {"max_connections": 1, "max_pending": 0}])
@on_the_loop
async def test_what_a_limit_refuses_is_told_of_its_backend_and_makes_it_look_no_faster(limits: Options) -> None:
    async with telling(traces(), backend=limits) as stage:
        first, second = await stage.proxy.connect(), await stage.proxy.connect()
        first.send(GET)
        call, _ = await stage.live.call()
        second.send(GET)
        assert (await second.message()).status == 503
        told = await stage.told.exchange()
        [failed], _, _ = stage.proxy.plane.stats.records.take()
        (refused,) = told.calls
        assert (failed.backend, refused.backend, refused.outcome, refused.endpoint) == (
            "stable",
            "stable",
            "overloaded",
            "",
        )
        call.send(ok())
        await first.message()
        await stage.proxy.settled(lambda: stage.proxy.in_flight() == 0)
        counted = stage.proxy.stats(version="7")
        assert (counted.statuses, counted.reasons) == ({200: 1, 503: 1}, {"overloaded": 1})
        assert {digit: sum(each.sketch.values()) for digit, each in counted.total.items()} == {2: 1, 5: 0}
        assert {digit: sum(each.sketch.values()) for digit, each in counted.client.items()} == {2: 1, 5: 0}
