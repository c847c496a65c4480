"""How long a backend may take to answer does not depend on what it said before: a 103 or half a head ends no wait."""

from __future__ import annotations

import pytest

from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream
from tests.kit.shadows import mirroring

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
SOON = {"first_byte_timeout": "200ms"}
HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
SAID = pytest.mark.parametrize("said", [HINTS, HINTS + b"H", HINTS + b"HTTP/1.1 200 OK\r\nContent-"])
MIB = 1024 * 1024


@SAID
@on_the_loop
async def test_what_is_said_during_the_upload(said: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url], backend=SOON)) as proxy:
        client = await proxy.connect()
        client.send(HEAD % 6 + b"abc")
        call = await backend.accept()
        await call.head()
        assert await call.exactly(3) == b"abc"
        call.send(said)
        assert (await client.head()).status == 103
        client.send(b"def")
        assert await call.exactly(3) == b"def"
        assert (await client.message()).status == 504


@SAID
@on_the_loop
async def test_what_is_said_after_the_upload(said: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url], backend=SOON)) as proxy:
        client = await proxy.connect()
        client.send(HEAD % 3 + b"abc")
        call, _ = await backend.call()
        call.send(said)
        assert (await client.head()).status == 103
        assert (await client.message()).status == 504


@SAID
@on_the_loop
async def test_what_is_said_before_the_backend_reads_no_more(said: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url], backend=SOON)) as proxy:
        client = await proxy.connect()
        client.send(HEAD % (64 * MIB))
        call = await backend.accept()
        await call.head()
        call.writer.transport.pause_reading()
        call.send(said)
        assert (await client.head()).status == 103
        client.send(bytes(32 * MIB))
        assert (await client.message()).status == 504


@on_the_loop
async def test_a_client_that_pauses_in_its_upload_has_its_own_limit() -> None:
    async with upstream() as backend, configured(document([backend.url], backend=SOON)) as proxy:
        client = await proxy.connect()
        client.send(HEAD % 6 + b"abc")
        call = await backend.accept()
        await call.head()
        call.send(HINTS)
        assert (await client.head()).status == 103
        began = proxy.plane.loop.time()
        await proxy.settled(lambda: proxy.plane.loop.time() > began + 0.4)
        client.send(b"def")
        assert await call.exactly(6) == b"abcdef"
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await client.message()).body == b"ok"


@pytest.mark.parametrize("said", [HINTS, b"H"])
@pytest.mark.parametrize("moment", ["during the upload", "after it"])
@on_the_loop
async def test_a_copy_of_which_half_a_head_came_gives_its_place_back(said: bytes, moment: str) -> None:
    async with mirroring({}, shadow=SOON, budget={"requests": 1}) as stage:
        client = await stage.connect()
        client.send(HEAD % 6 + b"abc")
        shadow = await stage.shadow.accept()
        await shadow.head()
        if moment == "after it":
            client.send(b"def")
            await shadow.exactly(6)
        shadow.send(said)
        (copy,) = stage.lane.copies
        await stage.proxy.settled(lambda: copy._call is None or copy._call.answered)
        if moment == "during the upload":
            client.send(b"def")
        await stage.live_alone(client)
        assert (await stage.pair()).shadow_outcome == "shadow_timeout"
        assert not stage.lane.copies
