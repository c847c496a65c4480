"""How long the exchange took, and the call to its backend: filters and clients make only the first one longer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from understudy.filters.api import Exchange, Filter, Response
from understudy.proxy.telemetry.count import CallTally
from understudy.proxy.telemetry.stats import told

from tests.kit.configured import Options, configured, document
from tests.kit.conversation import on_the_loop, upstream
from tests.kit.hearing import nobody

from .test_settled import EMPTY_POST, OK, Slow

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HALF = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nha"


def times(call: CallTally) -> dict[int, tuple[float, float | None]]:
    """By class of status: seconds of the exchange, and of the call to the backend; each class was counted once."""
    seen = told(call)
    assert {sum(timed.sketch.values()) for timed in (*seen.total.values(), *seen.client.values())} == {1}
    return {
        digit: (timed.sum_s, seen.client[digit].sum_s if digit in seen.client else None)
        for digit, timed in seen.total.items()
    }


@on_the_loop
async def test_what_filters_take_is_no_part_of_the_call() -> None:
    slow = Slow(request_s=0.1, response_s=0.1)
    async with upstream() as backend, configured(document([backend.url]), lambda _: [slow]) as proxy:
        client = await proxy.connect()
        client.send(EMPTY_POST)
        call = await backend.accept()
        await call.message()
        call.send(OK)
        assert (await client.message()).status == 200
        ((exchange_s, call_s),) = times(proxy.stats()).values()
        assert call_s is not None
        assert 0 < call_s < exchange_s - 0.19  # a timer of 0.1 s may be a little early


@on_the_loop
async def test_a_streamed_answer_counts_to_its_last_byte() -> None:
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        call = await backend.accept()
        await call.message()
        call.send(HALF)
        assert (await client.head()).status == 404
        started = proxy.plane.loop.time()
        await proxy.settled(lambda: proxy.plane.loop.time() > started + 0.05)
        call.send(b"lf")
        assert await client.exactly(4) == b"half"
        await proxy.settled(lambda: bool(proxy.stats().answers))
        exchange_s, call_s = times(proxy.stats())[4]
        assert call_s is not None
        assert 0.05 < call_s <= exchange_s


@on_the_loop
async def test_a_call_that_nobody_answers_is_over_with_its_exchange() -> None:
    async with upstream() as backend, configured(document([backend.url], backend={"total_timeout": "100ms"})) as proxy:
        client = await proxy.connect()
        client.send(GET)
        assert (await client.message()).status == 504
        exchange_s, call_s = times(proxy.stats())[5]
        assert call_s is not None
        assert 0.09 < call_s <= exchange_s


class Answers(Filter):
    def __init__(self) -> None:
        pass

    def on_request(self, exchange: Exchange) -> Response:
        return Response(204, [])


@on_the_loop
async def test_an_exchange_that_asked_no_backend_has_no_call() -> None:
    async with upstream() as backend, configured(document([backend.url]), lambda _: [Answers()]) as proxy:
        client = await proxy.connect()
        client.send(GET)
        assert (await client.message()).status == 204
        assert times(proxy.stats(backend=""))[2][1] is None
        assert proxy.stats().statuses == {}


@pytest.mark.parametrize("limits", [{"max_in_flight": 1}, {"max_connections": 1, "max_pending": 0}])
@on_the_loop
async def test_a_limits_refusal_takes_no_time_however_long_filters_hold_it_back(limits: Options) -> None:
    slow = Slow(response_s=0.1)
    async with upstream() as backend, configured(document([backend.url], backend=limits), lambda _: [slow]) as proxy:
        first, second = await proxy.connect(), await proxy.connect()
        first.send(GET)
        await backend.call()
        second.send(GET)
        assert (await second.message()).status == 503
        counted = proxy.stats()
        assert (counted.statuses, counted.reasons) == ({503: 1}, {"overloaded": 1})
        assert told(counted).total == told(counted).client == {}


@on_the_loop
async def test_who_waits_in_vain_waits_for_the_backend_however_shortly() -> None:
    limits = {"max_connections": 1}
    async with upstream() as backend, configured(document([backend.url], backend=limits)) as proxy:
        first, second = await proxy.connect(), await proxy.connect()
        first.send(GET)
        await backend.call()
        pool = proxy.plane.pools["stable"]
        pool.backend = replace(pool.backend, first_byte_timeout=0.02)  # for those who wait from now on
        second.send(GET)
        assert (await second.message()).status == 503
        exchange_s, call_s = times(proxy.stats())[5]
        assert call_s is not None
        assert 0.015 < call_s <= exchange_s


@on_the_loop
async def test_a_refusal_after_an_endpoint_that_could_not_be_reached_took_its_time() -> None:
    limits = {"max_connections": 1, "max_pending": 0, "balance": "round_robin"}
    with nobody() as address:
        async with upstream() as backend:
            urls = [f"http://{address}", backend.url]
            async with configured(document(urls, backend=limits)) as proxy:
                first, second = await proxy.connect(), await proxy.connect()
                first.send(GET)
                await backend.call()
                second.send(GET)
                assert (await second.message()).status == 503
                assert proxy.stats().reasons == {"overloaded": 1}
                assert times(proxy.stats())[5][1] is not None
