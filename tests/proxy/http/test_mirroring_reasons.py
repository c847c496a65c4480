"""Every reason why a copy is dropped, cut short or has failed, and what control is told of the pair."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace

import pytest

from tests.kit.configured import snapshot_of
from tests.kit.conversation import on_the_loop
from tests.kit.shadows import Stage, document_of, mirroring, ok, post

MIB = 1024 * 1024
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\none"


def failed(stage: Stage) -> dict[str, int]:
    """Copies that were sent and got no whole answer."""
    return stage.lane.stats.reasons


@on_the_loop
async def test_a_pair_tells_of_both_calls() -> None:
    async with mirroring() as stage:
        loop_time = stage.proxy.plane.loop.time
        client, live, _, shadow, _ = await stage.asked(post(b"abc", b"X-Request-Id: r\r\n"))
        begun = loop_time()
        live.send(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nli")
        assert (await client.head()).status == 201
        live.send(b"ve")
        assert await client.exactly(4) == b"live"
        shadow.send(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsha\r\n")
        await stage.proxy.settled(lambda: any(copy.status for copy in stage.lane.copies))
        shadow.send(b"3\r\ndow\r\n0\r\n\r\n")
        pair = await stage.pair()
        passed_ms = (loop_time() - begun) * 1000 + 50
        assert (pair.route, pair.config, pair.live, pair.shadow) == ("everything", 1, "stable", "next")
        assert (pair.live_version, pair.shadow_version) == ("", "9")
        assert (pair.live_status, pair.shadow_status) == (201, 503)
        assert (pair.live_outcome, pair.shadow_outcome) == ("complete", "complete")
        assert (pair.request_bytes, pair.live_bytes, pair.shadow_bytes) == (3, 4, 6)
        assert (pair.sent, pair.censored, pair.tainted, pair.calibration) == (True, False, False, False)
        for first, total, gap in (
            (pair.live_first_byte_ms, pair.live_total_ms, pair.live_gap_ms),
            (pair.shadow_first_byte_ms, pair.shadow_total_ms, pair.shadow_gap_ms),
        ):
            assert first is not None and total is not None and gap is not None
            assert 0 < first < total < passed_ms
            assert 0 < gap <= total - first + 0.001
        assert pair.live_total_ms is not None and pair.shadow_first_byte_ms is not None
        assert pair.live_total_ms < pair.shadow_first_byte_ms, "the shadow began when live was over"
        stats = stage.lane.copy_stats
        assert (stats.exchanges, stats.selected, stats.sent, stats.complete) == (1, 1, 1, 1)
        assert stage.lane.stats.statuses == {503: 1} and failed(stage) == {}


@on_the_loop
async def test_a_slow_client_taints_the_pair_and_not_the_shadow() -> None:
    size = 32 * MIB
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        live.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        shadow.send(ok())
        (connection,) = stage.proxy.plane._ports["ingress"].connections
        await stage.proxy.settled(lambda: connection._full and not stage.lane.copies)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.message()).body) == size
        pair = await stage.pair()
        assert (pair.tainted, pair.live_bytes, pair.shadow_outcome) == (True, size, "complete")


@on_the_loop
async def test_same_backend_is_skipped_unless_it_is_a_calibration() -> None:
    for calibration in (False, True):
        async with mirroring({"backend": "stable", "calibration": calibration}) as stage:
            client = await stage.connect()
            client.send(post(b"abc", b"Idempotency-Key: k\r\n"))
            calls = [await stage.live.call() for _ in range(1 + calibration)]
            for call, _ in calls:
                call.send(ok())
            assert (await client.message()).status == 200
            pair = await stage.pair()
            if calibration:
                assert (pair.sent, pair.calibration, pair.live, pair.shadow) == (True, True, "stable", "stable")
                assert len({request.get(b"idempotency-key") for _, request in calls}) == 2
            else:
                assert (pair.sent, pair.shadow_outcome) == (False, "same_backend")
                assert stage.lane.copy_stats.dropped == {"same_backend": 1}


@on_the_loop
async def test_a_websocket_is_not_mirrorable() -> None:
    async with mirroring() as stage:
        client = await stage.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        live, _ = await stage.live.call()
        live.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        assert (await client.head()).status == 101
        assert await client.exactly(5) == b"hello"
        client.send(b"well")
        assert await live.exactly(4) == b"well"
        live.close()
        assert await client.rest() == b""
        pair = await stage.pair()
        assert (pair.live_outcome, pair.live_status, pair.shadow_outcome) == ("complete", 101, "not_mirrorable")
        assert pair.live_first_byte_ms is not None and pair.live_total_ms is not None
        assert 0 < pair.live_first_byte_ms < pair.live_total_ms
        assert pair.live_gap_ms is not None and pair.live_gap_ms <= pair.live_total_ms - pair.live_first_byte_ms
        assert pair.live_bytes == 5
        assert stage.shadow.connections == []


@on_the_loop
async def test_a_body_too_large_is_not_mirrored() -> None:
    async with mirroring({"max_body": "2KiB"}) as stage:
        client = await stage.connect()
        await stage.live_alone(client, post(bytes(2049)))
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome, pair.request_bytes) == (False, "body_too_large", 2049)
        assert stage.shadow.connections == []
        assert stage.lane.copy_stats.selected_by_size == [0, 1, 0, 0, 0, 0]
        assert stage.lane.copy_stats.compared_by_size == [0] * 6


@on_the_loop
async def test_a_body_found_too_large_while_it_streams_is_cut_at_the_shadow_alone() -> None:
    async with mirroring({"max_body": "2KiB"}) as stage:
        client = await stage.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n%b\r\n" % bytes(2048))
        shadow = await stage.shadow.accept()
        await shadow.head()
        assert len(await shadow.chunk()) == 2048
        client.send(b"1\r\n.\r\n0\r\n\r\n")
        assert await shadow.gone() == b""
        await stage.live_alone(client)
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome, pair.request_bytes) == (True, "body_too_large", 2049)
        assert not pair.censored
        assert failed(stage) == {"body_too_large": 1}
        assert stage.lane.copy_stats.selected_by_size == [0, 1, 0, 0, 0, 0]
        assert stage.lane.copy_stats.compared_by_size == [0] * 6
        assert stage.lane.breaker.failures == 0


@pytest.mark.parametrize("limit", ["first_byte_timeout", "total_timeout"])
@on_the_loop
async def test_shadow_timeout(limit: str) -> None:
    async with mirroring({limit: "200ms"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        assert await shadow.gone() == b""
        live.send(ok(b"live"))
        assert (await client.message()).body == b"live", "which had no limit"
        pair = await stage.pair()
        assert (pair.shadow_outcome, pair.censored) == ("shadow_timeout", True)
        assert pair.shadow_total_ms is not None and 190 < pair.shadow_total_ms < 1000
        assert pair.shadow_first_byte_ms is None
        assert failed(stage) == {"shadow_timeout": 1}


@on_the_loop
async def test_a_stalled_stream_is_a_timeout_too() -> None:
    async with mirroring({"idle_timeout": "200ms"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
        live.send(ok())
        await client.message()
        pair = await stage.pair()
        assert (pair.shadow_outcome, pair.shadow_status, pair.shadow_bytes) == ("shadow_timeout", 200, 5)
        assert pair.shadow_first_byte_ms is not None
        assert pair.shadow_gap_ms is not None and pair.shadow_gap_ms > 150, "the silence that ended it is a gap too"


@pytest.mark.parametrize("how", ["reset", "closed", "garbage", "broken off", "101"])
@on_the_loop
async def test_shadow_error(how: str) -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        if how == "garbage":
            shadow.send(b"SSH-2.0-x\r\n\r\n")
        elif how == "broken off":
            shadow.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
        elif how == "101":
            shadow.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        shadow.reset() if how == "reset" else shadow.close()
        live.send(ok(b"live"))
        assert (await client.message()).body == b"live"
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome, pair.censored) == (True, "shadow_error", False)
        assert failed(stage) == {"shadow_error": 1}
        assert stage.lane.breaker.failures == 1


@on_the_loop
async def test_a_shadow_that_refuses_opens_the_breaker_and_an_answer_to_a_probe_closes_it() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = taken.getsockname()
    async with mirroring(url="http://{}:{}".format(*address)) as stage:
        for number in range(1, 8):
            await stage.live_alone(await stage.connect(), post(b"abc"))
            pair = await stage.pair(number)
            assert (pair.sent, pair.shadow_total_ms) == (False, None), "what was not sent took no time"
        assert stage.lane.copy_stats.dropped == {"shadow_error": 5, "breaker_open": 2}
        assert (stage.lane.copy_stats.breaker, stage.lane.copy_stats.sent) == ("open", 0)
        taken = socket.create_server(address)
        taken.setblocking(False)
        loop = stage.proxy.plane.loop
        with closing(taken):
            number = 7
            while stage.lane.copy_stats.dropped["breaker_open"] == number - 5:  # the pause lasts a second
                await stage.live_alone(await stage.connect(), post(b"abc"))
                number += 1
                await stage.proxy.settled(lambda: bool(stage.lane.copies) or len(stage.take_pairs()) == number)  # noqa: B023
            assert stage.lane.breaker.state == 2, "it probes"
            await stage.live_alone(await stage.connect(), post(b"abc"))
            assert (await stage.pair(number)).shadow_outcome == "breaker_open", "one at a time"
            accepted, _ = await loop.sock_accept(taken)
            with closing(accepted):
                await loop.sock_recv(accepted, 65536)
                await loop.sock_sendall(accepted, ok())
                assert (await stage.pair(number + 1)).shadow_outcome == "complete"
        assert stage.lane.copy_stats.breaker == "closed"


@pytest.mark.parametrize("finish", [False, True])
@on_the_loop
async def test_client_gone(finish: bool) -> None:
    async with mirroring({"on_client_gone": "finish" if finish else "cancel"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        client.reset()
        assert await live.gone() == b""
        if finish:
            shadow.send(ok())
        else:
            assert await shadow.gone(0.5) == b""
        pair = await stage.pair()
        assert pair.live_outcome == "client_gone"
        assert (pair.sent, pair.shadow_outcome) == (True, "complete" if finish else "client_gone")
        assert not pair.censored


@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
@on_the_loop
async def test_a_client_gone_mid_upload_leaves_no_whole_message(framing: str, finish: bool) -> None:
    async with mirroring({"on_client_gone": "finish" if finish else "cancel"}) as stage:
        client = await stage.connect()
        if framing == "counted":
            client.send(UPLOAD)
        else:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        shadow = await stage.shadow.accept()
        await shadow.head()
        assert await (shadow.exactly(3) if framing == "counted" else shadow.chunk()) == b"one"
        client.reset()
        assert await shadow.gone(0.5) == b"", "neither more bytes nor a last chunk"
        pair = await stage.pair()
        assert (pair.live_outcome, pair.shadow_outcome) == ("client_gone", "client_gone")
        assert stage.lane.breaker.failures == 0


@on_the_loop
async def test_live_answers_before_the_request_has_ended() -> None:
    """Fault 9: what is left of the upload goes nowhere, and so the copy can never be whole."""
    async with mirroring() as stage:
        client = await stage.connect()
        client.send(UPLOAD)
        live, shadow = await stage.live.accept(), await stage.shadow.accept()
        await live.head()
        live.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.message()).status == 413
        await shadow.head()
        assert await shadow.gone(0.5) == b"one"
        pair = await stage.pair()
        assert (pair.live_status, pair.shadow_outcome) == (413, "live_over")
        assert stage.lane.breaker.failures == 0


@on_the_loop
async def test_the_shadow_answers_before_the_request_has_ended() -> None:
    async with mirroring() as stage:
        client = await stage.connect()
        client.send(UPLOAD)
        live, shadow = await stage.live.accept(), await stage.shadow.accept()
        await shadow.head()
        shadow.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await shadow.gone(0.5)
        client.send(b"twosix")
        assert (await live.message()).body == b"onetwosix"
        live.send(ok())
        assert (await client.message()).status == 200
        pair = await stage.pair()
        assert (pair.live_status, pair.shadow_status, pair.shadow_outcome) == (200, 413, "complete")


@on_the_loop
async def test_a_live_backend_that_refuses_has_its_copy_answered() -> None:
    async with mirroring(backend={"endpoints": ["http://127.0.0.1:1"]}) as stage:
        client = await stage.connect()
        client.send(post(b"abc"))
        shadow, copy = await stage.shadow.call()
        assert copy.body == b"abc"
        assert (await client.message()).status == 503
        shadow.send(ok())
        pair = await stage.pair()
        assert (pair.live_outcome, pair.live_status, pair.live_total_ms) == ("connect_failed", 503, None)
        assert (pair.shadow_outcome, pair.shadow_status) == ("complete", 200)


@on_the_loop
async def test_copies_under_way_when_the_proxy_drains_are_cut() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        live.send(ok())
        await client.message()
        client.close()
        await stage.proxy.plane.drain(1.0)
        assert await shadow.gone() == b""
        pair = await stage.pair()
        assert (pair.sent, pair.shadow_outcome, pair.censored) == (True, "draining", True)


@on_the_loop
async def test_a_route_that_is_gone_lets_its_copies_end() -> None:
    async with mirroring(shadow={"keep_alive": "30s"}) as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"abc"))
        lane, plane = stage.lane, stage.proxy.plane
        plane.apply(replace(snapshot_of(document_of(stage.live.url, [stage.shadow.url], []), plane), version=2))
        assert plane.lanes == {}
        live.send(ok())
        shadow.send(ok())
        assert (await client.message()).status == 200
        assert (await stage.pair()).shadow_outcome == "complete"
        assert await shadow.gone() == b"", "nobody needs its connection"
        assert not lane.copies and lane.held == 0
        await stage.live_alone(client, post(b"abc"))
        await stage.proxy.settled(lambda: stage.proxy.in_flight() == 0)
        assert len(stage.take_pairs()) == 1
