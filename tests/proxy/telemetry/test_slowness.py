"""The p99 beyond which an exchange is told, of each live backend."""

from __future__ import annotations

import asyncio
import math

import pytest
from understudy.proxy.telemetry.slowness import AT_ONCE, LEAST, Slowness, backends, judging
from understudy.proxy.telemetry.stats import Stats
from understudy.proxy.timers import TICK_S, Wheel


def record(stats: Stats, seconds: float, count: int, route: str = "r", backend: str = "a", status: int = 200) -> None:
    for _ in range(count):
        stats.call(route, backend, "7").record(status, None, seconds, seconds, 0, 0)


def test_too_few_have_none() -> None:
    stats = Stats()
    record(stats, 0.01, LEAST - 1)
    assert len(list(judging([*stats.calls()]))) == 1
    assert stats.call("r", "a", "7").p99_s == math.inf
    record(stats, 0.01, 1)
    assert len(list(judging([*stats.calls()]))) == 1
    assert stats.call("r", "a", "7").p99_s == pytest.approx(0.01, rel=0.02)


def test_it_is_that_of_all_routes_and_statuses_together() -> None:
    stats = Stats()
    record(stats, 0.01, 900)
    record(stats, 0.1, 90, route="other", status=404)
    record(stats, 1.0, 10, status=500)
    [tallies] = backends(stats.calls())
    assert len(list(judging(tallies))) == 1
    assert [tally.p99_s for tally in tallies] == pytest.approx([0.1, 0.1], rel=0.02)


def test_a_backend_of_many_routes_is_looked_at_in_steps() -> None:
    stats = Stats()
    for number in range(2 * AT_ONCE + 1):
        record(stats, 0.01 if number else 1.0, LEAST, route=f"r{number}")
    [tallies] = backends(stats.calls())
    steps = judging(tallies)
    next(steps)
    assert {tally.p99_s for tally in tallies} == {math.inf}, "not before the last of them was added"
    assert len(list(steps)) == 2
    assert [tally.p99_s for tally in tallies] == pytest.approx([1.0] * len(tallies), rel=0.02)


def test_backends_shadows_and_refusals_are_apart() -> None:
    stats = Stats()
    record(stats, 0.01, 1)
    record(stats, 0.01, 1, backend="b")
    stats.call("", "", "")
    stats.call("r", "a", "7", "shadow")
    stats.call("r", "a", "8", "live")
    assert sorted(len(tallies) for tallies in backends(stats.calls())) == [1, 1, 1]


def test_the_wheel_turns_it_once_a_second_one_step_a_tick() -> None:
    now = 100.0
    loop = asyncio.new_event_loop()
    wheel = Wheel(loop, lambda: now)
    loop.close()
    stats = Stats()
    slowness = Slowness(wheel, stats.calls)
    record(stats, 0.01, LEAST)
    record(stats, 0.02, LEAST, backend="b")
    tallies = [stats.call("r", name, "7") for name in ("a", "b")]

    def judged_after(seconds: float) -> int:
        nonlocal now
        until = now + seconds
        while now < until:
            now += TICK_S
            wheel.turn()
        return sum(tally.p99_s < math.inf for tally in tallies)

    assert judged_after(3.0) == 0, "it is off"
    slowness.turn(True)
    assert judged_after(0.9) == 0
    assert judged_after(0.5) == 2
    before = tallies[0].p99_s
    record(stats, 1.0, LEAST)
    assert judged_after(1.5) == 2 and tallies[0].p99_s > before
    slowness.turn(False)
    record(stats, 10.0, 10 * LEAST)
    before = tallies[0].p99_s
    judged_after(3.0)
    assert tallies[0].p99_s == before
