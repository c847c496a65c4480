"""A live backend, its shadows and the plane between them, in the hands of one test; and what became of each copy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from understudy.proxy.comparison.sums import Book
from understudy.proxy.lane import Lane
from understudy.proxy.telemetry.pairs import spelled_out
from understudy.proxy.telemetry.records import Pair

from .configured import Build, Options, Proxy, configured, document
from .conversation import Message, Peer, Upstream, upstream

ROUTE = "everything"
COLD = {"keep_alive": "0s"}
"""Every call comes on a connection of its own, unless a test says otherwise."""


def ok(content: bytes = b"ok", fields: bytes = b"") -> bytes:
    """A whole, good answer."""
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(content), content)


def post(body: bytes, fields: bytes = b"", path: bytes = b"/") -> bytes:
    """A whole POST with a length."""
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (path, fields, len(body), body)


class Stage:
    """Live, its shadows and the proxy. Mutable state: `pairs`, every pair of the proxy so far, as they came, and the
    `book` in which control would add them up."""

    def __init__(self, live: Upstream, shadows: list[Upstream], proxy: Proxy) -> None:
        self.live = live
        self.shadows = shadows
        self.shadow = shadows[0]
        self.proxy = proxy
        self.pairs: list[Pair] = []
        self.book = Book(100, 0)

    @property
    def lanes(self) -> list[Lane]:
        """In the order of the shadows."""
        return self.proxy.plane.lanes[ROUTE]

    @property
    def lane(self) -> Lane:
        """Of the first shadow."""
        return self.lanes[0]

    def take_pairs(self) -> list[Pair]:
        """All pairs so far."""
        told = self.proxy.plane.stats.pairs.take()
        self.book.take(told)
        self.pairs += [each for pairs in told for each in spelled_out(pairs)]
        return self.pairs

    async def pair(self, number: int = 1, within_s: float = 5.0) -> Pair:
        """The so many-th pair, counted from one."""
        await self.proxy.settled(lambda: len(self.take_pairs()) >= number, within_s)
        return self.pairs[number - 1]

    async def connect(self) -> Peer:
        """A client."""
        return await self.proxy.connect()

    async def asked(self, request: bytes, client: Peer | None = None) -> tuple[Peer, Peer, Message, Peer, Message]:
        """A client sent this whole request, and both backends read it: client, live's call, the shadow's call."""
        client = client or await self.connect()
        client.send(request)
        live, live_request = await self.live.call()
        shadow, shadow_request = await self.shadow.call()
        return client, live, live_request, shadow, shadow_request

    async def live_alone(self, client: Peer, request: bytes = b"") -> None:
        """The client asks, if it has not yet, and live answers it, whatever the shadow does."""
        if request:
            client.send(request)
        live, _ = await self.live.call()
        live.send(ok(b"live"))
        assert (await client.message()).body == b"live"

    async def over(self) -> None:
        """Wait until no copy and no exchange is under way: all that they occupied must have been given back."""
        await self.proxy.settled(self.at_rest, 5.0)
        self.take_pairs()
        for lane in (lane for lanes in self.proxy.plane.lanes.values() for lane in lanes):
            stats = lane.copy_stats
            assert stats.selected == stats.sent + sum(stats.dropped.values())
            assert stats.sent == stats.complete + stats.censored + sum(stats.failed.values())
            assert stats.selected == sum(stats.selected_by_size)
            assert sum(stats.compared_by_size) == self._compared(lane)
            assert lane.breaker.state in (0, 1), "a probe has ended and nobody heard of it"

    def _compared(self, lane: Lane) -> int:
        """How many pairs control would compare with this lane's shadow."""
        names = (lane.route, lane.shadow.backend.name)
        return sum(sums.total.pairs for key, sums in self.book.comparisons.items() if (key[0], key[3]) == names)

    def at_rest(self) -> bool:
        """Whether nothing is occupied."""
        lanes = [lane for lanes in self.proxy.plane.lanes.values() for lane in lanes]
        return self.proxy.in_flight() == 0 and all(
            not lane.copies and not lane.held and not any(target.in_flight for target in lane.pool.targets)
            for lane in lanes
        )


def mirror(shadows: list[Options], budget: Options | None = None) -> Options:
    """The YAML of a mirror."""
    return {"type": "mirror", "to": shadows, **({"budget": budget} if budget else {})}


@asynccontextmanager
async def mirroring(
    *shadows: Options, budget: Options | None = None, shadow: Options | None = None, backend: Options | None = None,
    listener: Options | None = None, filters: list[Options] | None = None, url: str | None = None,
    build: Build | None = None, telemetry: Options | None = None,
) -> AsyncIterator[Stage]:  # fmt: skip
    """Each of `shadows` is an entry of `to`; their backends are `next`, `next2`, … and have the options `shadow`; `url`
    is where the first one is to be found instead; `build` makes the chain. At the end nothing may be occupied."""
    entries = [{"backend": _name(at), **each} for at, each in enumerate(shadows or ({},))]
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(upstream())
        heard = [await stack.enter_async_context(upstream()) for _ in entries]
        urls = [url or heard[0].url, *(each.url for each in heard[1:])]
        chain = [*(filters or []), mirror(entries, budget)]
        text = document_of(live.url, urls, chain, shadow, backend, listener, telemetry)
        proxy = await stack.enter_async_context(configured(text, build))
        stage = Stage(live, heard, proxy)
        yield stage
        for client in proxy.clients:
            client.reset()
        for peer in (peer for each in (live, *heard) for peer in each.connections):
            peer.reset()
        await stage.over()


def document_of(
    live: str, shadows: list[str], filters: list[Options], shadow: Options | None = None,
    backend: Options | None = None, listener: Options | None = None, telemetry: Options | None = None,
) -> str:  # fmt: skip
    """Like `document`, with shadows of version 9."""
    own = {**COLD, **(backend or {})}
    text = document([live], backend=own, listener=listener, route={"filters": filters}, telemetry=telemetry)
    found: dict[str, Any] = json.loads(text)
    for at, url in enumerate(shadows):
        found["backends"][_name(at)] = {"endpoints": [url], "version": "9", **COLD, **(shadow or {})}
    return json.dumps(found)


def _name(at: int) -> str:
    return "next" if at == 0 else f"next{at + 1}"
