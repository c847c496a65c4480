"""Faults 6, 8, 12, 14, 15 and 16: B's answer has begun well and goes wrong, or on without end."""

from __future__ import annotations

import socket
from time import monotonic

import pytest

from .peers import ok, problem
from .site import MIB, Scene
from .websocket import frame, opened

MID_BODY = "B closes mid-body"
EXTRA = "B sends two responses or extra bytes"
DRIP = "B drips"
ENDLESS = "B's body endless, C slow"
DISAGREES = "B's Content-Length disagrees, or CL and TE"
UNWANTED = "HEAD, 204 or 304 with a body"
LATE_S = 1.0  # a machine that is busy with something else; a tick early is in the bounds below
FLAT_BYTES = 4 * MIB
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WITHOUT_END = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "chunked": CHUNKED + b"fffffff\r\n",  # one chunk of 256 MiB
}
PIECE = b"." * 64 * 1024
HOWS = pytest.mark.parametrize("how", ["reset", "close"])


@pytest.mark.fault(6, MID_BODY)
@HOWS
@pytest.mark.parametrize("begun", [LENGTH + b"some", CHUNKED + b"4\r\nsome\r\n", CHUNKED + b"9\r\nsome"])
def test_a_broken_body_is_never_complete(scene: Scene, begun: bytes, how: str) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(begun)
    client.until(lambda: b"some" in client.body_so_far())
    call.reset() if how == "reset" else call.close()
    assert client.cut_answer().status == 200
    assert not client.received.endswith(b"0\r\n\r\n")
    assert scene.backend.effects == 1
    scene.recovers(lost="the rest of the answer: cut")
    scene.counted("truncated")


