"""The wheel, with a clock that the test moves: never early, at most two ticks late, moved for the price of a store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.proxy.timers import NEVER, TICK_S, Wheel

EPSILON_S = 1e-6


class Clock:
    """Monotonic seconds, and a loop whose only timer is called by hand."""

    def __init__(self, at: float = 5_000.0) -> None:
        self.at = at
        self.turn: Any = None

    def __call__(self) -> float:
        return self.at

    def call_later(self, delay_s: float, callback: Any) -> Clock:
        assert delay_s == TICK_S
        self.turn = callback
        return self

    def cancel(self) -> None:
        self.turn = None

    def pass_(self, seconds: float, wheel: Wheel, step_s: float = TICK_S) -> None:
        """Let time pass, the wheel turning once a step."""
        until = self.at + seconds
        while self.at < until:
            self.at = min(self.at + step_s, until)
            wheel.turn()


class Item:
    """Notes when it was called."""

    def __init__(self, clock: Clock, deadline: float = NEVER) -> None:
        self.clock = clock
        self.deadline = deadline
        self.look_s = NEVER
        self.called: list[float] = []

    def on_deadline(self) -> None:
        self.called.append(self.clock.at)


def wheel_of(clock: Clock) -> Wheel:
    return Wheel(clock, clock)  # type: ignore[arg-type]


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=20), st.floats(0.0, 1.0))
def test_deadlines_are_met_never_early_and_at_most_two_ticks_late(delays: list[float], offset: float) -> None:
    clock = Clock(5_000.0 + offset)
    wheel = wheel_of(clock)
    items = [Item(clock, clock.at + delay) for delay in delays]
    for item in items:
        wheel.watch(item)
    wanted = [item.deadline for item in items]
    clock.pass_(6.0, wheel)
    for item, deadline in zip(items, wanted, strict=True):
        assert len(item.called) == 1
        assert -EPSILON_S <= item.called[0] - deadline <= 2 * TICK_S + EPSILON_S
        assert item.deadline == NEVER


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["later", "sooner", "never"]), st.floats(0.0, 3.0), st.floats(0.0, 2.0)), max_size=12
    )
)
def test_a_deadline_moved_by_a_plain_store_is_kept(moves: list[tuple[str, float, float]]) -> None:
    """As the hot path moves it: `watch` is called only where the deadline comes before the next look."""
    clock = Clock()
    wheel = wheel_of(clock)
    item = Item(clock)
    for how, delay, passing in moves:
        item.deadline = NEVER if how == "never" else clock.at + delay
        if item.deadline < item.look_s:
            wheel.watch(item)
        began, deadline, before = clock.at, item.deadline, len(item.called)
        clock.pass_(passing, wheel)
        called = item.called[before:]
        assert len(called) <= 1
        if called:
            assert deadline - EPSILON_S <= called[0] <= max(deadline, began) + 2 * TICK_S + EPSILON_S
        else:
            assert deadline > clock.at - 2 * TICK_S - EPSILON_S


def test_an_item_is_looked_at_about_once_a_second_however_often_its_deadline_moves() -> None:
    clock = Clock()
    wheel = wheel_of(clock)
    looks = 0

    class Watched(Item):
        @property
        def deadline(self) -> float:
            nonlocal looks
            looks += 1
            return clock.at + 10.0

        @deadline.setter
        def deadline(self, at: float) -> None:
            pass

    item = Watched(clock)
    wheel.watch(item)
    looks = 0
    clock.pass_(10.0, wheel)
    assert looks <= 30, "two or three reads a look, one look a second"
    assert item.called == []


def test_a_forgotten_item_is_left_alone_and_may_come_back() -> None:
    clock = Clock()
    wheel = wheel_of(clock)
    item = Item(clock, clock.at + 0.5)
    wheel.watch(item)
    wheel.forget(item)
    clock.pass_(2.0, wheel)
    assert item.called == []
    item.deadline = clock.at + 0.5
    wheel.watch(item)
    clock.pass_(2.0, wheel)
    assert len(item.called) == 1


def test_a_loop_that_was_blocked_catches_up() -> None:
    clock = Clock()
    wheel = wheel_of(clock)
    items = [Item(clock, clock.at + delay / 10) for delay in range(1, 100)]
    for item in items:
        wheel.watch(item)
    clock.at += 60.0
    wheel.turn()
    clock.pass_(2.0, wheel)
    assert all(len(item.called) == 1 for item in items)


def test_an_item_may_set_its_next_deadline_when_it_is_called() -> None:
    clock = Clock()
    wheel = wheel_of(clock)

    class Again(Item):
        def on_deadline(self) -> None:
            super().on_deadline()
            self.deadline = clock.at + 0.3
            if self.deadline < self.look_s:
                wheel.watch(self)

    item = Again(clock, clock.at + 0.3)
    wheel.watch(item)
    clock.pass_(3.0, wheel)
    gaps = [after - before for before, after in zip(item.called, item.called[1:], strict=False)]
    assert 7 <= len(item.called) <= 10
    assert all(0.3 - EPSILON_S <= gap <= 0.3 + 2 * TICK_S + EPSILON_S for gap in gaps)


def test_one_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Item):
        def on_deadline(self) -> None:
            super().on_deadline()
            raise RuntimeError("of a bug")

    clock = Clock()
    wheel = wheel_of(clock)
    failing, others = Failing(clock), [Item(clock) for _ in range(3)]
    for item in (others[0], failing, *others[1:]):
        item.deadline = wheel.within(0.2)
        wheel.watch(item)
    clock.pass_(0.5, wheel)
    assert [len(item.called) for item in (failing, *others)] == [1, 1, 1, 1]
    assert "of a bug" in caplog.text
    failing.deadline = wheel.within(0.2)
    clock.pass_(1.5, wheel)
    assert len(failing.called) == 2, "it is still watched"


def test_it_turns_by_the_loop_until_it_is_stopped() -> None:
    clock = Clock()
    wheel = wheel_of(clock)
    item = Item(clock, clock.at + 0.1)
    wheel.watch(item)
    wheel.start()
    for _ in range(4):
        clock.at += TICK_S
        clock.turn()
    assert len(item.called) == 1 and wheel.now == clock.at
    wheel.stop()
    assert clock.turn is None
    loop = asyncio.new_event_loop()
    real = Wheel(loop)
    real.start()
    real.stop()
    loop.close()
