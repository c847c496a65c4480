"""The interval, looked at after every pair, covers the truth in 95 % of the runs; one of fixed size does not.

A few short runs by default, with slack for chance. `LENGTH=full` plays so many that none is needed, and writes
bench/results/coverage.json. Runs are seeded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from math import log, sqrt
from pathlib import Path
from typing import NamedTuple

import pytest
from understudy.proxy.comparison.interval import LEAST_PAIRS, LEVEL, Interval, interval
from understudy.proxy.comparison.sums import Series

from tests.kit.pairs import HICCUP, Took, durations

FULL = os.environ.get("LENGTH") == "full"
RUNS = 2000 if FULL else 200
LOOKS = 5000 if FULL else 1000
LEAST = LEVEL if FULL else LEVEL - 2 * sqrt(LEVEL * (1 - LEVEL) / RUNS)  # two standard errors of so few runs
ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "bench" / "results" / "coverage.json"
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

    def pairs(self, seed: int, count: int) -> Iterator[Took]:
        """One run."""
        return durations(seed, count, **self._asdict())


DELAYS = {
    "none": Delay(1.0),
    "5 % slower": Delay(1.05),
    "20 % slower": Delay(1.2),
    "one copy in a hundred 20 times slower": Delay(1.0, hiccups=0.01),
    "so slow that half the copies are cut": Delay(2.0, timeout_ms=24.0),
}
TEXTBOOK = "none, with an interval of fixed size"


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
        series = Series()
        wrong = False
        for took in delay.pairs(seed, LOOKS):
            series.add(took.live_ms, took.shadow_ms, took.cut)
            found = looked(series)
            wrong = found is not None and not found.low <= truth <= found.high
            if wrong:
                break
        covered += not wrong
    return covered / RUNS


@pytest.fixture(scope="module")
def shares() -> Iterator[dict[str, float]]:
    """The share of the runs that were covered, by what was injected; written to the results of a full run."""
    found: dict[str, float] = {}
    yield found
    if FULL and found.keys() == {*DELAYS, TEXTBOOK}:
        document = {
            "what": "share of the seeded runs in which the interval covered the injected delay at every look",
            "level": LEVEL,
            "runs": RUNS,
            "looks": f"after every pair from {LEAST_PAIRS} to {LOOKS}",
            "covered": found,
        }
        RESULTS.write_text(json.dumps(document, indent=2) + "\n")


@pytest.mark.timeout(3600 if FULL else 60)
@pytest.mark.parametrize("name", DELAYS)
def test_the_interval_covers_the_truth_however_often_one_looks(shares: dict[str, float], name: str) -> None:
    shares[name] = coverage(DELAYS[name], at_every_look)
    print(f"{name}: {shares[name]:.4f} of {RUNS} runs of {LOOKS} looks")
    assert shares[name] >= LEAST


def test_half_of_the_copies_are_cut_where_that_is_meant() -> None:
    delay = DELAYS["so slow that half the copies are cut"]
    assert 0.45 < sum(took.cut for took in delay.pairs(1, 2000)) / 2000 < 0.55


@pytest.mark.timeout(3600 if FULL else 60)
def test_an_interval_of_fixed_size_is_wrong_at_some_look_of_many_runs(shares: dict[str, float]) -> None:
    shares[TEXTBOOK] = coverage(DELAYS["none"], of_fixed_size)
    print(f"{TEXTBOOK}: {shares[TEXTBOOK]:.4f} of {RUNS} runs of {LOOKS} looks")
    assert shares[TEXTBOOK] < min(LEAST, 0.8)


def test_the_page_tells_the_figures_of_the_last_full_run() -> None:
    page = (ROOT / "docs" / "comparison.md").read_text()
    covered = json.loads(RESULTS.read_text())["covered"]
    assert covered.keys() == {*DELAYS, TEXTBOOK}
    for name, share in covered.items():
        assert f"| {name} | {share * 100:.2f} % |" in page
    assert min(covered[name] for name in DELAYS) >= LEVEL
