"""A token bucket: what it gives within a time is bounded, and what it owes is paid first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.allowance import Allowance

amounts = st.integers(1, 20)
steps = st.lists(st.tuples(st.floats(0, 3), amounts, st.booleans()), max_size=60)


@given(steps, st.floats(0.1, 50), st.floats(1, 50))
def test_it_gives_no_more_than_the_burst_and_the_rate(
    steps: list[tuple[float, int, bool]], rate: float, burst: float
) -> None:
    allowance, now, given_away = Allowance(rate, burst), 5.0, 0
    for passed_s, amount, asks in steps:
        now += passed_s
        if not asks:
            allowance.spend(now, amount)
            given_away += amount
        elif allowance.take(now, amount):
            given_away += amount
            assert given_away <= burst + (now - 5.0) * rate + 1e-6
        assert allowance.left(now) <= burst


@given(amounts, st.floats(0.5, 20))
def test_what_is_owed_is_paid_first(owed: int, rate: float) -> None:
    allowance = Allowance(rate, 10.0)
    allowance.spend(1.0, 10 + owed)
    paid_at = 1.0 + owed / rate
    assert not allowance.take(paid_at, 1)
    assert allowance.take(paid_at + 1.01 / rate, 1)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    allowance = Allowance(1.0, 10.0)
    allowance.spend(100.0, 10)
    assert allowance.left(50.0) == 0.0
    assert allowance.left(101.0) == 1.0
