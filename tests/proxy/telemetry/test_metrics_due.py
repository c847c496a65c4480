"""When control measures and exports metrics: as often as the configuration in force says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from understudy.proxy.telemetry.export import export
from understudy.proxy.telemetry.export.export import Export
from understudy.proxy.telemetry.export.outcome import Outcome
from understudy.proxy.telemetry.family import Family
from understudy.proxy.telemetry.losses import Losses

from tests.config.test_environment import document
from tests.kit.conversation import on_the_loop


class Metrics:
    """Of an export whose backend takes everything. Mutable state: how often they were measured."""

    def __init__(self) -> None:
        self.measured = 0
        self.export = Export(Losses(), "/", self._measure, {})

    async def _measure(self) -> Sequence[Family]:
        self.measured += 1
        return []

    def configure(self, interval: str, endpoint: str = "http://a:4318") -> None:
        """Export them so often from now on."""
        self.export.configure(document({"otlp": {"endpoint": endpoint}, "metrics": {"interval": interval}}))

    async def ticks(self, *seconds: float) -> list[float]:
        """At which of these seconds they were measured."""
        found = []
        for now_s in seconds:
            before = self.measured
            self.export.tick(now_s)
            if self.export._measuring is not None:
                await asyncio.wait([self.export._measuring])
            found += [now_s] if self.measured > before else []
        return found


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.setattr(export, "sending", lambda target: lambda request: Outcome())
    return Metrics()


@on_the_loop
async def test_they_leave_at_once_and_then_by_the_interval(metrics: Metrics) -> None:
    metrics.configure("10s")
    assert await metrics.ticks(0, 1, 9, 10, 11, 19, 20) == [0, 10, 20]
    await metrics.export.stop(5)


@pytest.mark.parametrize(("before", "after", "due_s"), [("1h", "10s", 10), ("10s", "30s", 30)])
@on_the_loop
async def test_a_reload_that_changes_the_interval_changes_what_is_waited_for(
    metrics: Metrics, before: str, after: str, due_s: int
) -> None:
    metrics.configure(before)
    assert await metrics.ticks(0, 5) == [0]
    metrics.configure(after)
    assert await metrics.ticks(due_s - 1, due_s, due_s + 1) == [due_s]
    await metrics.export.stop(5)


@on_the_loop
async def test_a_reload_that_changes_the_place_tells_it_at_once(metrics: Metrics) -> None:
    metrics.configure("1h")
    assert await metrics.ticks(0) == [0]
    metrics.configure("1h", endpoint="http://b:4318")
    assert await metrics.ticks(1, 2) == [1]
    await metrics.export.stop(5)
