"""A whole data plane in this process, on the loopback, as a configuration describes it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from understudy.config.compile import compile_snapshot
from understudy.config.load import load_bytes
from understudy.config.routes import Router
from understudy.config.schema import decode
from understudy.config.snapshot import Chain, Snapshot
from understudy.filters.api import Filter, Services
from understudy.proxy.plane import DataPlane
from understudy.proxy.telemetry.count import CallTally
from understudy.proxy.telemetry.stats import Stats

from .conversation import Peer

Build = Callable[[Services], Sequence[Filter]]
Options = dict[str, Any]


def document(
    endpoints: Sequence[str], *, backend: Options | None = None, listener: Options | None = None,
    route: Options | None = None, telemetry: Options | None = None,
) -> str:  # fmt: skip
    """One listener, one backend `stable`, one route `everything`; JSON, which is YAML too."""
    return json.dumps(
        {
            "listeners": {"ingress": {"bind": "127.0.0.1:0", **(listener or {})}},
            "backends": {"stable": {"endpoints": list(endpoints), **(backend or {})}},
            "routes": [{"name": "everything", "match": {"path_prefix": "/"}, "backend": "stable", **(route or {})}],
            **({"telemetry": telemetry} if telemetry else {}),
        }
    )


class Proxy:
    """A plane that serves, and where."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.addresses: dict[str, tuple[str, int] | str] = {}
        self.clients: list[Peer] = []

    async def connect(self, listener: str = "ingress") -> Peer:
        """A client of this listener, for the length of the block."""
        client = await Peer.connect(self.addresses[listener])
        self.clients.append(client)
        return client

    def stats(self, route: str = "everything", backend: str = "stable", version: str = "") -> CallTally:
        """What was counted for these calls; "" for both names: refused before a route."""
        return self.plane.stats.call(route, backend, version)

    def in_flight(self) -> int:
        """Places that exchanges occupy now, of every kind."""
        pools = self._pools()
        calls: int = sum(target.in_flight for pool in pools for target in pool.targets)
        calls += sum(pool.in_flight for pool in pools)
        return calls + sum(each.in_flight for each in self.plane.stats.calls())

    def connections(self) -> int:
        """Open connections to backends."""
        return sum(target.open for pool in self._pools() for target in pool.targets)

    def idle(self) -> int:
        """Warm connections to backends that may serve a call now."""
        warm = [connection for pool in self._pools() for target in pool.targets for connection in target.idle]
        return sum(connection.usable and not connection.resting for connection in warm)

    async def settled(self, done: Callable[[], bool], within_s: float = 2.0) -> None:
        """Let the loop turn until this holds; AssertionError when it does not in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not done():
            assert loop.time() < deadline, "it never came to pass"
            turned = loop.create_future()
            loop.call_later(0.001, turned.set_result, None)
            await turned

    def _pools(self) -> list[Any]:
        assert self.plane.snapshot is not None
        return [self.plane.pools[name] for name in self.plane.snapshot.backends]


@asynccontextmanager
async def configured(text: str, build: Build | None = None, base: str = "/") -> AsyncIterator[Proxy]:
    """Serve a configuration; `build` makes the filters of every route in place of its own.

    At the end of the block every place must have been given back, and every connection to a backend closed.
    """
    plane = DataPlane(asyncio.get_running_loop(), Stats())
    plane.apply(snapshot_of(text, plane, build, base))
    proxy = Proxy(plane)
    sockets = []
    assert plane.snapshot is not None
    for name, listener in plane.snapshot.listeners.items():
        sock = _bound(listener.bind)
        sockets.append(sock)
        await plane.listen(name, sock)
        proxy.addresses[name] = sock.getsockname()
    try:
        yield proxy
    finally:
        for client in proxy.clients:
            client.reset()
        await plane.drain(1.0)
        await proxy.settled(lambda: proxy.in_flight() == 0 and proxy.connections() == 0)
        plane.wheel.stop()
        for sock in sockets:
            sock.close()


def snapshot_of(text: str, services: Services, build: Build | None = None, base: str = "/") -> Snapshot:
    """Compile a configuration that has no mistakes."""
    loaded = load_bytes(text.encode(), file="u.yaml", base=base)
    assert [str(mistake) for mistake in loaded.mistakes] == []
    snapshot = compile_snapshot(decode(loaded.wire), services, version=1, workers=1, base=base)
    if build is None:
        return snapshot
    chain = Chain.of([(type(each).__name__, each) for each in build(services)])
    routes = tuple(replace(route, chain=chain) for route in snapshot.routes)
    router = Router()
    for route in routes:
        assert route.takes is not None
        router.add(route.takes, route)
    return replace(snapshot, routes=routes, match=router.match)


def _bound(bind: str) -> socket.socket:
    if bind.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(bind.removeprefix("unix:"))
        sock.listen()
    else:
        host, _, port = bind.rpartition(":")
        sock = socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    sock.setblocking(False)
    return sock
