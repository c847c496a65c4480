"""The p99 beyond which an exchange is told, of each live backend."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.telemetry.sketch import GAMMA
from understudy.proxy.telemetry.slowness import AT_ONCE, LEAST, WINDOW_S, Past, Slowness, backends, judging
from understudy.proxy.telemetry.stats import Stats
from understudy.proxy.timers import TICK_S, Wheel


def record(stats: Stats, seconds: float, count: int, route: str = "r", backend: str = "a", status: int = 200) -> None:
    for _ in range(count):
        stats.call(route, backend, "7").record(status, None, seconds, seconds, 0, 0)


def judged(stats: Stats, past: Past, now: float) -> float:
    """The p99 as a round at this time works it out."""
    [tallies] = backends(stats.calls()).values()
    assert len(list(judging(tallies, past, now))) == 1
    assert len({tally.p99_s for tally in tallies}) == 1
    return tallies[0].p99_s


def test_too_few_have_none() -> None:
    stats, past = Stats(), Past(0.0)
    record(stats, 0.01, LEAST - 1)
    assert judged(stats, past, 1.0) == math.inf
    record(stats, 0.01, 1)
    assert judged(stats, past, 2.0) == pytest.approx(0.01, rel=GAMMA - 1)


def test_it_is_that_of_all_routes_and_statuses_together() -> None:
    stats = Stats()
    record(stats, 0.01, 900)
    record(stats, 0.1, 90, route="other", status=404)
    record(stats, 1.0, 10, status=500)
    assert judged(stats, Past(0.0), 1.0) == pytest.approx(0.1, rel=GAMMA - 1)


@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=20))
def test_at_most_a_hundredth_are_slower_however_little_they_spread(lengths: list[float]) -> None:
    stats = Stats()
    for seconds in lengths:
        record(stats, seconds, LEAST)
    p99_s = judged(stats, Past(0.0), 1.0)
    assert sum(seconds > p99_s * (1 + 1e-9) for seconds in lengths) <= len(lengths) / 100
    assert max(lengths) * (GAMMA + 1e-3) + 1e-6 > p99_s, "what is 3 % slower is slower"


def second_by_second(stats: Stats, past: Past, seconds: range, each_s: float, count: int) -> list[float]:
    """So many exchanges of this length in each second: the p99 at the end of each."""
    found = []
    for second in seconds:
        record(stats, each_s, count)
        found.append(judged(stats, past, float(second)))
    return found


def test_a_slow_warm_up_is_forgotten_within_two_windows() -> None:
    stats, past = Stats(), Past(0.0)
    record(stats, 20.0, 3 * LEAST)
    found = second_by_second(stats, past, range(1, 121), 0.01, 50)
    assert min(found[:29]) > 19.0, "one in five was slow"
    assert found[int(2 * WINDOW_S) :] == pytest.approx([0.01] * 60, rel=GAMMA - 1)
    assert second_by_second(stats, past, range(121, 152), 0.3, 1)[-1] == pytest.approx(0.3, rel=GAMMA - 1), (
        "and slows again"
    )


def test_a_window_lasts_until_it_has_enough() -> None:
    stats, past = Stats(), Past(0.0)
    record(stats, 20.0, LEAST)
    found = second_by_second(stats, past, range(1, 301), 0.01, 1)
    assert found[: LEAST - 1] == pytest.approx([20.0] * (LEAST - 1), rel=GAMMA - 1), "never without one"
    assert found[2 * LEAST :] == pytest.approx([0.01] * LEAST, rel=GAMMA - 1)
    assert judged(stats, past, 9999.0) == found[-1], "nothing ended since: it stands"


def test_a_backend_of_many_routes_is_looked_at_in_steps() -> None:
    stats = Stats()
    for number in range(2 * AT_ONCE + 1):
        record(stats, 0.01 if number else 1.0, LEAST, route=f"r{number}")
    [tallies] = backends(stats.calls()).values()
    steps = judging(tallies, Past(0.0), 1.0)
    next(steps)
    assert {tally.p99_s for tally in tallies} == {math.inf}, "not before the last of them was added"
    assert len(list(steps)) == 2
    assert [tally.p99_s for tally in tallies] == pytest.approx([1.0] * len(tallies), rel=GAMMA - 1)


def test_backends_shadows_and_refusals_are_apart() -> None:
    stats = Stats()
    record(stats, 0.01, 1)
    record(stats, 0.01, 1, backend="b")
    stats.call("", "", "")
    stats.call("r", "a", "7", "shadow")
    stats.call("r", "a", "8", "live")
    assert {name: len(tallies) for name, tallies in backends(stats.calls()).items()} == {
        ("a", "7"): 1, ("b", "7"): 1, ("a", "8"): 1,
    }  # fmt: skip


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
    for _ in range(3):
        record(stats, 0.01, LEAST)
        judged_after(WINDOW_S + 1.5)
    assert tallies[0].p99_s == before, "that second is out of sight"
    slowness.turn(False)
    record(stats, 10.0, 10 * LEAST)
    judged_after(3.0)
    assert tallies[0].p99_s == before
