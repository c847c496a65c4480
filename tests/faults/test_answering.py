"""Faults 3, 4, 5, 7 and 11: B took the request and gives no answer, or none that is one."""

from __future__ import annotations

from time import monotonic

import pytest

from .peers import Call, Client, ok, problem
from .site import Scene

SILENT = "B accepts, never answers"
RESETS = "B resets before any byte, request sent"
MID_HEAD = "B resets or closes mid-head"
GARBAGE = "B sends garbage"
STALE = "idle pooled connection closed as we send"
FIRST_BYTE_TIMEOUT_S = 0.8
LATE_S = 1.0  # a machine that is busy with something else; a tick early is in the bounds below
UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]
SAFE = ["GET", "HEAD", "OPTIONS", "QUERY"]


def send(scene: Scene, method: str, fields: str = "Content-Length: 3", body: bytes = b"x=1") -> Client:
    """A request of a new client."""
    client = scene.client()
    client.send(scene.head(method, fields) + body if method not in SAFE else scene.head(method))
    return client


def break_off(call: Call, how: str) -> None:
    """End B's connection."""
    call.reset() if how == "reset" else call.close()


@pytest.mark.fault(3, SILENT)
@pytest.mark.parametrize("body", ["none", "length", "chunked"])
def test_silence_is_a_504_and_the_connection_is_closed(scene: Scene, body: str) -> None:
    scene.warm()
    client = scene.client()
    begun = monotonic()
    if body == "none":
        client.send(scene.get())
    elif body == "length":
        client.send(scene.post())
    else:
        client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n0\r\n\r\n")
    call = scene.backend.next_call()
    assert problem(client.answer()) == (504, "upstream_timeout")
    assert FIRST_BYTE_TIMEOUT_S - 0.06 <= monotonic() - begun < FIRST_BYTE_TIMEOUT_S + LATE_S
    call.wait_end(0.1)
    scene.recovers(lost="the request: 504")
    assert len(scene.backend.connections) == 2
    assert scene.backend.effects == 3  # the one before, the lost one, the one after: none twice


@pytest.mark.fault(3, SILENT, route={"timeout": "300ms"})
def test_a_route_may_have_less_time_than_its_backend(scene: Scene) -> None:
    client = scene.client()
    begun = monotonic()
    client.send(scene.get())
    call = scene.backend.next_call()
    assert problem(client.answer()) == (504, "upstream_timeout")
    assert 0.29 <= monotonic() - begun < 0.3 + LATE_S
    call.wait_end(0.1)
    scene.recovers(lost="the request: 504")


@pytest.mark.fault(3, SILENT)
def test_a_head_that_drips_is_no_answer_either(scene: Scene) -> None:
    client = scene.client()
    begun = monotonic()
    client.send(scene.get())
    call = scene.backend.next_call()
    for byte in b"HTTP/1.1 200 OK\r\nX-Drip: ":
        call.send(bytes([byte]))
        if client.read_more(0.1):
            break
    assert problem(client.answer()) == (504, "upstream_timeout")
    assert FIRST_BYTE_TIMEOUT_S - 0.06 <= monotonic() - begun < FIRST_BYTE_TIMEOUT_S + LATE_S
    call.wait_end(0.1)


@pytest.mark.fault(4, RESETS)
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "reused"])
def test_an_unsafe_request_is_never_sent_again(scene: Scene, method: str, how: str, warm: bool) -> None:
    if warm:
        scene.warm()
    client = send(scene, method)
    call = scene.backend.next_call()
    assert len(call.requests) == 1 + warm
    break_off(call, how)
    assert problem(client.answer()) == (502, "upstream_closed")
    assert scene.backend.effects == 1 + warm
    scene.recovers(lost="the request: 502")
    assert scene.backend.effects == 2 + warm


@pytest.mark.fault(4, RESETS)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_streamed_upload_is_never_sent_again(scene: Scene, how: str) -> None:
    scene.warm()
    client = scene.client()
    client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n")
    call = scene.backend.next_head()
    break_off(call, how)
    assert problem(client.answer()) == (502, "upstream_closed")
    scene.recovers(lost="the request: 502")
    assert scene.backend.effects == 2


