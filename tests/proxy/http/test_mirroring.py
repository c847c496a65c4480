"""What a copy carries: the bytes that live was sent, without credentials, marked, to a place of its own."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.conversation import Message, Peer, on_the_loop
from tests.kit.shadows import Stage, mirroring, ok, post

MIB = 1024 * 1024
WARM = {"keep_alive": "30s"}
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


async def answered(stage: Stage, client: Peer, live: Peer, shadow: Peer) -> None:
    """Both answer, the client hears live, and a pair is told of."""
    number = len(stage.take_pairs()) + 1
    live.send(ok(b"live"))
    shadow.send(ok(b"shadow"))
    assert (await client.message()).body == b"live"
    await stage.pair(number)


@on_the_loop
async def test_both_read_the_same_whole_body() -> None:
    async with mirroring() as stage:
        body = bytes(range(256)) * 100
        client, live, live_request, shadow, copy = await stage.asked(post(body, path=b"/v2/infer?a=%2F"))
        assert live_request.line == copy.line == b"POST /v2/infer?a=%2F HTTP/1.1"
        assert live_request.body == copy.body == body
        await answered(stage, client, live, shadow)


@on_the_loop
async def test_a_request_without_a_body_is_copied_without_one() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, copy = await stage.asked(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
        assert copy.all(b"content-length") == copy.all(b"transfer-encoding") == []
        await answered(stage, client, live, shadow)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
@on_the_loop
async def test_a_body_that_streams_reaches_both_piece_by_piece(framing: str, warm: bool) -> None:
    async with mirroring(backend=WARM, shadow=WARM) as stage:
        client = await stage.connect()
        if warm:
            client, live, _, shadow, _ = await stage.asked(post(b"warm"), client)
            await answered(stage, client, live, shadow)
        length = b"Content-Length: 9" if framing == "counted" else b"Transfer-Encoding: chunked"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % length)
        if not warm:
            live, shadow = await stage.live.accept(), await stage.shadow.accept()
        assert (await live.head()).get(b"x-understudy-shadow") is None
        copy = await shadow.head()
        assert length.lower() in copy.head.lower().split(b"\r\n")
        for piece in (b"one", b"two", b"six"):  # the next only when both have this one
            client.send(piece if framing == "counted" else b"3\r\n%b\r\n" % piece)
            for end in (live, shadow):
                assert await (end.exactly(3) if framing == "counted" else end.chunk()) == piece
        if framing == "chunked":
            client.send(b"0\r\n\r\n")
            assert await live.chunk() == await shadow.chunk() == b""
        await answered(stage, client, live, shadow)


@given(
    body=st.binary(max_size=300_000), cuts=st.lists(st.integers(0, 300_000), max_size=8), counted=st.booleans(),
    shadow_first=st.booleans(),
)  # fmt: skip
@EXAMPLES
@on_the_loop
async def test_however_a_body_is_cut_the_shadow_reads_the_very_bytes(
    body: bytes, cuts: list[int], counted: bool, shadow_first: bool
) -> None:
    borders = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    pieces = [body[start:end] for start, end in pairwise(borders)]
    async with mirroring() as stage:
        client = await stage.connect()
        length = b"Content-Length: %d" % len(body) if counted else b"Transfer-Encoding: chunked"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % length)
        ends = [stage.shadow, stage.live] if shadow_first else [stage.live, stage.shadow]

        async def sends() -> None:
            for piece in pieces:
                client.send(piece if counted else b"%x\r\n%b\r\n" % (len(piece), piece))
                await client.drain()
            if not counted:
                client.send(b"0\r\n\r\n")

        one, other, _ = await asyncio.gather(ends[0].call(), ends[1].call(), sends())
        assert one[1].body == other[1].body == body
        for call, _ in (one, other):
            call.send(ok())
        assert (await client.message()).status == 200
        pair = await stage.pair()
        assert (pair.request_bytes, pair.shadow_outcome) == (len(body), "complete")


@on_the_loop
async def test_a_copy_is_marked_and_carries_no_credentials() -> None:
    credentials = b"".join(
        b"%b: secret\r\n" % name
        for name in (b"Authorization", b"Proxy-Authorization", b"Cookie", b"X-Api-Key", b"Api-Key", b"X-Internal")
    )
    entry = {"remove_headers": ["x-internal"], "set_headers": {"x-model-version": "next"}}
    async with mirroring(entry) as stage:
        fields = credentials + b"X-Model-Version: client\r\nX-Kept: yes\r\n"
        client, live, sent, shadow, copy = await stage.asked(post(b"abc", fields))
        assert copy.get(b"x-understudy-shadow") == b"next"
        assert copy.get(b"x-model-version") == b"next"
        assert copy.get(b"x-kept") == b"yes"
        assert b"secret" not in copy.head
        assert sent.head.count(b"secret") == 5, "live has them all, save what is for a proxy"
        assert sent.get(b"x-understudy-shadow") is None
        assert sent.get(b"x-model-version") == b"client"
        await answered(stage, client, live, shadow)


@on_the_loop
async def test_a_copy_is_of_the_same_trace_and_request_but_a_span_of_its_own() -> None:
    async with mirroring(listener={"trust": ["127.0.0.0/8"]}) as stage:
        fields = (
            b"Traceparent: 00-%b-%b-01\r\nTracestate: a=1\r\nBaggage: b=2\r\n" % (b"a" * 32, b"b" * 16)
            + b"X-Request-Id: mine\r\nX-Understudy-Shadow: earlier\r\n"
        )
        client, live, sent, shadow, copy = await stage.asked(post(b"abc", fields))
        spans = [
            re.fullmatch(rb"00-(a{32})-([0-9a-f]{16})-01", each.get(b"traceparent") or b"") for each in (sent, copy)
        ]
        assert spans[0] and spans[1] and len({b"b" * 16, spans[0][2], spans[1][2]}) == 3
        for name, value in ((b"tracestate", b"a=1"), (b"baggage", b"b=2"), (b"x-request-id", b"mine")):
            assert sent.get(name) == copy.get(name) == value
        assert copy.get(b"x-understudy-shadow") == b"next", "of the proxy that copied last"
        await answered(stage, client, live, shadow)
        assert stage.pairs[0].request_id == "mine"


@on_the_loop
async def test_the_idempotency_key_of_a_copy_is_the_same_for_the_same_key_and_never_the_clients() -> None:
    async with mirroring({}, {}) as stage:
        seen: list[list[bytes]] = []
        for key in (b"k1", b"k1", b"k2"):
            client = await stage.connect()
            client.send(post(b"abc", b"Idempotency-Key: %b\r\n" % key))
            calls = [await each.call() for each in (stage.live, *stage.shadows)]
            keys = [request.get(b"idempotency-key") or b"" for _, request in calls]
            assert keys[0] == key
            seen.append(keys[1:])
            for call, _ in calls:
                call.send(ok() + b"")
            await client.message()
            client.close()
        assert seen[0] == seen[1]
        assert len({*seen[0], *seen[2], b"k1", b"k2"}) == 6, "every shadow and every key has its own"


@pytest.mark.parametrize(
    ("path", "live_path", "copy_path"),
    [
        (b"/v2/models/iris/infer?q=1", b"/v2/models/iris/infer?q=1", b"/rehearsal/iris-9/infer?q=1"),
        (b"/v2/models/iris", b"/v2/models/iris", b"/rehearsal/iris-9"),
        (b"/v2/models/irises", b"/v2/models/irises", b"/rehearsal/irises"),
        (b"/else", b"/else", b"/else"),
    ],
)
@on_the_loop
async def test_the_path_is_the_backends_and_then_the_mirrors(path: bytes, live_path: bytes, copy_path: bytes) -> None:
    backends_own = {"rewrite": {"path": {"prefix": "/v2/models/iris", "to": "/v2/models/iris-9"}}}
    entry = {"rewrite": {"path": {"prefix": "/v2/models", "to": "/rehearsal"}}}
    async with mirroring(entry, shadow=backends_own) as stage:
        client, live, sent, shadow, copy = await stage.asked(post(b"abc", path=path))
        assert (sent.line.split(b" ")[1], copy.line.split(b" ")[1]) == (live_path, copy_path)
        await answered(stage, client, live, shadow)


@on_the_loop
async def test_each_backends_json_fields_are_its_own() -> None:
    """The copy is of what the client sent, and not of what live's backend made of it."""
    live_rewrite = {"rewrite": {"json": {"model": "iris-7"}}}
    async with mirroring(backend=live_rewrite, shadow={"rewrite": {"json": {"model": "iris-9"}}}) as stage:
        client = await stage.connect()
        client.send(post(b'{"model":"iris","inputs":[1,2,3]}', b"Content-Type: application/json\r\n"))
        live, sent = await stage.live.call()
        shadow, copy = await stage.shadow.call()
        assert sent.body == b'{"model":"iris-7","inputs":[1,2,3]}'
        assert copy.body == b'{"model":"iris-9","inputs":[1,2,3]}'
        await answered(stage, client, live, shadow)


