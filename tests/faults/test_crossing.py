"""Faults 8 and 11 at their worst: what B sends or ends crosses the next request. The worker stands still meanwhile, so
that it finds both at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from .peers import ok
from .site import Scene

STALE = "idle pooled connection closed as we send"
EXTRA = "B sends two responses or extra bytes"


@contextlib.contextmanager
def standing_still(scene: Scene) -> Iterator[None]:
    """The worker does nothing until the block has ended."""
    os.kill(scene.site.worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(scene.site.worker, signal.SIGCONT)


@pytest.mark.fault(8, EXTRA)
@pytest.mark.parametrize("first", ["extra", "request"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unasked_answer_that_crosses_the_next_request(scene: Scene, method: str, first: str) -> None:
    for _ in range(5):
        scene.warm()
        old = scene.backend.connections[-1]
        client = scene.client()
        request = scene.get() if method == "GET" else scene.post()
        with standing_still(scene):
            if first == "request":
                client.send(request)
            old.send(ok(b"poison"))
            if first == "extra":
                client.send(request)
        call = scene.backend.next_call(1)
        assert call is not old, "sent where another's answer waits"
        call.send(ok(b"own"))
        assert client.answer().body == b"own"
    scene.recovers()


@pytest.mark.fault(11, STALE)
@pytest.mark.parametrize("first", ["close", "request"])
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_close_that_crosses_the_next_request(scene: Scene, method: str, how: str, first: str) -> None:
    for _ in range(5):
        scene.warm()
        before, old = scene.backend.effects, scene.backend.connections[-1]
        client = scene.client()
        request = scene.get() if method == "GET" else scene.post()
        with standing_still(scene):
            if first == "request":
                client.send(request)
            old.reset() if how == "reset" else old.close()
            if first == "close":
                client.send(request)
        call = scene.backend.next_call(1)
        call.send(ok(b"own"))
        assert client.answer().body == b"own"
        assert scene.backend.effects == before + 1
    scene.recovers()
