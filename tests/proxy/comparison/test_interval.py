"""The interval, the verdict and the words for them, by numbers that can be reckoned by hand."""

from __future__ import annotations

import re
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.comparison.interval import LEAST_PAIRS, interval, margin
from understudy.proxy.comparison.sums import Sums
from understudy.proxy.comparison.verdict import verdict
from understudy.proxy.comparison.view import Comparison, comparison_of
from understudy.proxy.comparison.words import words
from understudy.proxy.telemetry.records import Pair

from tests.kit.pairs import pair, rehearsal, told

KEY = ("iris", "stable", "7", "next", "9")


def compared(*pairs: Pair, tolerance: float = 0.05) -> Comparison:
    sums = Sums()
    for each in told(pairs):
        sums.add(each)
    return comparison_of(KEY, sums, None, tolerance)


def test_the_boundary_is_that_of_the_paper() -> None:
    # sqrt(2 (t rho^2 + 1) / (t^2 rho^2) ln(1 + sqrt(t rho^2 + 1) / 0.05)) with rho^2 = 0.015872: half the risk a side
    assert margin(100, 1.0) == pytest.approx(0.3375, abs=2e-3)
    assert margin(1000, 1.0) == pytest.approx(0.0968, abs=5e-4)
    assert margin(1000, 4.0) == pytest.approx(2 * margin(1000, 1.0))


def test_before_enough_pairs_there_is_no_interval_and_the_document_says_so() -> None:
    few = list(rehearsal(1, LEAST_PAIRS - 1))
    ratio = compared(*few).latency_ms.total.ratio
    assert (ratio.low, ratio.high, ratio.pairs, ratio.least_pairs) == (None, None, LEAST_PAIRS - 1, LEAST_PAIRS)
    assert ratio.estimate is not None
    ratio = compared(*few, pair()).latency_ms.total.ratio
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < ratio.estimate < ratio.high


def test_of_no_pairs_nothing_is_known() -> None:
    nothing = compared()
    assert nothing.latency_ms.total.ratio.estimate is None
    assert nothing.latency_ms.total.shadow.p99 is None
    assert nothing.status.agree is None
    assert nothing.verdict.state == "undecided"


@given(st.integers(LEAST_PAIRS, 10**7), st.floats(0, 20))
def test_more_pairs_never_widen_and_no_interval_has_no_width(pairs: int, spread: float) -> None:
    found = interval(pairs, 0.0, spread * pairs, 0.0, spread * pairs)
    later = interval(pairs + 1, 0.0, spread * (pairs + 1), 0.0, spread * (pairs + 1))
    assert found is not None
    assert later is not None
    assert found.low < later.low < 0 < later.high < found.high


def test_a_few_copies_cut_widen_little_and_many_widen_much() -> None:
    def width(timeout_ms: float) -> tuple[float, float]:
        ratio = compared(*rehearsal(3, 4000, slower=1.3, timeout_ms=timeout_ms)).latency_ms.total.ratio
        assert ratio.high is not None
        assert ratio.low is not None
        assert ratio.low <= 1.3 <= ratio.high
        return ratio.censored / ratio.pairs, log(ratio.high / ratio.low)

    none, few, many = width(1e9), width(70.0), width(15.0)
    assert (none[0], 0 < few[0] < 0.01, many[0] > 0.4) == (0, True, True)
    assert few[1] < 2 * none[1]
    assert many[1] > 10 * none[1]


def test_the_estimate_says_when_it_is_a_lower_bound() -> None:
    assert not compared(*rehearsal(1, 200)).latency_ms.total.ratio.estimate_is_lower_bound
    assert compared(*rehearsal(1, 200, timeout_ms=15.0)).latency_ms.total.ratio.estimate_is_lower_bound


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.06, 1.2, "slower"), (1.05, 1.2, "undecided"), (1.01, 1.04, "same"), (0.96, 1.04, "same"),
        (0.94, 1.04, "undecided"), (0.7, 0.95, "faster"), (0.7, 0.96, "undecided"), (0.5, 2.0, "undecided"),
        (None, None, "undecided"),
    ],
)  # fmt: skip
def test_a_verdict_is_a_statement_about_the_whole_interval(
    low: float | None, high: float | None, expected: str
) -> None:
    assert verdict(low, high, 0.05) == expected


@given(st.floats(0.01, 100), st.floats(1, 3), st.floats(0, 1))
def test_a_shadow_as_much_faster_as_another_is_slower_is_judged_alike(
    low: float, wide: float, tolerance: float
) -> None:
    mirrored = {"slower": "faster", "faster": "slower"}
    high = low * wide
    for bound in (1 + tolerance, 1 / (1 + tolerance)):  # on the very edge, rounding decides
        if min(abs(log(low / bound)), abs(log(high / bound))) < 1e-9:
            return
    state = verdict(low, high, tolerance)
    assert verdict(1 / high, 1 / low, tolerance) == mirrored.get(state, state)


@pytest.mark.parametrize(
    ("slower", "count", "said"),
    [
        (1.3, 20_000, r"slower by (2\d|3\d)\N{EN DASH}(3\d) %"),
        (0.7, 20_000, r"faster by 2\d\N{EN DASH}3\d %"),
        (1.0, 20_000, r"the same: between \d\.\d % faster and \d\.\d % slower, tolerance 5 %"),
        (1.0, 200, r"undecided: between \S+ % faster and \S+ % slower, tolerance 5 %"),
        (1.03, 40_000, r"the same: slower by \d\.\d\N{EN DASH}\d\.\d %, tolerance 5 %"),
        (8.0, 2000, r"slower, \d\.\d to \d\.\d times"),
        (1.0, 42, r"undecided: 42 of at least 100 pairs"),
    ],
)
def test_the_verdict_in_words(slower: float, count: int, said: str) -> None:
    text = words(compared(*rehearsal(5, count, slower=slower)))
    assert re.fullmatch(said, text), text


def test_a_shadow_that_is_always_cut_is_slower_by_an_unknown_amount() -> None:
    always = [pair(live_total_ms=10.0 * exp(number % 7 / 10), shadow_total_ms=100.0, censored=True,
                   shadow_outcome="shadow_timeout") for number in range(500)]  # fmt: skip
    assert words(compared(*always)).startswith("slower, ")
    assert words(compared(*always)).endswith(" times at least")