@pytest.mark.fault(4, RESETS)
@pytest.mark.parametrize("method", SAFE)
def test_a_safe_request_on_a_fresh_connection_is_not_sent_again(scene: Scene, method: str) -> None:
    client = send(scene, method)
    scene.backend.next_call().reset()
    answer = client.answer(method.encode())
    assert answer.status == 502
    assert method == "HEAD" or problem(answer) == (502, "upstream_closed")
    assert scene.backend.effects == 1
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(4, RESETS)
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("method", SAFE)
def test_a_safe_request_on_a_reused_connection_is_sent_once_more(scene: Scene, method: str, how: str) -> None:
    scene.warm()
    client = send(scene, method)
    old = scene.backend.next_call()
    break_off(old, how)
    fresh = scene.backend.next_call()
    assert fresh is not old
    assert fresh.request.method == method.encode()
    fresh.send(ok(b"" if method == "HEAD" else b"at last"))
    assert client.answer(method.encode()).status == 200
    assert scene.backend.effects == 3
    scene.recovers()


@pytest.mark.fault(4, RESETS)
def test_once_more_is_once(scene: Scene) -> None:
    scene.warm()
    client = send(scene, "GET")
    scene.backend.next_call().reset()
    scene.backend.next_call().reset()
    assert problem(client.answer()) == (502, "upstream_closed")
    assert scene.backend.effects == 3
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(4, RESETS, backend={"max_connections": 1})
def test_once_more_is_once_even_over_a_connection_that_another_has_used(scene: Scene) -> None:
    scene.warm()
    client = send(scene, "GET")
    old = scene.backend.next_call()
    other = send(scene, "POST")  # waits for the only connection
    assert scene.backend.quiet()
    old.reset()
    call = scene.backend.next_call()
    assert call.request.method == b"POST"
    call.send(ok(b"other"))
    assert other.answer().body == b"other"
    assert scene.backend.next_call() is call
    assert call.request.method == b"GET"
    call.reset()
    assert problem(client.answer()) == (502, "upstream_closed")
    assert scene.backend.quiet()
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(4, RESETS)
def test_a_safe_request_with_a_body_still_arriving_is_not_sent_again(scene: Scene) -> None:
    scene.warm()
    client = scene.client()
    client.send(scene.head("QUERY", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n")
    scene.backend.next_head().reset()
    assert problem(client.answer()) == (502, "upstream_closed")
    assert scene.backend.quiet()


@pytest.mark.fault(5, MID_HEAD)
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
def test_half_a_head_is_a_502(scene: Scene, part: bytes, how: str) -> None:
    scene.warm()
    client = send(scene, "GET")
    call = scene.backend.next_call()
    call.send(part)
    assert client.still_open()
    break_off(call, how)
    assert problem(client.answer()) == (502, "upstream_closed")
    assert scene.backend.effects == 2  # a byte of an answer came: even a safe request is not sent again
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(7, GARBAGE)
@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\xff\xfe",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",  # an HTTP/2 SETTINGS frame
        b"\x15\x03\x01\x00\x02\x02\x46",  # a TLS alert
        b"ICY 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_garbage_is_a_502_and_the_connection_is_dropped(scene: Scene, garbage: bytes) -> None:
    client = send(scene, "POST")
    call = scene.backend.next_call()
    call.send(garbage)
    assert problem(client.answer()) == (502, "upstream_protocol")
    call.wait_end(0.5)
    assert scene.backend.effects == 1
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(7, GARBAGE)
@pytest.mark.parametrize("garbage", [b"zz\r\n", b"5\r\nhelloX", b"-1\r\n", b"5;;\r\nhello\r\n", b"5\nhello\n"])
def test_garbage_among_chunks_cuts_the_answer(scene: Scene, garbage: bytes) -> None:
    client = send(scene, "POST")
    call = scene.backend.next_call()
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    client.until(lambda: b"first" in client.body_so_far())
    call.send(garbage)
    assert client.cut_answer().status == 200
    call.wait_end(0.5)
    scene.recovers(lost="the request: cut")


@pytest.mark.fault(11, STALE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_seen_to_close_is_not_used(scene: Scene, method: str) -> None:
    scene.warm()
    scene.backend.connections[0].close()
    scene.recovers()  # the close was seen by then
    client = send(scene, method)
    call = scene.backend.next_call()
    call.send(ok())
    assert client.answer().status == 200
    assert scene.backend.effects == 3
