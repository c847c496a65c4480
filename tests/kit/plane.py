"""A whole data plane on the loopback, with a chain of the test's own making."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from understudy.config.routes import Router
from understudy.config.snapshot import Backend, Chain, Endpoint, Listener, Route, Snapshot
from understudy.filters.api import Filter, Services
from understudy.filters.matching import Match
from understudy.proxy.plane import DataPlane
from understudy.proxy.telemetry.stats import Stats

Address = tuple[str, int]


@asynccontextmanager
async def serving(
    build: Callable[[Services], list[Filter]], backend: Address, *, idle_timeout_s: float = 5.0,
    also: Iterable[str] = (),
) -> AsyncIterator[tuple[DataPlane, Address]]:  # fmt: skip
    """Serve one route with these filters, under their class names, in front of one endpoint; yields where.

    The endpoint's backend is `stable`; `also` names more backends, of the same endpoint.
    """
    plane = DataPlane(asyncio.get_running_loop(), Stats())
    filters = build(plane.services)
    stable = Backend(
        name="stable",
        version="7",
        endpoints=(Endpoint(*backend),),
        first_byte_timeout=idle_timeout_s,
        idle_timeout=idle_timeout_s,
    )
    route = Route("iris", stable, Chain.of([(type(each).__name__, each) for each in filters]))
    routes = [(Match(path_prefix="/"), route)]
    snapshot = Snapshot(
        hash="0",
        version=1,
        listeners={"ingress": Listener("ingress", "127.0.0.1:0")},
        backends={name: replace(stable, name=name) for name in also} | {"stable": stable},
        routes=(route,),
        match=Router(routes).match,
    )
    plane.apply(snapshot)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        await plane.listen("ingress", listening)
        try:
            yield plane, listening.getsockname()
        finally:
            await plane.drain(1.0)
            plane.wheel.stop()
