"""How exchanges end: every limit in time, every side that leaves, and what is given back then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy.filters.api import BodyWrap, Exchange, Failure, Filter, Outcome, Response

from tests.kit.configured import Proxy, configured, document
from tests.kit.conversation import Peer, Upstream, on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun"
CANCELLED_WITHIN_S = 0.1
LATE_S = 0.25
"""Two ticks of the wheel, and a busy machine."""


async def timed(awaited: Awaitable[Any]) -> tuple[float, Any]:
    """How long it took, and the result."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    result = await awaited
    return loop.time() - began, result


@on_the_loop
async def test_no_answer_in_time() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"first_byte_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            took, answer = await timed(client.message())
            assert answer.status == 504 and b'"upstream_timeout"' in answer.body
            assert 0.2 < took < 0.3 + LATE_S
            await call.gone()
            client.send(GET)
            again, _ = await backend.call()
            again.send(OK)
            assert (await client.message()).body == b"ok", "the client's connection lives on"


@on_the_loop
async def test_no_limit_ends_early() -> None:
    """Deadlines are counted from the wheel's last tick, which may be one tick old."""
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"first_byte_timeout": "100ms"})) as proxy:
            client = await proxy.connect()
            for n in range(8):
                ticked = asyncio.Event()
                asyncio.get_running_loop().call_later(0.007 * n, ticked.set)
                await ticked.wait()
                client.send(GET)
                took, answer = await timed(client.message())
                assert answer.status == 504 and 0.1 <= took < 0.1 + LATE_S


@on_the_loop
async def test_a_stream_that_stalls_is_cut_and_one_that_moves_is_not() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"idle_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            call.send(BEGUN)
            await client.head()
            assert await client.chunk() == b"begun"
            loop = asyncio.get_running_loop()
            ticked = asyncio.Event()
            for _ in range(5):
                loop.call_later(0.12, ticked.set)
                await ticked.wait()
                ticked.clear()
                call.send(b"1\r\n.\r\n")
                assert await client.chunk() == b"."
            took, rest = await timed(client.gone())
            assert rest == b"", "no last chunk"
            assert 0.2 < took < 0.3 + LATE_S
            await call.gone()
            assert proxy.stats().reasons == {"upstream_timeout": 1} and proxy.stats().statuses == {200: 1}


@pytest.mark.parametrize(
    ("backend_limit", "route_limit"),
    [({"total_timeout": "300ms"}, {}), ({}, {"timeout": "300ms"}), ({"total_timeout": "300ms"}, {"timeout": "5s"})],
)
@on_the_loop
async def test_the_whole_time_is_over(backend_limit: dict[str, str], route_limit: dict[str, str]) -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], backend=backend_limit, route=route_limit)) as proxy:
            waiting, streaming = await proxy.connect(), await proxy.connect()
            waiting.send(GET)
            quiet, _ = await backend.call()
            streaming.send(GET)
            call, _ = await backend.call()
            call.send(BEGUN)
            await streaming.head()
            await streaming.chunk()
            took, answer = await timed(waiting.message())
            assert answer.status == 504 and took < 0.3 + LATE_S
            assert await streaming.gone() == b""
            await quiet.gone()
            await call.gone()


@on_the_loop
async def test_a_connection_that_is_not_accepted_in_time() -> None:
    """An address of a documentation network: nobody answers, or the machine says at once that there is no way."""
    async with configured(document(["http://192.0.2.1:9"], backend={"connect_timeout": "300ms"})) as proxy:
        client = await proxy.connect()
        client.send(GET)
        took, answer = await timed(client.message())
        assert (answer.status, answer.get(b"retry-after")) == (503, b"1") and b'"connect_failed"' in answer.body
        assert took < 0.3 + LATE_S


@on_the_loop
async def test_a_body_that_stalls_is_a_408() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"body_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(UPLOAD)
            call = await backend.accept()
            await call.head()
            took, answer = await timed(client.message())
            assert answer.status == 408 and b'"client_timeout"' in answer.body
            assert 0.2 < took < 0.3 + LATE_S
            await call.gone()
            assert await client.rest() == b""


@on_the_loop
async def test_a_head_that_stalls_is_a_408_and_an_idle_connection_is_closed_without_a_word() -> None:
    listener = {"head_timeout": "300ms", "idle_timeout": "300ms"}
    async with upstream() as backend, configured(document([backend.url], listener=listener)) as proxy:
        silent, slow, idle = await proxy.connect(), await proxy.connect(), await proxy.connect()
        slow.send(GET[:10])
        idle.send(GET)
        call, _ = await backend.call()
        call.send(OK)
        await idle.message()
        assert await silent.rest() == b""
        answer = await slow.message()
        assert answer.status == 408 and await slow.rest() == b""
        assert await idle.rest() == b""


