"""Quantiles with durations that were cut, against the estimate reckoned durations by duration."""

from __future__ import annotations

from fractions import Fraction
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.comparison.quantiles import Quantile, quantiles
from understudy.proxy.telemetry.sketch import GAMMA, Sketch, insert
from understudy.proxy.telemetry.sketch import quantiles as plain_quantiles

SHARES = (0.5, 0.9, 0.99)
SECONDS = st.integers(0, 40).map(lambda step: 1e-3 * exp(step / 4))  # far enough apart for buckets of their own
DURATIONS = st.lists(st.tuples(SECONDS, st.booleans()), max_size=60)


def sketch(*seconds: float) -> Sketch:
    found: Sketch = {}
    for each in seconds:
        insert(found, each)
    return found


def by_hand(durations: list[tuple[float, bool]], share: float) -> tuple[float | None, bool]:
    """Kaplan and Meier over single durations, in fractions: (seconds, whether it was cut)."""
    if not durations:
        return None, False
    surviving = Fraction(1)
    times = sorted({seconds for seconds, _ in durations})
    for time in times:
        at_risk = sum(seconds >= time for seconds, _ in durations)
        ended = sum(seconds == time and not was_cut for seconds, was_cut in durations)
        surviving *= 1 - Fraction(ended, at_risk)
        if ended and 1 - surviving >= Fraction(str(share)):
            return time, False
    return times[-1], True


@given(DURATIONS)
def test_quantiles_are_those_of_kaplan_and_meier(durations: list[tuple[float, bool]]) -> None:
    complete = sketch(*(seconds for seconds, was_cut in durations if not was_cut))
    cut = sketch(*(seconds for seconds, was_cut in durations if was_cut))
    for share, found in zip(SHARES, quantiles(complete, cut, *SHARES), strict=True):
        seconds, is_lower_bound = by_hand(durations, share)
        assert found.is_lower_bound == is_lower_bound
        if seconds is None:
            assert found.seconds is None
        else:
            assert found.seconds == pytest.approx(seconds, rel=(GAMMA - 1) / 2 + 1e-6, abs=1e-6)


@given(st.lists(st.floats(1e-4, 1e3)))
def test_where_nothing_was_cut_they_are_the_nearest_ranks(seconds: list[float]) -> None:
    complete = sketch(*seconds)
    assert [each.seconds for each in quantiles(complete, {}, *SHARES)] == plain_quantiles(complete, *SHARES)
    assert not any(each.is_lower_bound for each in quantiles(complete, {}, *SHARES))


def test_with_half_of_them_cut_at_a_timeout_the_median_is_known_and_the_rest_at_least_the_timeout() -> None:
    complete, cut = sketch(*[0.5] * 50), sketch(*[1.0] * 50)
    p50, p90, p99 = quantiles(complete, cut, *SHARES)
    assert (p50.is_lower_bound, p90.is_lower_bound, p99.is_lower_bound) == (False, True, True)
    assert p50.seconds == pytest.approx(0.5, rel=0.02)
    assert p90.seconds == p99.seconds == pytest.approx(1.0, rel=0.02)


def test_of_nothing_there_are_none() -> None:
    assert quantiles({}, {}, *SHARES) == [Quantile(None, False)] * 3
