"""Max-Forwards (RFC 9110 section 7.6.2): counted down for OPTIONS and TRACE, and answered here at 0."""

from __future__ import annotations

import json

from tests.kit.configured import configured, document
from tests.kit.conversation import Message, on_the_loop, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def passed_on(method: bytes, hops: bytes) -> bytes | None:
    """What the backend is told of the hops left."""
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"%b / HTTP/1.1\r\nHost: a\r\nMax-Forwards: %b\r\n\r\n" % (method, hops))
        call, asked = await backend.call()
        call.send(OK)
        await client.message()
        return asked.get(b"max-forwards")


async def answered_here(method: bytes, hops: bytes) -> Message:
    """The answer to a request that must reach no backend: there is none."""
    async with configured(document(["http://127.0.0.1:1"])) as proxy:
        client = await proxy.connect()
        client.send(b"%b / HTTP/1.1\r\nHost: a\r\nMax-Forwards: %b\r\n\r\n" % (method, hops))
        return await client.message()


@on_the_loop
async def test_a_hop_is_counted() -> None:
    assert await passed_on(b"OPTIONS", b"3") == b"2"
    assert await passed_on(b"TRACE", b"1") == b"0"


@on_the_loop
async def test_other_methods_are_not_counted() -> None:
    assert await passed_on(b"GET", b"0") == b"0"


@on_the_loop
async def test_the_last_recipient_answers() -> None:
    answer = await answered_here(b"OPTIONS", b"0")
    assert answer.line == b"HTTP/1.1 200 OK"
    assert answer.get(b"content-length") == b"0"
    assert answer.get(b"x-request-id")
    assert (await answered_here(b"TRACE", b"0")).line == b"HTTP/1.1 405 Method Not Allowed"


@on_the_loop
async def test_what_is_no_number_is_refused() -> None:
    answer = await answered_here(b"OPTIONS", b"-1")
    assert answer.line == b"HTTP/1.1 400 Bad Request"
    assert json.loads(answer.body)["reason"] == "bad_request"