@on_the_loop
async def test_a_shadow_with_json_fields_hears_a_streamed_body_when_it_is_whole() -> None:
    async with mirroring(shadow={"rewrite": {"json": {"model": "next"}}}) as stage:
        client = await stage.connect()
        client.send(b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"model"\r\n')
        live = await stage.live.accept()
        await live.head()
        assert await live.chunk() == b'{"model"'
        await stage.proxy.settled(lambda: stage.lane.held == 8)
        client.send(b"4\r\n:1 }\r\n0\r\n\r\n")
        assert await live.chunk() == b":1 }"
        shadow, copy = await stage.shadow.call()
        assert copy.body == b'{"model":"next"}'
        assert await live.chunk() == b""
        await answered(stage, client, live, shadow)


@on_the_loop
async def test_every_shadow_hears_a_copy() -> None:
    async with mirroring({}, {}, {}) as stage:
        client = await stage.connect()
        client.send(post(b"abc"))
        calls = [await each.call() for each in (stage.live, *stage.shadows)]
        assert [request.body for _, request in calls] == [b"abc"] * 4
        assert [request.get(b"x-understudy-shadow") for _, request in calls] == [None, b"next", b"next2", b"next3"]
        for call, _ in calls:
            call.send(ok())
        assert (await client.message()).status == 200
        await stage.pair(3)
        assert {each.shadow for each in stage.pairs} == {"next", "next2", "next3"}


@on_the_loop
async def test_a_condition_and_a_percentage_select() -> None:
    entries = ({"when": {"header": "x-rehearse", "present": True}}, {"percent": 0}, {"percent": 50})
    async with mirroring(*entries) as stage:
        for number in range(100):
            client = await stage.connect()
            client.send(post(b"abc", b"X-Rehearse: 1\r\n" if number < 30 else b""))
            live, _ = await stage.live.call()
            live.send(ok())
            assert (await client.message()).status == 200
            client.close()
        assert [lane.copy_stats.exchanges for lane in stage.lanes] == [100] * 3
        begun = [len(lane.copies) for lane in stage.lanes]
        assert begun[:2] == [30, 0]
        assert 25 <= begun[2] <= 75  # half of 100: five sigma


@on_the_loop
async def test_a_key_keeps_its_sample_and_each_shadow_draws_anew() -> None:
    entry = {"percent": 50, "sample_by": {"header": "x-user-id"}}
    async with mirroring(entry, entry) as stage:
        taken: dict[int, set[tuple[int, int]]] = {}
        for user in [*range(30), *range(30)]:
            client = await stage.connect()
            before = [len(lane.copies) for lane in stage.lanes]
            client.send(post(b"abc", b"X-User-Id: user-%d\r\n" % user))
            live, _ = await stage.live.call()
            live.send(ok())
            assert (await client.message()).status == 200
            client.close()
            one, other = (len(lane.copies) - old for lane, old in zip(stage.lanes, before, strict=True))
            taken.setdefault(user, set()).add((one, other))
        assert all(len(each) == 1 for each in taken.values()), "the same key, the same shadows"
        assert len(set.union(*taken.values())) == 4, "every combination: the draws are independent"


@on_the_loop
async def test_a_client_that_asks_for_leave_gets_it_once_and_both_backends_the_body() -> None:
    async with mirroring() as stage:
        client = await stage.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        live, shadow = await stage.live.accept(), await stage.shadow.accept()
        assert (await live.head()).get(b"expect") is None
        assert (await shadow.head()).get(b"expect") is None
        assert (await client.head()).status == 100
        client.send(b"abc")
        assert await live.exactly(3) == await shadow.exactly(3) == b"abc"
        shadow.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await answered(stage, client, live, shadow)


@on_the_loop
async def test_a_1_0_client_and_a_head_are_mirrored_like_others() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, copy = await stage.asked(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert copy.line == b"POST / HTTP/1.1"
        await answered(stage, client, live, shadow)
        client, live, _, shadow, copy = await stage.asked(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert copy.line == b"HEAD / HTTP/1.1"
        for end in (live, shadow):
            end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        answer: Message = await client.message(head_only=True)
        assert answer.get(b"content-length") == b"10"
        assert (await stage.pair(2)).shadow_outcome == "complete"


@on_the_loop
async def test_a_large_body_is_shared_with_a_shadow_that_reads_later() -> None:
    """Live has it all and has answered, before the shadow reads a byte."""
    size = 24 * MIB
    async with mirroring({"max_body": "32MiB"}, backend=WARM) as stage:
        client = await stage.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        live = await stage.live.accept()
        await live.head()
        shadow = await stage.shadow.accept()
        shadow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        piece = bytes(range(256)) * 4096
        for _ in range(size // MIB):
            client.send(piece)
            assert await live.exactly(MIB) == piece
        live.send(ok(b"live"))
        assert (await client.message()).body == b"live"
        assert 0 < stage.lane.held <= size
        shadow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        copy = await shadow.message()
        assert copy.body == piece * (size // MIB)
        assert stage.lane.held == 0
        shadow.send(ok())
        pair = await stage.pair()
        assert (pair.shadow_outcome, pair.request_bytes) == ("complete", size)
