"""What control is told of copies: with their live call, later, or because of what they answered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from understudy.proxy.telemetry.told import ToldCall, ToldExchange

from tests.kit.configured import snapshot_of
from tests.kit.conversation import on_the_loop, soon
from tests.kit.hearing import Told, logs, traceparent, traces
from tests.kit.shadows import document_of, mirroring, ok, post

NONE_SAMPLED = traces(sample=0.0)
ALL = traces()
WITHIN_S = 3.0  # copies are waited for a second


def calls(told: ToldExchange) -> tuple[ToldCall, ToldCall]:
    """Live's and the one copy's."""
    live, copy = told.calls
    assert (live.role, copy.role) == ("live", "shadow")
    return live, copy


@pytest.mark.parametrize("shadow_first", [True, False])
@on_the_loop
async def test_live_and_its_copy_are_told_together(shadow_first: bool) -> None:
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, live_request, shadow, copy_request = await stage.asked(post(b"abc"))
        if shadow_first:
            shadow.send(ok(b"shadow"))
            await stage.proxy.settled(lambda: not stage.lane.copies)
            live.send(ok(b"live"))
            await client.message()
        else:
            live.send(ok(b"live"))
            await client.message()
            assert told.take() == [], "its copy is under way"
            shadow.send(ok(b"shadow"))
        exchange = await told.only()
        live_call, copy = calls(exchange)
        (trace_id, live_span, flags), copy_parent = traceparent(live_request), traceparent(copy_request)
        assert (exchange.trace_id, live_call.span_id, flags) == (trace_id, live_span, "01")
        assert copy_parent == (trace_id, copy.span_id, "01")
        assert len({exchange.span_id, live_call.span_id, copy.span_id}) == 3
        assert (copy.backend, copy.version, copy.trace_id, copy.status, copy.outcome) == (
            "next",
            "9",
            b"",
            200,
            "complete",
        )
        assert copy.endpoint == stage.shadow.url.removeprefix("http://")
        assert (copy.censored, copy.resent, copy.request_bytes, copy.response_bytes, copy.stream) == (
            False,
            0,
            3,
            6,
            None,
        )
        assert copy.first_byte_ms is not None
        assert 0 <= copy.start_ms == live_call.start_ms <= copy.first_byte_ms <= copy.end_ms
        assert copy.pair is not None and copy.pair.status_match is True
        assert copy.pair.latency_delta_ms == pytest.approx(copy.end_ms - live_call.end_ms)
        live_ms = live_call.end_ms - live_call.start_ms
        assert copy.pair.latency_ratio == pytest.approx((copy.end_ms - copy.start_ms) / live_ms)
        assert (copy.pair.latency_ratio < 1) == shadow_first


@on_the_loop
async def test_a_copy_that_is_late_is_told_alone_later() -> None:
    async with mirroring(telemetry={**ALL, **logs()}) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        await client.message()
        first = await told.exchange(within_s=WITHIN_S)
        assert (first.traced, first.logged, first.live_told) == (True, True, True)
        _, copy = calls(first)
        assert (copy.outcome, copy.status, copy.first_byte_ms, copy.pair) == ("pending", 0, None, None)
        assert 850 <= copy.end_ms - first.total_ms <= 1500
        shadow.send(ok(b"shadow"))
        late = await told.exchange(2)
        assert (late.traced, late.logged, late.live_told) == (True, False, False)
        assert (late.trace_id, late.span_id, late.request_id) == (first.trace_id, first.span_id, first.request_id)
        assert late.began_s == pytest.approx(first.began_s, abs=0.01)
        [copied] = late.calls
        assert (copied.span_id, copied.outcome, copied.status) == (copy.span_id, "complete", 200)
        assert copied.pair is not None and copied.pair.status_match is True
        assert copied.end_ms > copy.end_ms - 200
        await stage.over()
        assert len(told.take()) == 2


@pytest.mark.parametrize("shadow_first", [True, False])
@pytest.mark.parametrize("errors", [True, False])
@on_the_loop
async def test_a_copy_that_disagrees_makes_it_a_trace(errors: bool, shadow_first: bool) -> None:
    async with mirroring(telemetry=traces(sample=0.0, errors=errors)) as stage:
        told = Told(stage.proxy)
        client, live, request, shadow, _ = await stage.asked(post(b"abc"))
        for peer, answer in ((live, ok()), (shadow, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))[
            :: -1 if shadow_first else 1
        ]:
            peer.send(answer)
            if peer is live:
                await client.message()
            else:
                await stage.proxy.settled(lambda: not stage.lane.copies)
        await stage.over()
        assert len(told.take()) == errors
        for exchange in told.exchanges:
            live_call, copy = calls(exchange)
            assert (exchange.traced, exchange.sampled, exchange.live_told, traceparent(request)[2]) == (
                True,
                False,
                True,
                "00",
            )
            assert (live_call.status, copy.status) == (200, 404)
            assert copy.pair is not None and copy.pair.status_match is False


@on_the_loop
async def test_copies_that_agree_or_answer_nothing_make_no_trace() -> None:
    async with mirroring(telemetry=NONE_SAMPLED) as stage:
        told = Told(stage.proxy)
        for answers in (True, False):
            client, live, _, shadow, _ = await stage.asked(post(b"abc"))
            live.send(ok())
            await client.message()
            if answers:
                shadow.send(ok())
            else:
                shadow.reset()
        await stage.over()
        assert told.take() == []


@on_the_loop
async def test_a_late_disagreement_tells_the_whole_and_no_line_twice() -> None:
    async with mirroring({}, {}, telemetry={**NONE_SAMPLED, **logs()}) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        other, _ = await stage.shadows[1].call()
        live.send(ok())
        await client.message()
        line = await told.exchange(within_s=WITHIN_S)
        assert (line.traced, line.logged, [call.outcome for call in line.calls]) == (
            False,
            True,
            ["complete", "pending", "pending"],
        )
        shadow.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        trace = await told.exchange(2)
        assert (trace.traced, trace.logged, trace.live_told) == (True, False, True)
        assert [call.outcome for call in trace.calls] == ["complete", "complete", "pending"]
        assert trace.span_id == line.span_id
        other.send(ok())
        late = await told.exchange(3)
        assert (late.traced, late.live_told, [call.backend for call in late.calls]) == (True, False, ["next2"])


@on_the_loop
async def test_what_was_never_sent_is_told_with_its_reason() -> None:
    async with mirroring({"max_body": "2B"}, telemetry=ALL) as stage:
        told = Told(stage.proxy)
        await stage.live_alone(await stage.connect(), post(b"abc"))
        live, copy = calls(await told.only())
        assert (copy.backend, copy.outcome, copy.span_id, copy.endpoint, copy.status) == (
            "next",
            "body_too_large",
            b"",
            "",
            0,
        )
        assert (copy.pair, copy.censored, copy.start_ms, copy.end_ms) == (None, False, live.start_ms, live.start_ms)


@on_the_loop
async def test_a_copy_that_fails_is_told_without_an_error_of_the_exchange() -> None:
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfive.")
        live.send(ok())
        await client.message()
        shadow.reset()
        exchange = await told.only()
        _, copy = calls(exchange)
        assert (exchange.status, exchange.reason) == (200, "")
        assert (copy.status, copy.outcome, copy.response_bytes) == (200, "shadow_error", 5)
        assert copy.pair is not None
        assert (copy.pair.status_match, copy.pair.latency_ratio, copy.pair.latency_delta_ms) == (True, None, None)


@on_the_loop
async def test_a_copy_that_is_cut_short_is_censored() -> None:
    async with mirroring({"total_timeout": "50ms"}, telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, _, _, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        await client.message()
        _, copy = calls(await told.only())
        assert (copy.status, copy.outcome, copy.censored, copy.pair) == (0, "shadow_timeout", True, None)


@on_the_loop
async def test_a_copy_may_have_a_trace_of_its_own() -> None:
    fields = b"Traceparent: 00-%b-%b-01\r\nTracestate: a=1\r\nBaggage: b=2\r\n" % (b"a" * 32, b"b" * 16)
    listener = {"trust": ["127.0.0.0/8"]}
    async with mirroring({}, {}, telemetry=traces(shadow="link"), listener=listener) as stage:
        told = Told(stage.proxy)
        client, live, sent, shadow, copied = await stage.asked(post(b"abc", fields))
        other, also_copied = await stage.shadows[1].call()
        for peer in (live, shadow, other):
            peer.send(ok())
        await client.message()
        exchange = await told.only()
        assert traceparent(sent)[0] == exchange.trace_id == b"a" * 32
        assert exchange.calls[0].trace_id == b""
        for call, request in zip(exchange.calls[1:], (copied, also_copied), strict=True):
            assert traceparent(request) == (call.trace_id, call.span_id, "01")
            assert (request.get(b"tracestate"), request.get(b"baggage")) == (None, b"b=2")
        assert len({exchange.trace_id, *(call.trace_id for call in exchange.calls[1:])}) == 3
        assert sent.get(b"tracestate") == b"a=1"


@on_the_loop
async def test_unsampled_copies_are_sent_that_they_are() -> None:
    for shadow in ("child", "link"):
        async with mirroring(telemetry=traces(sample=0.0, shadow=shadow)) as stage:
            client, live, sent, copier, copied = await stage.asked(post(b"abc"))
            assert traceparent(sent)[2] == traceparent(copied)[2] == "00"
            live.send(ok())
            copier.send(ok())
            await client.message()
            await stage.over()


@on_the_loop
async def test_an_exchange_whose_copies_are_under_way_is_told_by_a_drain() -> None:
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, _, _, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        await client.message()
        assert told.take() == []
        await soon(stage.proxy.plane.drain(1.0))
        [exchange] = told.take()
        assert [call.outcome for call in exchange.calls] == ["complete", "draining"]


@on_the_loop
async def test_a_client_that_leaves_takes_its_copy_along_and_both_are_told() -> None:
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, *_ = await stage.asked(post(b"abc"))
        client.reset()
        exchange = await told.only()
        assert exchange.reason == "client_gone"
        assert [call.outcome for call in exchange.calls] == ["client_gone", "client_gone"]


@on_the_loop
async def test_no_account_outlives_its_copies() -> None:
    """Whatever was decided: what waits is bounded by the copies that lanes let in, and released with them."""
    async with mirroring(telemetry={**NONE_SAMPLED, **logs(sample=0.5)}, budget={"requests": 4}) as stage:
        waiting = stage.proxy.plane.waiting
        for _ in range(12):
            await stage.live_alone(await stage.connect(), post(b"abc"))
        assert len(waiting) <= len(stage.lane.copies) <= 4
        for peer in stage.shadow.connections:
            peer.reset()
        await stage.over()
        assert len(waiting) == 0
        told = Told(stage.proxy)
        assert all(each.logged and not each.traced for each in told.take())


@on_the_loop
async def test_a_reload_that_turns_traces_off_leaves_those_that_began_to_be_told() -> None:
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        assert stage.proxy.plane.teller is not None
        snapshot = stage.proxy.plane.snapshot
        assert snapshot is not None
        stage.proxy.plane.apply(replace(snapshot, telemetry=None))
        live.send(ok())
        await client.message()
        shadow.send(ok())
        assert len((await told.only()).calls) == 2


@on_the_loop
async def test_a_disagreement_while_others_are_under_way_is_told_within_its_time() -> None:
    async with mirroring({}, {}, telemetry=NONE_SAMPLED) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        await stage.shadows[1].call()
        live.send(ok())
        await client.message()
        shadow.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        exchange = await told.exchange(within_s=WITHIN_S)
        assert (exchange.traced, [call.outcome for call in exchange.calls]) == (
            True,
            ["complete", "complete", "pending"],
        )


@on_the_loop
async def test_copies_are_let_go_with_the_last_of_them() -> None:
    async with mirroring({}, {}, telemetry=NONE_SAMPLED) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        other, _ = await stage.shadows[1].call()
        live.send(ok())
        await client.message()
        (copy,) = stage.lane.copies
        shadow.send(ok())
        await stage.proxy.settled(lambda: not stage.lane.copies)
        account = copy.mirrored.account
        assert account is not None and len(account.copies) == 2, "one is under way"
        other.send(ok())
        await stage.over()
        assert account.copies == []


@on_the_loop
async def test_copies_for_a_mirror_that_a_reload_took_away_are_told_at_the_end() -> None:
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, _, _, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        await client.message()
        plane = stage.proxy.plane
        plane.apply(snapshot_of(document_of(stage.live.url, [stage.shadow.url], [], telemetry=ALL), plane))
        await soon(plane.drain(1.0))
        _, copy = calls(await told.only())
        assert copy.outcome == "draining"
        assert [(pair.sent, pair.shadow_outcome) for pair in stage.take_pairs()] == [(True, "draining")]


@on_the_loop
async def test_a_copy_that_waited_for_a_connection_until_it_was_given_up_is_no_late_call() -> None:
    async with mirroring(telemetry=ALL, shadow={"max_connections": 1}) as stage:
        told = Told(stage.proxy)
        for _ in range(2):
            await stage.live_alone(await stage.connect(), post(b"abc"))
        waited = [calls(await told.exchange(number, WITHIN_S))[1] for number in (1, 2)]
        assert [call.outcome for call in waited] == ["pending", "pending"]
        assert [bool(call.span_id) for call in waited] == [True, False]
        await soon(stage.proxy.plane.drain(1.0))
        assert len(told.take()) == 3, "of the one that was sent"
        [late] = told.exchanges[2].calls
        assert (late.span_id, late.outcome) == (waited[0].span_id, "draining")


@on_the_loop
async def test_who_held_an_answer_back_is_not_measured_by_it() -> None:
    size = 16 << 20
    async with mirroring(telemetry=ALL) as stage:
        told = Told(stage.proxy)
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        live.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        shadow.send(ok())
        (connection,) = stage.proxy.plane._ports["ingress"].connections
        await stage.proxy.settled(lambda: connection._full and not stage.lane.copies)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.message()).body) == size
        _, copy = calls(await told.exchange(1))
        assert copy.pair is not None
        assert (copy.pair.latency_ratio, copy.pair.latency_delta_ms, copy.pair.status_match) == (None, None, True)

        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        shadow.send(ok(bytes(500 << 10)))
        (held,) = stage.lane.copies
        await stage.proxy.settled(lambda: held.held_back)
        live.send(ok(bytes(200 << 10)))
        await client.message()
        _, copy = calls(await told.exchange(2))
        assert (copy.outcome, copy.response_bytes) == ("complete", 500 << 10)
        assert copy.pair is not None and copy.pair.latency_ratio is None
