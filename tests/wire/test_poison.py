"""A connection that is reused must be clean: nothing left on it may become another request or another's answer."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.raw import SAW, Answer, RawClient, identity
from tests.kit.strict import Response, read_responses

from .harness import Harness

EVIL = b"HTTP/1.1 200 OK\r\nX-Saw: evil\r\nContent-Length: 4\r\n\r\nevil"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD = b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n"
GIVEN_UP = [HEAD % 50 + b"x" * 20, HEAD[:-4] % 50, CHUNKED + b"20\r\nx", CHUNKED + b"1\r\nx\r\n0\r\n"]


async def _ask(client: RawClient, target: bytes) -> Response:
    """One GET on this connection; what came before is forgotten."""
    client.received.clear()
    client.transport.write(b"GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n" % target)
    assert await client.until(lambda: bool(read_responses(bytes(client.received), [b"GET"])[0]))
    answers, rest = read_responses(bytes(client.received), [b"GET"])
    assert rest is None
    return answers[0]


def _own(answer: Response, target: bytes) -> bool:
    return answer.all(SAW) == [identity(b"GET", target, b"")] == [answer.body]


async def _gone(wire: Harness) -> None:
    """Wait until the proxy has closed every connection that the backend pushed bytes on."""
    deadline = asyncio.get_running_loop().time() + 3
    while not all(each.closed for each in wire.backend.connections):
        assert asyncio.get_running_loop().time() < deadline, "a poisoned connection stays open"
        again = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, again.set_result, None)
        await again


@pytest.mark.parametrize(
    "late", [EVIL, b"x", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 408 Timeout\r\n\r\n"]
)
def test_bytes_on_an_idle_connection_end_it(wire: Harness, late: bytes) -> None:
    async def scenario() -> None:
        client = await RawClient.connect(wire.address)
        assert _own(await _ask(client, b"/one"), b"/one")
        wire.backend.push(late)
        await _gone(wire)
        assert _own(await _ask(client, b"/two"), b"/two")
        client.close()

    wire.run(scenario())
    first, second = (connection for connection, _ in wire.backend.log)
    assert first is not second


def test_an_early_answer_while_the_upload_goes_on(wire: Harness) -> None:
    """The answer comes at once; what is left of the upload is neither the client's next request nor the backend's."""

    async def scenario() -> None:
        wire.backend.script.append(Answer((OK,), early=True))
        client = await RawClient.connect(wire.address)
        body = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n" * 100
        await client.send([HEAD % len(body), body[:50]])
        assert await client.until(lambda: client.received.endswith(b"ok"))
        await client.send([body[50:]])
        if not client.ended:
            assert _own(await _ask(client, b"/next"), b"/next")
        client.close()
        client = await RawClient.connect(wire.address)
        assert _own(await _ask(client, b"/after"), b"/after")
        client.close()

    wire.run(scenario())
    assert {request.target for _, request in wire.backend.log} <= {b"/up", b"/next", b"/after"}


def test_an_early_answer_and_a_client_that_leaves(wire: Harness) -> None:
    async def scenario() -> None:
        wire.backend.script.append(Answer((OK,), early=True))
        client = await RawClient.connect(wire.address)
        await client.send([HEAD % 5000, b"x" * 50])
        assert await client.until(lambda: client.received.endswith(b"ok"))
        client.transport.abort()
        client = await RawClient.connect(wire.address)
        assert _own(await _ask(client, b"/after"), b"/after")
        client.close()

    wire.run(scenario())
    assert [request.target for _, request in wire.backend.log] == [b"/after"]


@pytest.mark.parametrize("sent", GIVEN_UP)
@pytest.mark.parametrize("how", ["abort", "finish"])
def test_an_upload_that_is_given_up_never_becomes_whole(wire: Harness, sent: bytes, how: str) -> None:
    async def scenario() -> None:
        client = await RawClient.connect(wire.address)
        await client.send([sent[:30], sent[30:], b""])
        if how == "finish":
            client.finish()
            assert await client.until(lambda: False)
        client.transport.abort()
        for number in range(3):
            client = await RawClient.connect(wire.address)
            target = b"/after/%d" % number
            assert _own(await _ask(client, target), target)
            client.close()

    wire.run(scenario())
    assert [request.target for _, request in wire.backend.log] == [b"/after/0", b"/after/1", b"/after/2"]


def test_a_waiting_client_that_leaves_takes_its_answer_along(wire: Harness) -> None:
    """The answer to a request whose client has gone comes late, and to nobody."""

    async def scenario() -> None:
        wire.backend.delay_s = lambda: 0.05
        try:
            for number in range(5):
                client = await RawClient.connect(wire.address)
                await client.send([b"GET /gone/%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number])
                while len(wire.backend.log) <= 2 * number:
                    await client.until(lambda: False, within_s=0.001)
                client.transport.abort()
                client = await RawClient.connect(wire.address)
                target = b"/own/%d" % number
                assert _own(await _ask(client, target), target)
                client.close()
        finally:
            wire.backend.delay_s = None

    wire.run(scenario())
