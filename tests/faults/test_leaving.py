"""Faults 9, 20, 21 and 22: C and B do not end together. What C left must stop at B at once."""

from __future__ import annotations

from time import monotonic

import pytest

from .conftest import FULL
from .peers import Call, Client, ok
from .site import MIB, Scene
from .websocket import frame, opened

EARLY = "B answers while C still uploads"
MID_UPLOAD = "C aborts mid-upload"
MID_RESPONSE = "C aborts mid-response or while waiting"
HALF_CLOSE = "C half-closes after its request"
AT_ONCE_S = 0.1
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ABORTS = 500 if FULL else 25
HOWS = pytest.mark.parametrize("how", ["reset", "close"])


def leave(client: Client, how: str) -> float:
    """C goes; the monotonic time at which it began to."""
    begun = monotonic()
    client.reset() if how == "reset" else client.close()
    return begun


PART = b"~" * 64 * 1024  # a byte that no head has


def uploading(scene: Scene, framing: str, size: int) -> tuple[Client, Call]:
    """An upload of which 64 KiB have reached B, and the rest has not been sent."""
    client = scene.client("patient")
    part = PART
    if framing == "length":
        client.send(scene.head("POST", f"Content-Length: {size}") + part)
    else:
        client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"%x\r\n" % size + part)
    call = scene.backend.next_head()
    call.until(lambda: call.pending.count(b"~") == len(PART))
    return client, call


FRAMINGS = pytest.mark.parametrize("framing", ["length", "chunked"])
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n"


@pytest.mark.fault(9, EARLY)
@FRAMINGS
def test_the_answer_passes_at_once_and_what_is_left_is_drained(scene: Scene, framing: str) -> None:
    client, call = uploading(scene, framing, 512 * 1024)
    begun = monotonic()
    call.send(REFUSAL)
    answer = client.answer()
    assert monotonic() - begun < 0.1
    assert (answer.status, answer.body) == (413, b"no\n")
    call.wait_end(0.1)  # the request was not sent whole: B's connection is of no more use
    assert scene.backend.effects == 0
    client.send(b"~" * 448 * 1024 + (b"\r\n0\r\n\r\n" if framing == "chunked" else b""))
    client.send(scene.get("/next"))
    fresh = scene.backend.next_call()
    assert (fresh.request.target, fresh is call) == (f"/{scene.name}/next".encode(), False)
    fresh.send(ok(b"next"))
    assert client.answer().body == b"next"
    scene.recovers(lost="nothing; C's connection serves on below 1 MiB")


@pytest.mark.fault(9, EARLY)
@FRAMINGS
def test_beyond_a_mebibyte_the_client_is_closed(scene: Scene, framing: str) -> None:
    client, call = uploading(scene, framing, 64 * MIB)
    call.send(REFUSAL)
    assert client.answer().status == 413
    client.send(b"." * 2 * MIB)
    client.wait_end(0.5)
    call.wait_end(0.1)
    scene.recovers(lost="nothing; C's connection beyond 1 MiB")


@pytest.mark.fault(9, EARLY)
@FRAMINGS
def test_after_a_second_the_client_is_closed(scene: Scene, framing: str) -> None:
    client, call = uploading(scene, framing, 512 * 1024)
    call.send(REFUSAL)
    assert client.answer().status == 413
    begun = monotonic()
    while not client.read_more(0.2):
        client.send(b".")  # a drip does not prolong it
    client.wait_end(0.1)
    assert 0.9 < monotonic() - begun < 1.5


@pytest.mark.fault(9, EARLY)
@FRAMINGS
def test_an_answer_that_goes_on_beside_the_upload(scene: Scene, framing: str) -> None:
    client, call = uploading(scene, framing, 65 * 1024)
    call.send(CHUNKED + b"5\r\nearly\r\n")
    client.until(lambda: b"early" in client.body_so_far())
    client.send(b"!" * 1024 + (b"\r\n0\r\n\r\n" if framing == "chunked" else b""))
    assert scene.backend.next_call() is call
    assert call.request.body == PART + b"!" * 1024
    call.send(b"4\r\nlate\r\n0\r\n\r\n")
    assert client.answer().body == b"earlylate"
    assert call.still_open(0.25)  # it rests for a moment, for some servers close after a stream without a word
    client.send(scene.get("/next"))
    assert scene.backend.next_call() is call  # sent whole, answered whole: it serves on
    call.send(ok())
    assert client.answer().status == 200


