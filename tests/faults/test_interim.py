"""Faults 10 and 13: heads before the answer, and heads without measure."""

from __future__ import annotations

from time import monotonic

import pytest

from .peers import ok, problem
from .site import MIB, Scene
from .websocket import SWITCHED

INTERIM = "B sends 1xx, 1xx only, or 101 unasked"
HUGE = "B's head 1 MiB, or of 10,000 fields"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.fault(10, INTERIM)
@pytest.mark.parametrize("cut", ["together", "apart"])
@pytest.mark.parametrize(
    ("interim", "statuses"),
    [(EARLY, [103]), (PROCESSING, [102]), (PROCESSING + EARLY + EARLY, [102, 103, 103]), (CONTINUE, [100])],
)
def test_interim_answers_go_on_and_the_final_one_follows(
    scene: Scene, interim: bytes, statuses: list[int], cut: str
) -> None:
    client = scene.client()
    client.send(scene.post())
    call = scene.backend.next_call()
    if cut == "apart":
        call.send(interim)
        client.until(lambda: client.received.count(b"\r\n\r\n") == len(statuses))
        call.send(ok(b"final"))
    else:
        call.send(interim + ok(b"final"))
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"final")
    assert [each.status for each in answer.interim] == statuses
    assert all(each.all(b"link") == [b"</style.css>; rel=preload"] for each in answer.interim if each.status == 103)
    client.send(scene.get("/again"))
    assert scene.backend.next_call() is call  # both connections serve on
    call.send(ok())
    assert client.answer().body == b"fine\n"
    scene.recovers()


@pytest.mark.fault(10, INTERIM)
@pytest.mark.parametrize("interim", [EARLY, PROCESSING, CONTINUE])
def test_an_old_client_gets_the_final_answer_only(scene: Scene, interim: bytes) -> None:
    client = scene.client()
    client.send(scene.head("GET", version="1.0"))
    call = scene.backend.next_call()
    call.send(interim + ok(b"final"))
    client.wait_end()
    answer = client.answer()
    assert (answer.status, answer.body, answer.interim) == (200, b"final", [])
    assert client.received.count(b"HTTP/1.1 ") == 1


@pytest.mark.fault(10, INTERIM)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_nothing_but_an_interim_answer_is_a_502(scene: Scene, how: str) -> None:
    scene.warm()
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(EARLY)
    client.until(lambda: b"103" in client.received)
    call.reset() if how == "reset" else call.close()
    answer = client.answer()
    assert problem(answer) == (502, "upstream_closed")
    assert [each.status for each in answer.interim] == [103]
    assert scene.backend.effects == 2  # it had begun to answer: not sent again
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(10, INTERIM)
def test_interim_answers_alone_do_not_hold_off_the_deadline(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    begun = monotonic()
    while b"504" not in client.received and monotonic() < begun + 3:
        call.send(PROCESSING)
        client.read_more(0.05)
        client.still_open(0.05)
    assert problem(client.answer()) == (504, "upstream_timeout")
    assert 0.75 < monotonic() - begun < 0.8 + 0.25
    call.wait_end(0.5)


@pytest.mark.fault(10, INTERIM)
def test_interim_answers_without_end_are_a_502(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(PROCESSING * 1000)
    assert problem(client.answer()) == (502, "upstream_protocol")
    call.wait_end(0.5)
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(10, INTERIM)
@pytest.mark.parametrize("behind", [b"", b"tunnelled", ok(b"smuggled")])
def test_a_101_that_nobody_asked_for_is_a_502(scene: Scene, behind: bytes) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(SWITCHED + behind)
    answer = client.answer()
    assert problem(answer) == (502, "upstream_protocol")
    assert answer.interim == []
    call.wait_end(0.5)
    assert b"tunnelled" not in client.received
    assert b"smuggled" not in client.received
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(13, HUGE)
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MIB + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * MIB + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Much: %b\r\n" % (b"a" * 100) * 10_000 + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\n" + b"Link: %b\r\n" % (b"a" * 100) * 10_000 + b"\r\n" + ok(),
    ],
    ids=["a field of 1 MiB", "a reason of 1 MiB", "10,000 fields", "10,000 larger fields", "10,000 fields of a 103"],
)
def test_a_head_without_measure_is_a_502(scene: Scene, head: bytes) -> None:
    resident = scene.site.resident_bytes()
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(head)
    assert problem(client.answer()) == (502, "upstream_protocol")
    call.wait_end(0.5)
    assert scene.site.resident_bytes() - resident < 2 * MIB
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(13, HUGE)
def test_a_head_below_the_limit_passes(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    scene.backend.next_call().send(ok(fields=b"X-Much: %b\r\n" % (b"a" * 600) * 90))
    answer = client.answer()
    assert (answer.status, len(answer.all(b"x-much"))) == (200, 90)


@pytest.mark.fault(13, HUGE)
def test_trailers_without_measure_cut_the_answer(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.get())
    call = scene.backend.next_call()
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n")
    client.until(lambda: b"body" in client.body_so_far())
    call.send(b"X: a\r\n" * 100_000)
    assert client.cut_answer().status == 200
    call.wait_end(0.5)
    scene.recovers(lost="the request: 502")