@pytest.mark.fault(6, MID_BODY)
def test_a_body_broken_in_the_same_segment_as_its_head(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(LENGTH + b"some")
    call.close()
    client.wait_end()
    assert b"some" in client.received or not client.received
    assert b"502" not in client.received[:20] or problem(client.answer()) == (502, "truncated")


@pytest.mark.fault(6, MID_BODY)
def test_a_body_that_ends_with_its_connection_is_whole(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(b"HTTP/1.0 200 OK\r\n\r\nold but ")
    client.until(lambda: b"old but " in client.body_so_far())
    call.send(b"good")
    call.close()
    assert client.answer().body == b"old but good"
    client.send(scene.get("/again"))  # C's connection persists: its answer was chunked
    scene.backend.next_call().send(ok())
    assert client.answer().body == b"fine\n"


@pytest.mark.fault(6, MID_BODY)
@HOWS
def test_a_websocket_ends_where_b_ends_it(scene: Scene, how: str) -> None:
    client, call = opened(scene)
    call.send(frame(b"hello")[:4])
    client.until(lambda: bytes(client.received).endswith(frame(b"hello")[:4]))
    call.reset() if how == "reset" else call.close()
    client.wait_end(0.5)
    assert bytes(client.received).endswith(frame(b"hello")[:4])
    scene.recovers(lost="the WebSocket: closed")


@pytest.mark.fault(8, EXTRA)
@pytest.mark.parametrize("extra", [ok(b"poison"), b"x", b"\r\n", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("when", ["with the answer", "afterwards"])
def test_what_nobody_asked_for_is_nobodys_answer(scene: Scene, extra: bytes, when: str) -> None:
    client = scene.client()
    client.send(scene.get("/one"))
    call = scene.backend.next_call()
    call.send(ok(b"one") + (extra if when == "with the answer" else b""))
    assert client.answer().body == b"one"
    if when == "afterwards":
        call.send(extra)
    call.wait_end(0.5)
    client.send(scene.get("/two"))
    fresh = scene.backend.next_call()
    assert fresh is not call
    fresh.send(ok(b"two"))
    assert client.answer().body == b"two"
    scene.recovers()


@pytest.mark.fault(8, EXTRA)
@pytest.mark.parametrize("extra", [ok(b"poison"), b"x"])
def test_extra_bytes_behind_the_last_chunk(scene: Scene, extra: bytes) -> None:
    client = scene.client()
    client.send(scene.get("/one"))
    call = scene.backend.next_call()
    call.send(CHUNKED + b"3\r\none\r\n0\r\n\r\n" + extra)
    assert client.answer().body == b"one"
    call.wait_end(0.5)
    client.send(scene.get("/two"))
    scene.backend.next_call().send(ok(b"two"))
    assert client.answer().body == b"two"
    scene.recovers()


@pytest.mark.fault(12, DRIP, backend={"idle_timeout": "400ms", "total_timeout": "1500ms"})
@pytest.mark.parametrize("head", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_progress_holds_off_the_idle_timeout_and_the_total_ends_it(scene: Scene, head: bytes) -> None:
    assert_ended(scene, head, 1.5)


@pytest.mark.fault(12, DRIP, backend={"idle_timeout": "400ms"}, route={"timeout": "1s"})
@pytest.mark.parametrize("head", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_progress_holds_off_the_idle_timeout_and_the_route_ends_it(scene: Scene, head: bytes) -> None:
    assert_ended(scene, head, 1.0)


def assert_ended(scene: Scene, head: bytes, after_s: float) -> None:
    """B drips a byte five times a second; C has each at once, until the answer is cut."""
    resident = scene.site.resident_bytes()
    client = scene.client()
    begun = monotonic()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(head)
    client.until(lambda: b"\r\n\r\n" in client.received)
    drips = 0
    while not client.ended:
        call.send(b"." if head is LENGTH else b"1\r\n.\r\n")
        before = monotonic()
        client.read_more(LATE_S)
        drips += not client.ended
        assert client.ended or monotonic() - before < 0.1
        if not client.ended:
            client.read_more(0.2)
    assert after_s - 0.01 <= monotonic() - begun < after_s + LATE_S
    assert drips >= 4
    assert client.cut_answer().status == 200
    call.wait_end(0.1)
    assert scene.site.resident_bytes() - resident < FLAT_BYTES
    scene.recovers(lost="the rest of the answer: cut at the limit")
    scene.counted("upstream_timeout")


@pytest.mark.fault(12, DRIP, backend={"idle_timeout": "400ms"})
@pytest.mark.parametrize("head", [LENGTH + b"some", CHUNKED + b"4\r\nsome\r\n"], ids=["length", "chunked"])
def test_a_stream_that_stalls_is_cut(scene: Scene, head: bytes) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(head)
    client.until(lambda: b"some" in client.body_so_far())
    begun = monotonic()
    assert client.cut_answer().status == 200
    assert 0.35 <= monotonic() - begun < 0.4 + LATE_S
    call.wait_end(0.1)
    scene.recovers(lost="the rest of the answer: cut at the limit")


@pytest.mark.fault(14, ENDLESS, backend={"idle_timeout": "30s"})
@pytest.mark.parametrize("head", WITHOUT_END.values(), ids=WITHOUT_END)
def test_a_slow_client_holds_back_its_backend_and_memory_is_flat(scene: Scene, head: bytes) -> None:
    client = scene.client(buffer_bytes=64 * 1024)
    client.send(scene.get())
    call = scene.backend.next_call()
    call.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    call.send(head)
    client.until(lambda: b"\r\n\r\n" in client.received)
    resident = scene.site.resident_bytes()
    taken = call.offer(PIECE, 64 * MIB)
    assert taken < 32 * MIB, "B was never held back"  # what the kernel's buffers hold, and one of ours
    grown = scene.site.resident_bytes() - resident
    assert grown < FLAT_BYTES
    assert call.offer(PIECE, MIB) == 0
    passed = len(client.received)
    client.until(lambda: len(client.received) - passed > taken // 2)  # C reads: B may go on
    assert call.offer(PIECE, MIB) > 0
    assert scene.site.resident_bytes() - resident < FLAT_BYTES
    client.reset()
    call.wait_end(0.2)
    scene.row["measured"] = {"B was held back after MiB": round(taken / MIB, 1), "grown MiB": round(grown / MIB, 1)}
    scene.recovers(lost="nothing but speed")


@pytest.mark.fault(14, ENDLESS, backend={"idle_timeout": "500ms"})
def test_a_client_that_takes_nothing_is_given_up(scene: Scene) -> None:
    client = scene.client(buffer_bytes=4096)
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(WITHOUT_END["chunked"])
    call.offer(PIECE, 64 * MIB, 0.2)
    call.wait_end(2)
    scene.counted("client_timeout")
    scene.recovers(lost="the answer of the client that stands still")


@pytest.mark.fault(14, ENDLESS, backend={"first_byte_timeout": "30s"})
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_backend_holds_back_its_client_and_memory_is_flat(scene: Scene, framing: str) -> None:
    client = scene.client("patient")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    if framing == "length":
        client.send(scene.head("POST", "Content-Length: 99999999999"))
    else:
        client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"fffffff\r\n")
    call = scene.backend.next_head()
    call.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    resident = scene.site.resident_bytes()
    taken = client.offer(PIECE, 64 * MIB)
    assert taken < 32 * MIB
    grown = scene.site.resident_bytes() - resident
    assert grown < FLAT_BYTES
    client.reset()
    call.wait_end(2)
    assert scene.backend.effects == 0
    scene.row["measured"] = {"C was held back after MiB": round(taken / MIB, 1)}
    scene.recovers(lost="nothing but speed")


@pytest.mark.fault(14, ENDLESS, backend={"idle_timeout": "30s"})
@pytest.mark.parametrize("to", ["C", "B"])
def test_a_websocket_holds_back_whoever_is_faster(scene: Scene, to: str) -> None:
    client, call = opened(scene)
    faster, slower = (call, client) if to == "C" else (client, call)
    resident = scene.site.resident_bytes()
    taken = faster.offer(PIECE, 64 * MIB)
    assert taken < 32 * MIB
    assert scene.site.resident_bytes() - resident < FLAT_BYTES
    passed = len(slower.received)
    slower.until(lambda: len(slower.received) - passed >= taken)
    assert slower.received[passed:].count(b".") == taken
    scene.row["measured"] = {f"a WebSocket to {to} was held back after MiB": round(taken / MIB, 1)}


@pytest.mark.fault(12, DRIP, backend={"idle_timeout": "400ms"})
@pytest.mark.parametrize("by", ["C", "B"])
def test_a_websocket_lives_while_either_side_speaks(scene: Scene, by: str) -> None:
    client, call = opened(scene)
    speaks, hears = (client, call) if by == "C" else (call, client)
    for _ in range(8):
        speaks.send(b".")
        assert hears.read_more(0.1)
        assert speaks.still_open(0.1)
    silent = monotonic()
    client.wait_end()
    call.wait_end(0.1)
    assert 0.25 <= monotonic() - silent < 0.4 + LATE_S
    scene.recovers(lost="the WebSocket: closed when both are silent")


@pytest.mark.fault(15, DISAGREES)
@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4\r\nContent-Length: 4\r\n",
        b"Content-Length: 4, 4\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_framing_that_can_be_read_in_two_ways_is_a_502(scene: Scene, fields: bytes) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n4\r\nbody\r\n0\r\n\r\n")
    assert problem(client.answer()) == (502, "upstream_protocol")
    call.wait_end(0.5)
    assert scene.backend.effects == 1
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(15, DISAGREES)
def test_a_body_longer_than_declared_ends_where_declared(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo")
    client.until(lambda: b"bo" in client.body_so_far())
    call.send(b"dy and more")
    assert client.answer().body == b"body"
    call.wait_end(0.5)
    scene.recovers()


@pytest.mark.fault(16, UNWANTED)
@pytest.mark.parametrize("when", ["with the head", "afterwards"])
@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"),
    ],
)
def test_a_body_where_there_is_none_goes_nowhere(scene: Scene, method: str, head: bytes, when: str) -> None:
    client = scene.client()
    client.send(scene.head(method))
    call = scene.backend.next_call()
    call.send(head + (b"body" if when == "with the head" else b""))
    answer = client.answer(method.encode())
    assert (answer.status, answer.body) == (int(head[9:12]), b"")
    if when == "afterwards":
        call.send(b"body")
    call.wait_end(0.5)
    assert client.still_open(), "more than the answer came"
    client.send(scene.get("/next"))
    fresh = scene.backend.next_call()
    assert fresh is not call
    fresh.send(ok(b"next"))
    assert client.answer().body == b"next"
    scene.recovers()


@pytest.mark.fault(16, UNWANTED)
@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("GET", b"204 No Content")])
def test_a_body_that_is_announced_is_not_waited_for(scene: Scene, method: str, status: bytes) -> None:
    """It could arrive together with the next request."""
    client = scene.client()
    client.send(scene.head(method))
    call = scene.backend.next_call()
    call.send(b"HTTP/1.1 %b\r\nContent-Length: 4\r\n\r\n" % status)
    assert client.answer(method.encode()).status == int(status[:3])
    call.wait_end(0.1)


@pytest.mark.fault(16, UNWANTED)
@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n"])
def test_without_a_body_the_connection_serves_on(scene: Scene, head: bytes) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(head)
    assert client.answer().status == int(head[9:12])
    client.send(scene.get("/next"))
    assert scene.backend.next_call() is call
    call.send(ok())
    assert client.answer().status == 200