@pytest.mark.fault(20, MID_UPLOAD)
@HOWS
@FRAMINGS
def test_an_abandoned_upload_is_cut_at_b(scene: Scene, framing: str, how: str) -> None:
    client, call = uploading(scene, framing, 1 * MIB)
    left = leave(client, how)
    assert call.wait_end(1) - left < AT_ONCE_S
    assert not call.pending.endswith(b"0\r\n\r\n")
    assert scene.backend.effects == 0
    scene.recovers(lost="what C abandoned")
    scene.counted("client_gone")


@pytest.mark.fault(20, MID_UPLOAD, backend={"first_byte_timeout": "30s"})
@FRAMINGS
def test_an_upload_abandoned_while_b_takes_no_more_is_noticed(scene: Scene, framing: str) -> None:
    """The proxy reads nothing from C then, so that no event tells of the reset."""
    client = scene.client("patient")
    if framing == "length":
        client.send(scene.head("POST", "Content-Length: 99999999999"))
    else:
        client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"fffffff\r\n")
    call = scene.backend.next_head()
    assert client.offer(PART, 64 * MIB) < 32 * MIB
    client.reset()
    scene.counted("client_gone")  # while B still takes nothing
    call.wait_end()
    assert scene.backend.effects == 0


@pytest.mark.fault(20, MID_UPLOAD)
def test_a_fin_in_the_middle_of_an_upload_is_an_abort_too(scene: Scene) -> None:
    client, call = uploading(scene, "chunked", 1 * MIB)
    left = monotonic()
    client.finish()
    assert call.wait_end(1) - left < AT_ONCE_S
    assert scene.backend.effects == 0


@pytest.mark.fault(20, MID_UPLOAD)
def test_an_upload_with_a_malformed_chunk_is_cut_at_b(scene: Scene) -> None:
    client, call = uploading(scene, "chunked", 64 * 1024)
    client.send(b"\r\nzz\r\n")
    assert client.answer().status == 400
    client.wait_end()
    call.wait_end(0.5)
    assert scene.backend.effects == 0


@pytest.mark.fault(20, MID_UPLOAD)
@HOWS
def test_an_abandoned_websocket_message_is_cut_at_b(scene: Scene, how: str) -> None:
    client, call = opened(scene)
    half = frame(b"never whole" * 1000, masked=True)[:1000]
    client.send(half)
    call.until(lambda: call.pending.endswith(half))
    left = leave(client, how)
    assert call.wait_end(1) - left < AT_ONCE_S
    assert call.pending.endswith(half)
    scene.recovers(lost="what C abandoned")


def waiting(scene: Scene, call: Call, client: Client) -> None:
    """C waits for the head."""


def streaming(scene: Scene, call: Call, client: Client) -> None:
    """C has a part of the answer, and more is always on its way."""
    call.send(CHUNKED + b"5\r\ntoken\r\n")
    client.until(lambda: b"token" in client.body_so_far())


def counted(scene: Scene, call: Call, client: Client) -> None:
    """C has a part of an answer with a length."""
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoken")
    client.until(lambda: b"token" in client.body_so_far())


@pytest.mark.fault(21, MID_RESPONSE)
@HOWS
@pytest.mark.parametrize("stage", [waiting, streaming, counted])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_b_is_cancelled_within_100_ms(scene: Scene, stage: object, how: str, method: str) -> None:
    took_ms = []
    assert callable(stage)
    for _ in range(ABORTS):
        client = scene.client()
        client.send(scene.get() if method == "GET" else scene.post())
        call = scene.backend.next_call()
        stage(scene, call, client)
        left = leave(client, how)
        took_ms.append((call.wait_end(1) - left) * 1000)
    p99_ms = sorted(took_ms)[int(len(took_ms) * 0.99)]
    scene.row["measured"] = {f"C's abort to B's, p99 of {ABORTS}, the worst of 12 kinds, ms": round(p99_ms, 2)}
    assert p99_ms < AT_ONCE_S * 1000
    assert scene.backend.effects == ABORTS
    scene.recovers(lost="what C abandoned")
    if stage is waiting:  # the count comes once a second: not everywhere
        scene.counted("client_gone", ABORTS)


@pytest.mark.fault(21, MID_RESPONSE, backend={"max_connections": 1, "first_byte_timeout": "5s"})
@HOWS
def test_who_waits_for_a_connection_and_leaves_is_never_sent(scene: Scene, how: str) -> None:
    first = scene.client()
    first.send(scene.get("/first"))
    call = scene.backend.next_call()
    second = scene.client()
    second.send(scene.post(b"never"))
    assert scene.backend.quiet()
    leave(second, how)
    scene.counted("client_gone")
    call.send(ok(b"first"))
    assert first.answer().body == b"first"
    scene.recovers(lost="what C abandoned")
    assert scene.backend.effects == 2


