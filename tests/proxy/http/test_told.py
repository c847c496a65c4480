"""What control is told of a live exchange: every field, each attempt, and of whom nothing is told."""

from __future__ import annotations

import time

import pytest
from understudy.proxy.telemetry.slowness import LEAST
from understudy.proxy.telemetry.told import ToldExchange, ToldFlag

from tests.kit.conversation import on_the_loop
from tests.kit.hearing import GET, logs, telling, traceparent, traces
from tests.kit.shadows import ok, post
from tests.kit.told import fields_of

TRACE, PARENT = b"a" * 32, b"b" * 16
TRUSTING = {"trust": ["127.0.0.0/8"]}


@on_the_loop
async def test_every_field_of_a_plain_exchange() -> None:
    async with telling(traces(headers=["X-Tenant", "Host", "x-absent"]), listener=TRUSTING) as stage:
        before = time.time()  # noqa: TID251 - what is told is of the wall clock
        fields = (
            b"Traceparent: 00-%b-%b-01\r\nTracestate: x=1, us=old\r\nX-Request-Id: r-1\r\n" % (TRACE, PARENT)
            + b"X-Tenant: blue\r\nAuthorization: secret\r\n"
        )
        asked, _ = await stage.answered(post(b"abc", fields, b"/v2/infer?key=secret"), ok(b"answer"))
        told = await stage.told.only()
        trace_id, span_id, flags = traceparent(asked)
        assert (trace_id, flags) == (TRACE, "01")
        assert fields_of(told) == fields_of(ToldExchange(
            traced=True, logged=False, began_s=told.began_s, trace_id=trace_id, span_id=told.span_id,
            parent_id=PARENT, trace_state=b"x=1", sampled=True, request_id=b"r-1", method="POST",
            path=b"/v2/infer", scheme="http", client="127.0.0.1", port=stage.proxy.addresses["ingress"][1],  # type: ignore[arg-type]
            http_version="1.1", route="everything", experiment="", arm="", flags=[], config=1, status=200, reason="",
            first_byte_ms=told.first_byte_ms, total_ms=told.total_ms, request_bytes=3, response_bytes=6,
            calls=told.calls, fields={"x-tenant": "blue", "host": "a"},
        ))  # fmt: skip
        assert before <= told.began_s <= before + 5
        assert len({told.span_id, span_id, told.parent_id}) == 3
        [call] = told.calls
        assert (call.role, call.backend, call.version, call.trace_id, call.span_id) == (
            "live",
            "stable",
            "7",
            b"",
            span_id,
        )
        assert call.endpoint == stage.live.url.removeprefix("http://")
        assert (call.status, call.outcome, call.censored, call.resent, call.stream, call.pair) == (
            200, "complete", False, 0, None, None,
        )  # fmt: skip
        assert (call.request_bytes, call.response_bytes) == (3, 6)
        assert told.first_byte_ms is not None and call.first_byte_ms is not None
        assert 0 <= call.start_ms <= call.first_byte_ms <= call.end_ms <= told.total_ms


