"""Fault 40: B refuses an upgrade while more bytes of C stand behind it. They stay framed: never a tunnel unasked."""

from __future__ import annotations

import pytest

from .peers import Call, Client, ok, problem
from .site import Scene
from .websocket import ASK, SWITCHED, frame, opened

REFUSED = "upgrade refused with pipelined bytes after"
REFUSALS = {
    "200 with a length": ok(b"no"),
    "200 in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "403 without a body": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "426": b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
    "103, then 403": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
}


def asked(scene: Scene, behind: bytes, *, together: bool = True) -> tuple[Client, Call]:
    """C has asked for a WebSocket and sent more; B has the question and nothing else."""
    client = scene.client()
    client.send(scene.get("/ws", *ASK) + (behind if together else b""))
    call = scene.backend.next_call()
    if not together:
        client.send(behind)
    assert call.request.tokens(b"upgrade") == [b"websocket"]
    assert scene.backend.quiet(), "B got bytes before it had agreed"
    assert call.pending == b""
    return client, call


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("together", [True, False], ids=["with the question", "behind it"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_request_behind_a_refused_upgrade_is_a_request(scene: Scene, refusal: bytes, together: bool) -> None:
    client, call = asked(scene, scene.post(b"second", path="/second"), together=together)
    call.send(refusal)
    first = client.answer()
    assert first.status == int(refusal[9:12] if not first.interim else b"403")
    again = scene.backend.next_call()
    assert again.request.target == f"/{scene.name}/second".encode()
    assert again.request.body == b"second"
    assert len(again.request.all(b"via")) == 1, "it came by the proxy's own hand"
    again.send(ok(b"second's"))
    assert client.answer().body == b"second's"
    assert scene.backend.effects == 2
    scene.recovers()


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("together", [True, False], ids=["with the question", "behind it"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_frames_behind_a_refused_upgrade_go_nowhere(scene: Scene, refusal: bytes, together: bool) -> None:
    client, call = asked(scene, frame(b"hello\r\n\r\n"), together=together)
    call.send(refusal)
    first = client.answer()
    assert first.status == int(refusal[9:12] if not first.interim else b"403")
    assert problem(client.answer()) == (400, "bad_request")
    client.wait_end()
    assert scene.backend.quiet()
    assert call.pending == b""
    scene.recovers(lost="the frames: 400")


@pytest.mark.fault(40, REFUSED)
def test_a_request_behind_a_refused_upgrade_is_routed_by_itself(scene: Scene) -> None:
    client, call = asked(scene, b"GET /nowhere HTTP/1.1\r\nHost: internal.admin\r\n\r\n")
    call.send(REFUSALS["403 without a body"])
    assert client.answer().status == 403
    assert problem(client.answer()) == (404, "no_route")
    assert scene.backend.quiet()
    scene.recovers()


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("refusal", [SWITCHED[:40], b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
def test_half_a_yes_is_no(scene: Scene, refusal: bytes) -> None:
    client, call = asked(scene, frame(b"hello", masked=True))
    call.send(refusal)
    call.close()
    assert problem(client.answer())[0] == 502
    assert b"HTTP/1.1 101" not in client.received
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("other", [b"h2c", b"websocket, h2c", b"TLS/1.0"])
def test_a_protocol_that_c_did_not_ask_for_is_refused(scene: Scene, other: bytes) -> None:
    client, call = asked(scene, frame(b"hello", masked=True))
    call.send(SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: " + other))
    assert problem(client.answer()) == (502, "upstream_protocol")
    call.wait_end(0.5)
    assert call.pending == b""
    scene.recovers(lost="the request: 502")


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("offer", ["h2c", "websocket, h2c", "h2c,websocket", "foo, HTTP/2.0, TLS/1.0", "foo,, h2c"])
def test_http_2_is_never_offered_to_b(scene: Scene, offer: str) -> None:
    client = scene.client()
    client.send(scene.get("/ws", "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {offer}", "HTTP2-Settings: AAMA"))
    call = scene.backend.next_call()
    assert call.request.tokens(b"upgrade") == [each for each in (b"websocket", b"foo") if each.decode() in offer]
    assert call.request.all(b"http2-settings") == []
    call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert problem(client.answer()) == (502, "upstream_protocol")
    call.wait_end(0.5)


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_the_body_of_a_refused_upgrade_is_a_body(scene: Scene, refusal: bytes) -> None:
    client = scene.client()
    client.send(scene.head("POST", "Content-Length: 5", *ASK, path="/ws") + b"hello" + scene.get("/second"))
    call = scene.backend.next_call()
    assert call.request.body == b"hello"
    assert call.pending == b""
    call.send(refusal)
    client.answer()
    again = scene.backend.next_call()
    assert again.request.target == f"/{scene.name}/second".encode()
    again.send(ok(b"second's"))
    assert client.answer().body == b"second's"


@pytest.mark.fault(40, REFUSED)
@pytest.mark.parametrize("together", [True, False], ids=["with the question", "behind it"])
def test_after_the_101_the_same_bytes_pass(scene: Scene, together: bool) -> None:
    early = frame(b"early", masked=True)
    client, call = asked(scene, early, together=together)
    call.send(SWITCHED + frame(b"first"))
    assert client.answer().status == 101
    call.until(lambda: call.pending == early)
    client.until(lambda: bytes(client.received).endswith(frame(b"first")))


@pytest.mark.fault(40, REFUSED)
def test_no_connection_that_was_a_tunnel_is_pooled(scene: Scene) -> None:
    client, call = opened(scene)
    call.finish()
    client.wait_end()
    call.wait_end()
    scene.recovers()
    assert scene.backend.connections[-1] is not call


@pytest.mark.fault(40, REFUSED)
def test_an_old_client_cannot_upgrade(scene: Scene) -> None:
    client = scene.client()
    client.send(scene.head("GET", *ASK, version="1.0") + frame(b"hello", masked=True))
    call = scene.backend.next_call()
    assert call.request.all(b"upgrade") == []
    call.send(SWITCHED)
    assert problem(client.answer()) == (502, "upstream_protocol")
    assert call.pending == b""
