"""The exchanges that control would be told of, as a test waits for them."""

from __future__ import annotations

from typing import Any

from understudy.proxy.telemetry.records import ToldExchange

from .configured import Options, Proxy

NOWHERE = "http://127.0.0.1:9"


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
        self.exchanges: list[ToldExchange] = []

    def take(self) -> list[ToldExchange]:
        """All so far."""
        records = self._proxy.plane.stats.records.take()
        self.exchanges += [each for each in records if isinstance(each, ToldExchange)]
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