@on_the_loop
async def test_where_nothing_is_exported_nothing_is_told_and_a_trusted_flag_goes_on() -> None:
    async with telling(None, listener=TRUSTING) as stage:
        asked, _ = await stage.answered(post(b"", b"Traceparent: 00-%b-%b-01\r\n" % (TRACE, PARENT)), ok())
        assert traceparent(asked)[::2] == (TRACE, "01")
        await stage.answered(GET, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        await stage.nothing_told()


@pytest.mark.parametrize("flag", [b"00", b"01"])
@pytest.mark.parametrize("sample", [0.0, 1.0])
@pytest.mark.parametrize("trusted", [True, False])
@on_the_loop
async def test_whose_flag_counts(trusted: bool, sample: float, flag: bytes) -> None:
    async with telling(traces(sample=sample), listener=TRUSTING if trusted else None) as stage:
        asked, _ = await stage.answered(post(b"", b"Traceparent: 00-%b-%b-%b\r\n" % (TRACE, PARENT, flag)), ok())
        expected = flag == b"01" if trusted else sample == 1.0
        trace_id, _, onward = traceparent(asked)
        assert (trace_id, onward) == (TRACE, "01" if expected else "00"), "the trace goes on either way"
        if expected:
            told = await stage.told.only()
            assert (told.trace_id, told.parent_id, told.sampled) == (TRACE, PARENT, True)
        else:
            await stage.nothing_told()


@pytest.mark.parametrize("parent", [b"", b"00-%b-%b" % (TRACE, PARENT), b"00-%b-%b-01" % (b"0" * 32, PARENT)])
@on_the_loop
async def test_a_broken_parent_begins_a_trace(parent: bytes) -> None:
    async with telling(traces(), listener=TRUSTING) as stage:
        asked, _ = await stage.answered(post(b"", b"Traceparent: %b\r\nTracestate: a=1\r\n" % parent), ok())
        trace_id, _, flags = traceparent(asked)
        told = await stage.told.only()
        assert trace_id != TRACE and flags == "01" and asked.get(b"tracestate") is None
        assert (told.trace_id, told.parent_id, told.trace_state) == (trace_id, b"", b"")


@on_the_loop
async def test_errors_are_told_unsampled_and_other_answers_are_not() -> None:
    async with telling(traces(sample=0.0)) as stage:
        await stage.answered(GET, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        await stage.nothing_told()
        asked, _ = await stage.answered(GET, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        told = await stage.told.only()
        assert (told.status, told.reason, told.sampled, traceparent(asked)[2]) == (500, "", False, "00")
        assert (told.calls[0].status, told.calls[0].outcome) == (500, "complete")


@on_the_loop
async def test_errors_are_left_alone_where_nobody_wants_them() -> None:
    async with telling(traces(sample=0.0, errors=False)) as stage:
        await stage.answered(GET, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        await stage.nothing_told()


@on_the_loop
async def test_a_slow_answer_is_told() -> None:
    async with telling(traces(sample=0.0, slow="1ms")) as stage:
        client = await stage.proxy.connect()
        client.send(GET)
        call, _ = await stage.live.call()
        until_s = time.monotonic() + 0.002
        await stage.proxy.settled(lambda: time.monotonic() > until_s)
        call.send(ok())
        assert (await stage.told.only()).total_ms > 1


@on_the_loop
async def test_an_answer_that_breaks_off_is_told_with_what_came_of_it() -> None:
    async with telling(traces(sample=0.0)) as stage:
        client = await stage.proxy.connect()
        client.send(GET)
        call, _ = await stage.live.call()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfive.")
        await client.head()
        call.reset()
        told = await stage.told.only()
        assert (told.status, told.reason, told.response_bytes) == (200, "truncated", 5)
        [call_told] = told.calls
        assert (call_told.status, call_told.outcome) == (200, "truncated")
        assert call_told.first_byte_ms is not None and call_told.end_ms == told.total_ms


@on_the_loop
async def test_a_client_that_leaves_is_no_error_and_is_told_where_it_is_sampled() -> None:
    for sample, number in ((0.0, 0), (1.0, 1)):
        async with telling(traces(sample=sample)) as stage:
            client = await stage.proxy.connect()
            client.send(GET)
            await stage.live.call()
            client.reset()
            await stage.proxy.settled(lambda: stage.proxy.in_flight() == 0)
            assert len(stage.told.take()) == number
            for told in stage.told.exchanges:
                assert (told.status, told.reason, told.first_byte_ms) == (0, "client_gone", None)
                assert (told.calls[0].status, told.calls[0].outcome) == (0, "client_gone")


@on_the_loop
async def test_what_no_route_takes_is_told_without_a_call() -> None:
    async with telling(traces(sample=0.0), route={"match": {"path_prefix": "/v2"}}) as stage:
        client = await stage.proxy.connect()
        client.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.message()).status == 404
        told = await stage.told.only()
        assert (told.status, told.reason, told.route, told.path, told.calls) == (404, "no_route", "", b"/other", [])


@on_the_loop
async def test_a_refused_head_is_told_without_its_words() -> None:
    async with telling(traces(sample=0.0)) as stage:
        client = await stage.proxy.connect()
        client.send(b"GET /secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        answer = await client.message()
        told = await stage.told.only()
        assert (told.status, told.reason, told.method, told.path) == (400, "bad_request", "", b"")
        assert told.request_id == answer.get(b"x-request-id")
        assert (len(told.trace_id), len(told.span_id), told.client) == (32, 16, "127.0.0.1")


@on_the_loop
async def test_what_is_no_whole_head_is_not_told() -> None:
    async with telling(traces()) as stage:
        client = await stage.proxy.connect()
        client.send(b"\x16\x03\x01\x02\x00\x01")
        assert (await client.message()).status == 400
        await stage.nothing_told()


@on_the_loop
async def test_flags_and_arms_are_told_with_what_they_decided() -> None:
    about = {"kind": "release", "owner": "ml", "expires": "2031-01-31"}
    rules = [
        {"flag": "pin", "when": {"header": "x-variant", "in": ["stable"]}, "backend_from": "x-variant"},
        {"flag": "trial", "percent": 99.9999, "key": {"header": "x-user"}, "backend": "stable", "skip": ["mirror"]},
        {"flag": "mark", "set_headers": {"X-Model": "a"}, **about},
    ]
    split = {
        "type": "split",
        "experiment": "e-1",
        "key": {"header": "x-user"},
        "arms": {"b": {"backend": "stable", "weight": 1}},
    }
    chain = {"filters": [{"type": "flags", "rules": rules}, split]}
    async with telling(traces(), route=chain) as stage:
        await stage.answered(post(b"", b"X-User: u\r\nX-Variant: stable\r\n"), ok())
        told = await stage.told.exchange(1)
        assert list(map(fields_of, told.flags)) == list(map(fields_of, [
            ToldFlag("pin", "stable", "targeting_match"),
            ToldFlag("trial", "skip mirror", "split"),
            ToldFlag("mark", "set x-model", "targeting_match", about),
        ]))  # fmt: skip
        assert (told.experiment, told.arm) == ("", ""), "a flag chose"
        await stage.answered(post(b"", b"X-User: u\r\n"), ok())
        assert fields_of((await stage.told.exchange(2)).flags[0]) == fields_of(ToldFlag("trial", "stable", "split"))
    async with telling(traces(), route={"filters": [split]}) as stage:
        await stage.answered(post(b"", b"X-User: u\r\n"), ok())
        told = await stage.told.exchange(1)
        assert (told.experiment, told.arm, told.flags) == ("e-1", "b", [])


@on_the_loop
async def test_a_tunnel_is_told_at_its_end() -> None:
    async with telling(traces()) as stage:
        client = await stage.proxy.connect()
        client.send(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n")
        call, _ = await stage.live.call()
        call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n")
        assert (await client.head()).status == 101
        client.send(b"ping")
        assert await call.exactly(4) == b"ping"
        assert stage.told.take() == []
        call.close()
        told = await stage.told.only()
        assert (told.status, told.reason) == (101, "")
        assert (told.calls[0].status, told.calls[0].outcome) == (101, "complete")


@pytest.mark.parametrize(("sample", "number"), [(1.0, 1), (0.0, 0)])
@on_the_loop
async def test_the_access_log_draws_for_itself(sample: float, number: int) -> None:
    async with telling({**traces(sample=1.0 - sample), **logs(sample=sample, headers=["x-a"])}) as stage:
        await stage.answered(post(b"", b"X-A: 1\r\n"), ok())
        told = await stage.told.only()
        assert (told.traced, told.logged, told.sampled) == (number == 0, number == 1, number == 0)
        assert told.fields == {"x-a": "1"}


@on_the_loop
async def test_the_access_log_alone_traces_nothing() -> None:
    async with telling(logs(sample=0.0)) as stage:
        asked, _ = await stage.answered(GET, b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
        told = await stage.told.only()
        assert (told.traced, told.logged, told.sampled, traceparent(asked)[2]) == (False, True, False, "00")


@on_the_loop
async def test_what_a_client_chooses_is_cut() -> None:
    async with telling(traces(headers=["x-long"])) as stage:
        long = b"x" * 5000
        await stage.answered(post(b"", b"X-Long: \xff%b\r\n" % long, b"/" + long), ok())
        told = await stage.told.only()
        assert told.path.decode() == "/" + "x" * 1023 + "…"
        assert told.fields == {"x-long": "ÿ" + "x" * 1023 + "…"}


@on_the_loop
async def test_of_a_thousand_requests_the_configured_share_is_told() -> None:
    async with telling(traces(sample=0.3), backend={"keep_alive": "30s"}) as stage:
        client = await stage.proxy.connect()
        client.send(GET)
        call, _ = await stage.live.call()
        call.send(ok())
        await client.message()
        onward = 0
        for _ in range(999):
            client.send(GET)
            onward += traceparent(await call.message())[2] == "01"
            call.send(ok())
            await client.message()
        await stage.proxy.settled(lambda: stage.proxy.in_flight() == 0)
        assert 0 <= len(stage.told.take()) - onward <= 1, "the flag onward says what became of it"
        assert abs(len(stage.told.exchanges) - 300) <= 3 * 14.5


@on_the_loop
async def test_what_is_slower_than_the_p99_is_told() -> None:
    async with telling(traces(sample=0.0, over_p99=True), backend={"keep_alive": "30s"}) as stage:
        client = await stage.proxy.connect()
        client.send(GET)
        call, _ = await stage.live.call()
        call.send(ok())
        await client.message()
        for _ in range(LEAST):
            client.send(GET)
            await call.message()
            call.send(ok())
            await client.message()
        tally = stage.proxy.stats(version="7")
        await stage.proxy.settled(lambda: tally.p99_s < 1.0)
        assert stage.told.take() == []
        client.send(GET)
        await call.message()
        until_s = time.monotonic() + 2 * tally.p99_s
        await stage.proxy.settled(lambda: time.monotonic() > until_s)
        call.send(ok())
        assert (await stage.told.only()).total_ms > tally.p99_s * 1000


@on_the_loop
async def test_a_flag_that_chose_and_a_refusal_before_anybody_was_asked() -> None:
    pin = {"flag": "pin", "when": {"header": "x-variant", "in": ["stable"]}, "backend_from": "x-variant"}
    trial = {"flag": "trial", "percent": 50, "key": {"header": "x-user", "missing": "refuse"}, "skip": ["mirror"]}
    chain = {"filters": [{"type": "flags", "rules": [each]} for each in (pin, trial)]}
    async with telling(traces(), route=chain) as stage:
        client = await stage.proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Variant: stable\r\n\r\n")
        assert (await client.message()).status == 400
        told = await stage.told.only()
        assert (told.reason, told.calls) == ("key_missing", [])
        assert list(map(fields_of, told.flags)) == [fields_of(ToldFlag("pin", "stable", "targeting_match"))]