@pytest.mark.fault(21, MID_RESPONSE, backend={"max_connections": 1, "first_byte_timeout": "5s"})
@pytest.mark.parametrize("end", ["counted", "chunked", "closing", "cancelled"])
def test_whoever_waits_is_served_when_the_connection_is_free_or_gone(scene: Scene, end: str) -> None:
    first = scene.client()
    first.send(scene.get("/first"))
    call = scene.backend.next_call()
    second = scene.client()
    second.send(scene.post(b"second"))
    assert scene.backend.quiet()
    if end == "cancelled":
        leave(first, "close")
    elif end == "closing":
        call.send(ok(b"first", b"Connection: close\r\n"))
    else:
        call.send(ok(b"first") if end == "counted" else CHUNKED + b"5\r\nfirst\r\n0\r\n\r\n")
        assert first.answer().body == b"first"
    call = scene.backend.next_call(1)
    assert call.request.body == b"second"
    call.send(ok(b"second"))
    assert second.answer().body == b"second"


@pytest.mark.fault(21, MID_RESPONSE, backend={"max_connections": 1})
def test_whoever_comes_while_the_only_connection_rests_is_served(scene: Scene) -> None:
    for _ in range(3):
        client = scene.client()
        client.send(scene.post())
        scene.backend.next_call(0.5).send(CHUNKED + b"5\r\nfirst\r\n0\r\n\r\n")
        assert client.answer().body == b"first"


@pytest.mark.fault(21, MID_RESPONSE)
@HOWS
def test_a_websocket_is_cancelled_within_100_ms(scene: Scene, how: str) -> None:
    client, call = opened(scene)
    left = leave(client, how)
    assert call.wait_end(1) - left < AT_ONCE_S
    scene.recovers(lost="what C abandoned")


@pytest.mark.fault(21, MID_RESPONSE)
def test_pipelined_requests_of_who_left_are_not_begun(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.post(b"one") + scene.post(b"two"))
    call = scene.backend.next_call()
    left = leave(client, "reset")
    assert call.wait_end(1) - left < AT_ONCE_S
    assert scene.backend.quiet()
    assert scene.backend.effects == 1


@pytest.mark.fault(22, HALF_CLOSE)
@pytest.mark.parametrize("stage", [waiting, streaming, counted])
def test_a_fin_is_taken_for_gone_by_default(scene: Scene, stage: object) -> None:
    assert callable(stage)
    client = scene.client()
    client.send(scene.post())
    call = scene.backend.next_call()
    stage(scene, call, client)
    left = monotonic()
    client.finish()
    assert call.wait_end(1) - left < AT_ONCE_S
    client.wait_end(0.5)
    scene.recovers(lost="what C abandoned")
    scene.counted("client_gone")


@pytest.mark.fault(22, HALF_CLOSE)
@pytest.mark.parametrize("together", [True, False], ids=["with the request", "behind it"])
@pytest.mark.parametrize("body", [None, b"x=1"], ids=["GET", "POST"])
def test_a_fin_is_answered_where_the_listener_says_so(scene: Scene, body: bytes | None, together: bool) -> None:
    client = scene.client("patient")
    client.send(scene.get() if body is None else scene.post(body))
    if together:
        client.finish()
    call = scene.backend.next_call()
    if not together:
        client.finish()
    assert call.still_open(0.15)
    call.send(CHUNKED + b"5\r\nfirst\r\n")
    client.until(lambda: b"first" in client.body_so_far())
    call.send(b"4\r\nlast\r\n0\r\n\r\n")
    client.wait_end()
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"firstlast")
    scene.recovers()


@pytest.mark.fault(22, HALF_CLOSE)
def test_a_fin_in_an_upload_is_gone_even_there(scene: Scene) -> None:
    client, call = uploading(scene, "length", 1 * MIB)
    left = monotonic()
    client.finish()
    assert call.wait_end(1) - left < AT_ONCE_S
    assert scene.backend.effects == 0


@pytest.mark.fault(22, HALF_CLOSE)
@pytest.mark.parametrize("stage", [waiting, streaming, counted])
def test_a_reset_is_gone_even_there(scene: Scene, stage: object) -> None:
    assert callable(stage)
    client = scene.client("patient")
    client.send(scene.get())
    call = scene.backend.next_call()
    stage(scene, call, client)
    client.finish()
    assert call.still_open(0.15)
    left = leave(client, "reset")
    assert call.wait_end(1) - left < AT_ONCE_S + 0.1  # looked for every 50 ms, as the proxy's clock ticks
    scene.recovers(lost="what C abandoned")
    scene.counted("client_gone")
