"""Events of every kind in random orders: whatever happens, everything is given back, once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy.filters.api import BodyWrap, Exchange, Failure, Filter, Outcome, Response

from tests.kit.configured import Proxy, configured, document
from tests.kit.conversation import Peer, Upstream, on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun"
CHUNKED_UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


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
    "client uploads chunks": client_sends(CHUNKED_UPLOAD),
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


def nothing_goes_on(proxy: Proxy, backend: Upstream) -> bool:
    """End every call that has come to the backend by now; true when nobody is left who could make another."""
    for call in backend.connections:
        call.reset()
    return proxy.plane.open_connections() == 0 and proxy.in_flight() == 0


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
                await proxy.settled(lambda: nothing_goes_on(proxy, backend))
    assert set(behaves.completions.values()) <= {1}, "each exchange completed once"
    recorded = sum(sum(call.statuses.values()) for call in proxy.plane.stats.calls() if call.key.route)
    assert recorded == len(behaves.completions)
