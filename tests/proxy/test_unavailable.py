"""`on_unavailable: next` on the wire: an arm's users go elsewhere while it is down, one at a time finds out whether it
is back, and nobody else moves."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from understudy.filters.bucketing import Race

from tests.kit.configured import Proxy, configured
from tests.kit.conversation import Message, Peer, Upstream, on_the_loop, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
FIRST_PAUSE_S, SECOND_PAUSE_S, THIRD_PAUSE_S = 0.5, 1.0, 2.0
SPLIT = {"type": "split", "experiment": "e", "key": {"header": "u"}, "on_unavailable": "next"}
_RACE = Race("e", {"stable": 50, "canary": 50})
CANARYS, STABLES = (
    [user for user in map(str, range(40)) if _RACE.arms[_RACE.winner(user.encode())] == arm]
    for arm in ("canary", "stable")
)


@contextmanager
def unheard() -> Iterator[socket.socket]:
    """An address where nobody listens yet; it stays bound, so that no other program is given it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@contextmanager
def blackholed(hole: socket.socket) -> Iterator[None]:
    """The listening socket's queue is full: the kernel drops every further SYN. At the end it is empty."""
    hole.listen(0)
    fillers = [socket.socket() for _ in range(2)]
    for filler in fillers:
        filler.setblocking(False)
        with suppress(BlockingIOError):
            filler.connect(hole.getsockname())
    try:
        yield
    finally:
        for filler in fillers:
            filler.close()
        hole.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                hole.accept()[0].close()


@asynccontextmanager
async def heard(sock: socket.socket, backend: Upstream) -> AsyncIterator[None]:
    """The backend accepts here."""
    server = await asyncio.start_server(backend.accepted, sock=sock)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def served(stable: Upstream, *canary: socket.socket) -> AsyncIterator[Proxy]:
    """A split over these two backends, where time passes when the test says so."""
    urls = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in canary]
    text = json.dumps(
        {
            "listeners": {"ingress": {"bind": "127.0.0.1:0"}},
            "backends": {
                "stable": {"endpoints": [stable.url]},
                "canary": {"endpoints": urls, "connect_timeout": "300ms", "balance": "round_robin"},
            },
            "routes": [
                {
                    "name": "everything",
                    "match": {"path_prefix": "/"},
                    "backend": "stable",
                    "filters": [SPLIT | {"arms": {"stable": 50, "canary": 50}}],
                }
            ],
        }
    )
    async with configured(text) as proxy:
        proxy.plane.wheel.stop()
        yield proxy


def connecting(proxy: Proxy) -> int:
    """How many find out about the canary."""
    return sum(gauge.connecting for gauge in proxy.plane.gauges().pools if gauge.backend == "canary")


async def ask(proxy: Proxy, user: str) -> Peer:
    client = await proxy.connect()
    client.send(f"GET / HTTP/1.1\r\nHost: a\r\nu: {user}\r\n\r\n".encode())
    return client


async def refused(proxy: Proxy, user: str) -> Message:
    """What a user reads whom nobody serves."""
    answer = await (await ask(proxy, user)).message()
    assert (answer.status, b'"connect_failed"' in answer.body) == (503, True)
    return answer


async def asked(proxy: Proxy, user: str, backend: Upstream) -> None:
    """This backend answers this user."""
    client = await ask(proxy, user)
    call = backend.connections[0] if backend.connections else await backend.accept()
    assert (await call.message()).get(b"u") == user.encode()
    call.send(OK + b"ok")
    assert (await client.message()).body == b"ok"


async def stable_serves(proxy: Proxy, stable: Upstream) -> None:
    """The users of the canary as well as its own."""
    for user in *CANARYS, *STABLES[:3]:
        await asked(proxy, user, stable)


@on_the_loop
async def test_users_of_a_refusing_arm_move_and_return_and_one_request_a_pause_finds_out() -> None:
    with unheard() as away:
        async with upstream() as stable, upstream() as canary, served(stable, away) as proxy:
            await asked(proxy, STABLES[0], stable)
            await refused(proxy, CANARYS[0])
            await stable_serves(proxy, stable)
            proxy.plane.wheel.now += FIRST_PAUSE_S
            await asked(proxy, STABLES[0], stable)
            await refused(proxy, CANARYS[0])
            await stable_serves(proxy, stable)
            async with heard(away, canary):
                await stable_serves(proxy, stable)
                proxy.plane.wheel.now += SECOND_PAUSE_S
                for user in CANARYS:
                    await asked(proxy, user, canary)
                await asked(proxy, STABLES[0], stable)


@on_the_loop
async def test_nobody_waits_for_a_blackholed_arm_but_the_one_who_finds_out_be_he_gone_or_not() -> None:
    with unheard() as hole:
        async with upstream() as stable, upstream() as canary, served(stable, hole) as proxy:
            with blackholed(hole):
                await refused(proxy, CANARYS[0])
                proxy.plane.wheel.now += FIRST_PAUSE_S
                finds_out = await ask(proxy, CANARYS[0])
                await proxy.settled(lambda: connecting(proxy) == 1)
                await stable_serves(proxy, stable)
                assert (await finds_out.message()).status == 503
                await stable_serves(proxy, stable)

                proxy.plane.wheel.now += SECOND_PAUSE_S
                leaves = await ask(proxy, CANARYS[0])
                await proxy.settled(lambda: connecting(proxy) == 1)
                leaves.reset()
                await proxy.settled(lambda: proxy.plane.pools["canary"].in_flight == 0)
                await stable_serves(proxy, stable)
                await proxy.settled(lambda: proxy.connections() == 1)
            async with heard(hole, canary):
                await stable_serves(proxy, stable)
                proxy.plane.wheel.now += THIRD_PAUSE_S
                for user in CANARYS:
                    await asked(proxy, user, canary)


@on_the_loop
async def test_one_request_finds_out_about_one_endpoint_of_several() -> None:
    with unheard() as hole, socket.create_server(("127.0.0.1", 0)) as up:
        async with upstream() as stable, upstream() as canary, served(stable, hole, up) as proxy:
            async with heard(up, canary):
                with blackholed(hole):
                    for _ in range(2):
                        await asked(proxy, CANARYS[0], canary)
                    assert [gauge.up for gauge in proxy.plane.gauges().pools] == [True, False, True]
                    proxy.plane.wheel.now += FIRST_PAUSE_S
                    finds_out = [await ask(proxy, CANARYS[0]) for _ in range(2)]
                    call = canary.connections[0]
                    await call.message()
                    call.send(OK + b"ok")
                    await proxy.settled(lambda: connecting(proxy) == 1)
                    for user in CANARYS:
                        await asked(proxy, user, canary)
                    call = canary.connections[0]
                    await call.message()
                    call.send(OK + b"ok")
                    assert [(await client.message()).status for client in finds_out] == [200, 200]
