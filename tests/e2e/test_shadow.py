"""Two real model servers, one live and one a shadow: what the shadow's socket reads is what the client sent, byte for
byte, and what came of both stands in /compare."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from demo import v2
from demo.lineup import Server
from tests.e2e.conftest import Served, model_server
from tests.e2e.exchange import Answer, Ask, ask, ask_all
from tests.e2e.test_v2 import INFER, JSON, ROWS, binary_infer, infer
from tests.kit.program import Program
from tests.kit.rehearsing import pair_of, rehearsing
from tests.kit.strict import Request, whole_requests

pytestmark = pytest.mark.e2e

Serve = Callable[[Server], Served]
JSON_BODY = json.dumps(v2.infer_request("chunked", ROWS[:20])).encode()


class Relay:
    """Passes bytes on to a server and back. Mutable state: `received`, what each connection sent to the server."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.received: list[bytearray] = []
        self._to = to
        self._open: list[socket.socket] = []
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def requests(self) -> list[Request]:
        """Every whole request, those of one connection in their order."""
        return whole_requests(list(self.received))

    def close(self) -> None:
        """Everything."""
        for sock in [self._sock, *self._open]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in [self._sock, *self._open]:
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._sock.accept()
                far = socket.create_connection(self._to)
                self._open += [near, far]
                self.received.append(bytearray())
                for ends in ((near, far, self.received[-1]), (far, near, bytearray())):
                    self._threads.append(threading.Thread(target=self._pass, args=ends))
                    self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket, received: bytearray) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                received += data
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def mirrored(live: tuple[str, int], shadow: tuple[str, int], folder: Path) -> Iterator[tuple[Program, Relay]]:
    """The program, and what stands between it and the shadow."""
    relay = Relay(shadow)
    try:
        with rehearsing(
            folder, "http://{}:{}".format(*live), relay.url, path="/v2/models/iris", telemetry={"access_log": "off"}
        ) as program:
            yield program, relay
    finally:
        relay.close()


def pairs(program: Program, complete: int) -> dict[str, Any]:
    """The one pair of /compare, once so many copies were answered whole."""
    return pair_of(program, lambda counts: counts["complete"] >= complete)


def body_of(asked: Ask) -> bytes:
    """The whole body."""
    return b"".join(asked.body) if isinstance(asked.body, list) else asked.body or b""


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """KServe with the shadow's model of the demo."""
    with model_server("kserve", tmp_path_factory.mktemp("next"), 2) as port:
        yield "127.0.0.1", port


def test_binary_tensors_reach_the_next_version_as_they_were_sent(
    serve: Serve, next_version: tuple[str, int], tmp_path: Path, full: bool
) -> None:
    live = serve("kserve").direct
    asked = [binary_infer(f"binary-{number}", ROWS[number:], answer_binary=number % 2 == 0) for number in range(20)]
    asked += [
        binary_infer("large", ROWS * (1600 if full else 220), answer_binary=True),
        infer("json", ROWS),
        Ask("POST", INFER, [JSON_BODY[:100], JSON_BODY[100:101], JSON_BODY[101:]], JSON),
    ]
    with mirrored(live, next_version, tmp_path) as (program, relay):
        answers = ask_all(program.address("ingress"), asked)
        assert answers == ask_all(live, asked)
        assert {answer.status for answer in answers} == {200}
        pair = pairs(program, len(asked))
        copies = relay.requests()
        assert sorted(each.body for each in copies) == sorted(map(body_of, asked))
        assert all(each.all(b"x-understudy-shadow") == [b"next"] for each in copies)
        lengths = sorted(each for copy in copies for each in copy.all(b"inference-header-content-length"))
        assert lengths == sorted(each.headers["Inference-Header-Content-Length"].encode() for each in asked[:-2])
    assert (pair["route"], pair["live"], pair["shadow"]) == (
        "iris", {"backend": "stable", "version": "7"}, {"backend": "next", "version": "9"},
    )  # fmt: skip
    counts = pair["counts"]
    assert (counts["exchanges"], counts["sent"], counts["complete"], counts["dropped"]) == (23, 23, 23, {})
    assert pair["latency_ms"]["total"]["shadow"]["p50"] > 0
    assert pair["status"]["agree"] == 1


def test_another_servers_refusals_are_told_of_and_never_heard(serve: Serve, tmp_path: Path) -> None:
    """MLServer answers V2 JSON alike, and 500 to binary tensors over REST. It closes the connection behind that without
    having said so, and no copy is made again: such a request comes last."""
    live, shadow = serve("kserve").direct, serve("mlserver").direct
    alike = [infer(f"json-{number}", ROWS[number:]) for number in range(10)]
    refused = [binary_infer("binary", ROWS, answer_binary=False)]
    with mirrored(live, shadow, tmp_path) as (program, relay):
        answers: list[Answer] = [ask(program.address("ingress"), each) for each in alike + refused]
        assert answers == [ask(live, each) for each in alike + refused]
        assert {answer.status for answer in answers} == {200}
        pair = pairs(program, 11)
        assert sorted(each.body for each in relay.requests()) == sorted(map(body_of, alike + refused))
    assert pair["status"]["agree"] == pytest.approx(10 / 11, abs=1e-3)
    assert pair["counts"]["sent"] == 11
