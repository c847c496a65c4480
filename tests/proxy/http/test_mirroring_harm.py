"""Whatever a shadow does, and when: the client reads the very bytes that it would read without a mirror."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.configured import configured
from tests.kit.conversation import Peer, Upstream, on_the_loop, soon, upstream
from tests.kit.shadows import document_of, mirror

KIB = 1024
TRUSTED = {"trust": ["127.0.0.0/8"]}
DATE = b"Date: Sat, 21 Nov 2026 00:00:00 GMT\r\n"
ACTS = {
    "answers": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: a=shadow\r\n\r\nshadow",
    "fails": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "begins": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "goes on": b"6\r\nshadow\r\n",
    "ends": b"0\r\n\r\n",
    "floods": b"80000\r\n" + bytes(512 * KIB) + b"\r\n",
    "switches": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: <shadow>\r\n\r\n",
    "babbles": b"SSH-2.0-shadow\r\n\r\n",
}
SHADOW_ACTS = st.lists(st.sampled_from([*ACTS, "reads", "waits", "hangs", "resets", "closes"]), max_size=6)


class Scene(NamedTuple):
    """What the client sends and live does."""

    pieces: list[bytes]  # of the body
    chunked: bool
    answer: list[bytes]  # after the whole request
    early: bool  # answer as soon as the head is there
    breaks: bool  # and leave before the answer is whole


FINE = b"HTTP/1.1 200 OK\r\n" + DATE
ANSWERS = (
    [FINE + b"Content-Length: 4\r\n\r\n", b"li", b"ve"],
    [FINE + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nli\r\n", b"2\r\nve\r\n", b"0\r\n\r\n"],
    [b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n"],
    [FINE.replace(b"200 OK", b"500 ") + b"Content-Length: 100000\r\n\r\n", bytes(100_000)],
)
PIECES = st.lists(st.sampled_from([b"a", b"bc" * 1000, bytes(70 * KIB), bytes(300 * KIB)]), max_size=4)
SCENES = st.builds(Scene, PIECES, st.booleans(), st.sampled_from(ANSWERS), st.booleans(), st.booleans())


def unframed(received: bytes) -> tuple[bytes, bytes, str]:
    """Head, content and end: chunks may be cut differently from one run to the next."""
    head, _, body = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return head, body, "as declared"
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return head, content, "ended" if body == b"\r\n" else "broken"
        content += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return head, content, "cut"


async def turn() -> None:
    """Let the other ends have a turn."""
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, turned.set_result, None)
    await turned


async def live_plays(live: Upstream, scene: Scene) -> None:
    peer = await live.accept()
    head = await peer.head()
    if not scene.early:
        await peer.body(head)
    answer = scene.answer[:-1] if scene.breaks else scene.answer
    for piece in answer:
        peer.send(piece)
        await turn()
    if scene.breaks:
        peer.close()


async def shadow_plays(shadow: Upstream, acts: Iterable[str]) -> None:
    while True:
        peer = await shadow._accepted.get()
        with suppress(ConnectionError, asyncio.IncompleteReadError, RuntimeError):  # the proxy has gone
            await shadow_acts(peer, acts)


async def shadow_acts(peer: Peer, acts: Iterable[str]) -> None:
    for act in acts:
        if act in ACTS:
            peer.send(ACTS[act])
        elif act == "reads":
            await peer.message()
        elif act == "waits":
            await turn()
        elif act == "hangs":
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        elif act == "resets":
            peer.reset()
        else:
            peer.close()


async def heard(scene: Scene, acts: list[list[str]], options: dict[str, str]) -> bytes:
    """All that the client reads, to the end of its connection; `acts` of each shadow there is."""
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(upstream())
        shadows = [await stack.enter_async_context(upstream()) for _ in acts]
        entries = [{"backend": "next" if at == 0 else f"next{at + 1}", **options} for at in range(len(acts))]
        filters = [mirror(entries)] if acts else []
        text = document_of(live.url, [each.url for each in shadows], filters, listener=TRUSTED)
        proxy = await stack.enter_async_context(configured(text))
        client = await proxy.connect()
        async with asyncio.TaskGroup() as group:
            playing = [group.create_task(shadow_plays(*each)) for each in zip(shadows, acts, strict=True)]
            group.create_task(live_plays(live, scene))
            sending = group.create_task(client_sends(client, scene))
            received = await client.gone()
            for each in [*playing, sending]:
                each.cancel()
        return received


async def client_sends(client: Peer, scene: Scene) -> None:
    size = sum(map(len, scene.pieces))
    framing = b"Transfer-Encoding: chunked" if scene.chunked else b"Content-Length: %d" % size
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: r\r\nConnection: close\r\n%b\r\n\r\n" % framing)
    with suppress(ConnectionError, RuntimeError):  # it was answered early
        for piece in scene.pieces:
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if scene.chunked else piece)
            await soon(client.writer.drain())
        if scene.chunked:
            client.send(b"0\r\n\r\n")


@given(
    scene=SCENES, acts=st.lists(SHADOW_ACTS, min_size=1, max_size=2),
    options=st.sampled_from([{}, {"max_body": "64KiB"}, {"on_client_gone": "finish"}, {"first_byte_timeout": "50ms"}]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@on_the_loop
async def test_the_client_reads_the_same_with_and_without_shadows(
    scene: Scene, acts: list[list[str]], options: dict[str, str]
) -> None:
    alone = await heard(scene, [], {})
    assert unframed(await heard(scene, acts, options)) == unframed(alone)
