"""The interval, looked at after every pair, covers the truth in 95 % of the runs; one of fixed size does not.

`LENGTH=full` plays as many runs as tell 95 % from 94 % and prints the shares. Runs are seeded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from math import log, sqrt
from typing import NamedTuple

import pytest
from understudy.proxy.comparison.interval import LEAST_PAIRS, LEVEL, Interval, interval
from understudy.proxy.comparison.sums import Series, Sums
from understudy.proxy.telemetry.records import Pair

from tests.kit.pairs import HICCUP, rehearsal, told

FULL = os.environ.get("LENGTH") == "full"
RUNS = 2000 if FULL else 200
LOOKS = 5000 if FULL else 1000
LUCK = 2.0  # standard errors by which a share of so many runs may fall short of the level by chance
NORMAL_95 = 1.959964


class Delay(NamedTuple):
    """An injected one."""

    slower: float
    hiccups: float = 0.0
    timeout_ms: float | None = None

    @property
    def truth(self) -> float:
        """The mean of ln(shadow / live) of copies that nothing cuts."""
        return log(self.slower) + self.hiccups * log(HICCUP)

    def pairs(self, seed: int, count: int) -> Iterator[Pair]:
        """One run."""
        return rehearsal(seed, count, **self._asdict())


DELAYS = {
    "none": Delay(1.0),
    "5 % slower": Delay(1.05),
    "20 % slower": Delay(1.2),
    "slow once in a hundred times": Delay(1.0, hiccups=0.01),
    "so slow that half its copies are cut": Delay(2.0, timeout_ms=24.0),
}


def of_fixed_size(series: Series) -> Interval | None:
    """What a textbook gives for a number of pairs that was fixed beforehand."""
    pairs = series.pairs
    if pairs < LEAST_PAIRS:
        return None
    mean = series.low / pairs
    margin = NORMAL_95 * sqrt((series.low_squares / pairs - mean * mean) / (pairs - 1))
    return Interval(mean - margin, mean + margin)


def at_every_look(series: Series) -> Interval | None:
    """Ours."""
    return interval(series.pairs, series.low, series.low_squares, series.high, series.high_squares)


def coverage(delay: Delay, looked: Callable[[Series], Interval | None]) -> float:
    """The share of runs in which no look was wrong, from the first interval on."""
    truth = delay.truth
    covered = 0
    for seed in range(RUNS):
        sums = Sums()
        wrong = False
        for pair in delay.pairs(seed, LOOKS):
            sums.add(*told([pair]))
            found = looked(sums.total)
            wrong = found is not None and not found.low <= truth <= found.high
            if wrong:
                break
        covered += not wrong
    return covered / RUNS


@pytest.mark.timeout(3600 if FULL else 60)
@pytest.mark.parametrize("name", DELAYS)
def test_the_interval_covers_the_truth_however_often_one_looks(name: str) -> None:
    share = coverage(DELAYS[name], at_every_look)
    print(f"{name}: {share:.4f} of {RUNS} runs of {LOOKS} looks")
    assert share >= LEVEL - LUCK * sqrt(LEVEL * (1 - LEVEL) / RUNS)


def test_half_of_the_copies_are_cut_where_that_is_meant() -> None:
    delay = DELAYS["so slow that half its copies are cut"]
    sums = Sums()
    for each in told(delay.pairs(1, 2000)):
        sums.add(each)
    assert 0.45 < sums.censored / sums.selected < 0.55


@pytest.mark.timeout(3600 if FULL else 60)
def test_an_interval_of_fixed_size_is_wrong_at_some_look_of_many_runs() -> None:
    share = coverage(DELAYS["none"], of_fixed_size)
    print(f"fixed size: {share:.4f} of {RUNS} runs of {LOOKS} looks")
    assert share < LEVEL - LUCK * sqrt(LEVEL * (1 - LEVEL) / RUNS)
    assert share < 0.8