@on_the_loop
async def test_a_client_that_takes_nothing_of_its_answer_is_given_up() -> None:
    """Back-pressure holds the backend back; a client that takes no byte for idle_timeout lets it go."""
    async with upstream() as backend:
        async with configured(document([backend.url], backend={"idle_timeout": "300ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises(ConnectionError):
                for _ in range(1 << 10):
                    call.send(bytes(1 << 16))
                    await call.drain()
            assert proxy.stats().reasons == {"client_timeout": 1}


# Clients that leave.


@on_the_loop
async def test_a_client_that_leaves_while_it_waits() -> None:
    for leave in Peer.reset, Peer.close, Peer.finish:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            leave(client)
            took, _ = await timed(call.gone())
            assert took < CANCELLED_WITHIN_S
            await proxy.settled(lambda: proxy.in_flight() == 0)
            assert proxy.stats().reasons == {"client_gone": 1}


@on_the_loop
async def test_a_client_that_leaves_mid_stream() -> None:
    for leave in Peer.reset, Peer.close, Peer.finish:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            call.send(BEGUN)
            await client.head()
            await client.chunk()
            leave(client)
            took, _ = await timed(call.gone())
            assert took < CANCELLED_WITHIN_S


@on_the_loop
async def test_a_client_that_leaves_mid_upload() -> None:
    for leave in Peer.reset, Peer.close, Peer.finish:
        async with upstream() as backend, configured(document([backend.url])) as proxy:
            client = await proxy.connect()
            client.send(UPLOAD)
            call = await backend.accept()
            await call.head()
            assert await call.exactly(5) == b"begun"
            leave(client)
            took, rest = await timed(call.gone())
            assert took < CANCELLED_WITHIN_S
            assert rest == b""


@on_the_loop
async def test_a_client_that_leaves_while_it_is_held_back() -> None:
    """The backend reads nothing, so the client is not read either: its reset must be noticed all the same."""
    async with upstream() as backend, configured(document([backend.url])) as proxy:
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        call = await backend.accept()
        await call.head()
        call.reader._transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    client.send(bytes(1 << 16))
                    await client.writer.drain()
        client.reset()
        await proxy.settled(lambda: proxy.in_flight() == 0, within_s=1.0)


@on_the_loop
async def test_half_close_may_be_an_end_of_asking_only() -> None:
    async with upstream() as backend:
        async with configured(document([backend.url], listener={"half_close": "answer"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            client.finish()
            call.send(BEGUN)
            answer = await client.head()
            assert await client.chunk() == b"begun"
            call.send(b"0\r\n\r\n")
            assert await client.chunk() == b""
            assert answer.status == 200 and await client.rest() == b""


@on_the_loop
async def test_a_backend_that_breaks_off_mid_body_is_cut_without_a_last_chunk() -> None:
    for part in BEGUN, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun":
        for leave in Peer.reset, Peer.close:
            async with upstream() as backend, configured(document([backend.url])) as proxy:
                client = await proxy.connect()
                client.send(GET)
                call, _ = await backend.call()
                call.send(part)
                await client.head()
                leave(call)
                rest = await client.gone()
                assert b"0\r\n\r\n" not in rest and b"HTTP/1.1" not in rest
                assert proxy.stats().reasons == {"truncated": 1}


# Whatever happens, in whatever order, everything is given back, once.


class Late(BodyWrap):
    """Holds back the last byte, and the end for a moment."""

    def __init__(self) -> None:
        self.held = b""

    def data(self, chunk: bytes) -> bytes:
        chunk = self.held + chunk
        self.held = chunk[-1:]
        return chunk[:-1]

    async def end(self) -> bytes:
        await moment()
        return self.held


class Behaves(Filter):
    """Does one of the things that filters do, and counts completions by exchange."""

    def __init__(self, how: str) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.how = how
        self.completions: dict[bytes, int] = {}

    def on_request(self, exchange: Exchange) -> Any:
        self.completions[exchange.id] = 0
        match self.how:
            case "waits":
                return moment()
            case "reads":
                return self._read(exchange)
            case "wraps":
                exchange.request.wrap(Late())
            case "detaches":
                exchange.detach()
            case "refuses":
                raise Failure("key_missing", "no key")
            case "answers":
                return Response(418, [], content=b"short and stout", local=True)
        return None

    async def _read(self, exchange: Exchange) -> None:
        await exchange.request.read(60)

    def on_response(self, exchange: Exchange, response: Response) -> Any:
        if self.how in ("wraps", "detaches"):
            response.wrap(Late())
        if self.how == "fails" and not response.local:
            raise KeyError("x")
        return self._wait(response) if self.how == "waits" else response

    async def _wait(self, response: Response) -> Response:
        await moment()
        return response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        self.completions[exchange.id] += 1


BEHAVIOURS = ["watches", "waits", "reads", "wraps", "detaches", "refuses", "answers", "fails"]


async def moment() -> None:
    """A few turns of the loop."""
    turned = asyncio.Event()
    asyncio.get_running_loop().call_later(0.002, turned.set)
    await turned.wait()


Step = Callable[["Scene"], Awaitable[None]]


class Scene:
    """One client, its backend, and the connections between them so far."""

    def __init__(self, proxy: Proxy, backend: Upstream, client: Peer) -> None:
        self.proxy, self.backend, self.client = proxy, backend, client

    @property
    def call(self) -> Peer | None:
        return self.backend.connections[-1] if self.backend.connections else None


def say(peer: Peer, data: bytes) -> None:
    """Unless it has finished or left."""
    if not peer.writer.is_closing():
        with contextlib.suppress(RuntimeError):
            peer.send(data)


def client_sends(data: bytes) -> Step:
    async def step(scene: Scene) -> None:
        say(scene.client, data)

    return step


def backend_sends(data: bytes) -> Step:
    async def step(scene: Scene) -> None:
        if scene.call is not None:
            say(scene.call, data)

    return step


def leaves(how: Callable[[Peer], None], whose: str) -> Step:
    async def step(scene: Scene) -> None:
        peer = scene.client if whose == "client" else scene.call
        if peer is not None and not peer.writer.is_closing():
            how(peer)

    return step


async def reload(scene: Scene) -> None:
    snapshot = scene.proxy.plane.snapshot
    assert snapshot is not None
    scene.proxy.plane.apply(snapshot)


STEPS: dict[str, Step] = {
    "client asks": client_sends(GET),
    "client asks HEAD": client_sends(GET.replace(b"GET", b"HEAD")),
    "client asks by 1.0": client_sends(b"GET / HTTP/1.0\r\n\r\n"),
    "client uploads": client_sends(UPLOAD),
    "client uploads more": client_sends(b"x" * 50),
    "client expects": client_sends(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
    "client uploads chunks": client_sends(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ),
    "client ends chunks": client_sends(b"0\r\n\r\n"),
    "client asks to upgrade": client_sends(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n"),
    "client talks nonsense": client_sends(b"\0\r\n\r\n"),
    "client finishes": leaves(Peer.finish, "client"),
    "client resets": leaves(Peer.reset, "client"),
    "backend answers": backend_sends(OK),
    "backend begins": backend_sends(BEGUN),
    "backend begins a head": backend_sends(b"HTTP/1.1 2"),
    "backend goes on": backend_sends(b"3\r\nabc\r\n"),
    "backend ends": backend_sends(b"0\r\n\r\n"),
    "backend hints": backend_sends(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "backend switches": backend_sends(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n"
    ),
    "backend talks nonsense": backend_sends(b"\0\r\n\r\n"),
    "backend finishes": leaves(Peer.finish, "backend"),
    "backend resets": leaves(Peer.reset, "backend"),
    "reload": reload,
}


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.booleans()), min_size=1, max_size=10),
    st.sampled_from([{}, {"max_connections": 1, "max_pending": 1}]),
    st.sampled_from(BEHAVIOURS),
)
def test_everything_is_given_back_once_in_whatever_order_things_happen(
    steps: list[tuple[str, bool]], limits: dict[str, int], how: str
) -> None:
    play(steps, limits, how)


@on_the_loop
async def play(steps: list[tuple[str, bool]], limits: dict[str, int], how: str) -> None:
    behaves = Behaves(how)
    async with upstream() as backend:
        async with configured(document([backend.url], backend=limits), lambda _: [behaves]) as proxy:
            scene = Scene(proxy, backend, await proxy.connect())
            for name, wait in steps:
                await STEPS[name](scene)
                if wait:
                    await moment()
            if how == "detaches":  # what is detached would outlive the block
                for client in proxy.clients:
                    client.reset()
                await moment()
                for call in backend.connections:
                    call.reset()
                await proxy.settled(lambda: proxy.in_flight() == 0)
    assert set(behaves.completions.values()) <= {1}, "each exchange completed once"
    recorded = sum(sum(call.statuses.values()) for call in proxy.plane.stats.calls() if call.route)
    assert recorded == len(behaves.completions)
