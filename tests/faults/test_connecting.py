"""Faults 1 and 2: B cannot be reached. Nothing was sent, so another endpoint may be asked."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from time import monotonic

import pytest

from .peers import Backend, ok, problem
from .site import Scene

REFUSES = "B refuses"
BLACKHOLED = "B blackholed (no SYN-ACK)"
CONNECT_TIMEOUT_S = 0.3


@contextlib.contextmanager
def blackholed(backend: Backend) -> Iterator[None]:
    """The listening socket's queue is full: the kernel drops every further SYN."""
    hole = backend.sock
    backend.listen(0)
    fillers = []
    try:
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(backend.address)
            fillers.append(filler)
        with socket.socket() as proof:
            proof.settimeout(0.1)
            with pytest.raises(TimeoutError):
                proof.connect(backend.address)
        yield
    finally:
        for filler in fillers:
            filler.close()
        hole.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                hole.accept()[0].close()


@pytest.mark.fault(1, REFUSES, listen=False)
@pytest.mark.parametrize("body", ["none", "length", "chunked, still arriving"])
def test_a_refused_connection_is_told_at_once(scene: Scene, body: str) -> None:
    client = scene.client()
    begun = monotonic()
    if body == "none":
        client.send(scene.get())
    elif body == "length":
        client.send(scene.post())
    else:
        client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n")
    answer = client.answer()
    assert problem(answer) == (503, "connect_failed")
    assert answer.all(b"retry-after") == [b"1"]
    assert monotonic() - begun < CONNECT_TIMEOUT_S
    scene.backend.listen()
    scene.recovers(lost="the request: 503")
    assert scene.backend.effects == 1


@pytest.mark.fault(1, REFUSES, endpoints=2, listen=False)
def test_another_endpoint_is_asked_since_nothing_was_sent(scene: Scene) -> None:
    here = scene.backends[1]
    here.listen()
    for number in range(4):  # whichever is picked first
        client = scene.client()
        client.send(scene.post(b"n=%d" % number))
        call = here.next_call()
        assert call.request.body == b"n=%d" % number
        call.send(ok())
        assert client.answer().status == 200
    assert here.effects == 4
    scene.row["lost"] = "nothing where another endpoint answers"


@pytest.mark.fault(1, REFUSES, endpoints=2, listen=False)
def test_a_body_that_still_arrives_goes_to_the_other_endpoint_whole(scene: Scene) -> None:
    here = scene.backends[1]
    here.listen()
    client = scene.client()
    client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n")
    here.next_head()
    client.send(b"4\r\n&y=2\r\n0\r\n\r\n")
    call = here.next_call()
    assert call.request.body == b"x=1&y=2"
    call.send(ok())
    assert client.answer().status == 200


@pytest.mark.fault(2, BLACKHOLED, backend={"first_byte_timeout": "5s"}, listen=False)
@pytest.mark.parametrize("body", ["none", "length", "chunked, still arriving"])
def test_a_blackhole_is_told_at_the_connect_timeout(scene: Scene, body: str) -> None:
    with blackholed(scene.backend):
        client = scene.client()
        begun = monotonic()
        if body == "none":
            client.send(scene.get())
        elif body == "length":
            client.send(scene.post())
        else:
            client.send(scene.head("POST", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n")
        answer = client.answer()
        took_s = monotonic() - begun
    assert problem(answer) == (503, "connect_failed")
    assert answer.all(b"retry-after") == [b"1"]
    assert CONNECT_TIMEOUT_S - 0.01 <= took_s < CONNECT_TIMEOUT_S + 0.25
    scene.recovers(lost="the request: 503")
    assert scene.backend.effects == 1


@pytest.mark.fault(2, BLACKHOLED, endpoints=2, listen=False)
def test_behind_a_blackhole_another_endpoint_answers(scene: Scene) -> None:
    hole, here = scene.backends
    here.listen()
    with blackholed(hole):
        slowest_s = 0.0
        for _ in range(6):
            client = scene.client()
            begun = monotonic()
            client.send(scene.post())
            here.next_call().send(ok())
            assert client.answer().status == 200
            slowest_s = max(slowest_s, monotonic() - begun)
    assert slowest_s < CONNECT_TIMEOUT_S + 0.25
    assert here.effects == 6
    scene.row["lost"] = "nothing where another endpoint answers"


@pytest.mark.fault(2, BLACKHOLED, listen=False)
def test_a_client_that_leaves_meanwhile_gives_its_place_back(scene: Scene) -> None:
    with blackholed(scene.backend):
        client = scene.client()
        client.send(scene.get())
        client.close()
        scene.counted("client_gone")
