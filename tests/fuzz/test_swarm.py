"""Many clients at once, pipelining, cutting, leaving: each answer goes to the request it names, in order."""

from __future__ import annotations

import asyncio
import os
from random import Random

from tests.kit.raw import SAW, RawClient, identity
from tests.kit.strict import Response, read_responses
from tests.wire.harness import Harness

from .mutate import split

CLIENTS = 24
ROUNDS = 200 if os.environ.get("LENGTH") == "full" else 12


def _request(rng: Random, name: bytes) -> tuple[bytes, bytes, bytes]:
    """Bytes, method and identity of a random good request."""
    body = rng.randbytes(rng.choice((0, 1, 10, 1000, 70_000))) if rng.random() < 0.6 else b""
    kind = rng.choice(("none", "length", "chunked")) if not body else rng.choice(("length", "chunked"))
    method = rng.choice((b"GET", b"HEAD")) if kind == "none" else rng.choice((b"POST", b"PUT"))
    head = b"%s %s HTTP/1.1\r\nHost: a.test\r\n" % (method, name)
    if kind == "length":
        return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body), method, identity(method, name, body)
    if kind == "chunked":
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        sent = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
        return sent, method, identity(method, name, body)
    return head + b"\r\n", method, identity(method, name, b"")


async def _answers(client: RawClient, methods: list[bytes]) -> list[Response]:
    owed = len(methods)
    assert await client.until(lambda: len(read_responses(bytes(client.received), methods)[0]) >= owed, within_s=20)
    answers, rest = read_responses(bytes(client.received), methods)
    assert rest is None
    return answers


async def _live(wire: Harness, rng: Random, name: str) -> int:
    """One client's life: connections, pipelines, and now and then a sudden leave. Returns how many were answered."""
    answered = 0
    for number in range(ROUNDS):
        client = await RawClient.connect(wire.address)
        batch = [_request(rng, f"/{name}/{number}/{part}".encode()) for part in range(rng.randint(1, 5))]
        data, methods = b"".join(each[0] for each in batch), [each[1] for each in batch]
        if rng.random() < 0.2:
            await client.send(split(rng, data[: rng.randrange(len(data))]))
            client.transport.abort()
            continue
        await client.send(split(rng, data))
        answers = await _answers(client, methods)
        assert [answer.all(SAW) for answer in answers] == [[each[2]] for each in batch]
        answered += len(answers)
        client.close()
    return answered


def test_everybody_gets_his_own_answers(wire: Harness) -> None:
    rng = Random(20)
    wire.backend.delay_s = lambda: rng.random() * 0.004

    async def scenario() -> list[int]:
        lives = (_live(wire, Random(number), f"client-{number}") for number in range(CLIENTS))
        return await asyncio.gather(*lives)

    try:
        answered = wire.run(scenario())
    finally:
        wire.backend.delay_s = None
    assert all(answered)
    assert not [connection.broken for connection in wire.backend.connections if connection.broken]
