"""The exchanges that control would be told of, as a test waits for them."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from understudy.proxy.telemetry.telling import epoch_s, exchange
from understudy.proxy.telemetry.told import ToldExchange

from .configured import Options, Proxy, configured, document
from .conversation import Message, Peer, Upstream, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NOWHERE = "http://127.0.0.1:9"
MANY = 10_000


def traces(**options: Any) -> Options:
    """The YAML of `telemetry` with traces; all of them where `sample` is not said."""
    return {"otlp": {"endpoint": NOWHERE}, "traces": {"sample": 1.0, **options}}


def logs(**options: Any) -> Options:
    """The YAML of `telemetry` with an access log alone."""
    return {"access_log": {"to": "stdout", **options}}


class Told:
    """Mutable state: every exchange told of so far, as they came."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        proxy.plane.stats.records.batch = MANY  # so that they stay as they were told
        self.exchanges: list[ToldExchange] = []

    def take(self) -> list[ToldExchange]:
        """All so far."""
        waiting = self._proxy.plane.stats.records.told
        self.exchanges += [
            each if isinstance(each, ToldExchange) else exchange(each, 0.0, epoch_s()) for each in waiting
        ]
        waiting.clear()
        return self.exchanges

    async def exchange(self, number: int = 1, within_s: float = 5.0) -> ToldExchange:
        """The so many-th, counted from one."""
        await self._proxy.settled(lambda: len(self.take()) >= number, within_s)
        return self.exchanges[number - 1]

    async def only(self) -> ToldExchange:
        """The first, after which no exchange is under way and no other was told of."""
        found = await self.exchange()
        await self._proxy.settled(lambda: self._proxy.in_flight() == 0)
        assert len(self.take()) == 1
        return found


class Hearing:
    """A backend, the proxy and what control would hear."""

    def __init__(self, live: Upstream, proxy: Proxy) -> None:
        self.live = live
        self.proxy = proxy
        self.told = Told(proxy)

    async def answered(self, request: bytes, answer: bytes, client: Peer | None = None) -> tuple[Message, Message]:
        """One exchange: the backend's request, the client's answer."""
        client = client or await self.proxy.connect()
        client.send(request)
        call, asked = await self.live.call()
        call.send(answer)
        return asked, await client.message()

    async def nothing_told(self) -> None:
        """Every exchange is over, and control has not heard of it."""
        await self.proxy.settled(lambda: self.proxy.in_flight() == 0)
        assert self.told.take() == []


@asynccontextmanager
async def telling(
    telemetry: Options | None, *, listener: Options | None = None, backend: Options | None = None,
    route: Options | None = None,
) -> AsyncIterator[Hearing]:  # fmt: skip
    """A backend of version 7 behind the proxy; unless `backend` says otherwise, every call has its own connection."""
    async with upstream() as live:
        own = {"keep_alive": "0s", "version": "7", **(backend or {})}
        text = document([live.url], listener=listener, backend=own, route=route, telemetry=telemetry)
        async with configured(text) as proxy:
            yield Hearing(live, proxy)


@contextmanager
def nobody() -> Iterator[str]:
    """An address that refuses: it is bound, and nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*sock.getsockname())


def traceparent(message: Message) -> tuple[bytes, bytes, str]:
    """Trace id, span id and flags that a backend was sent."""
    match = re.fullmatch(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])", message.get(b"traceparent") or b"")
    assert match
    return match[1], match[2], match[3].decode()
