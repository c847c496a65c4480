"""Latency histograms with a bounded relative error: logarithmic buckets, as in DDSketch (Masson, Rim, Lee, VLDB 2019).

A sketch is a plain list of `SIZE` counts, so that it can be sent, added and compared without a type of its own. A
bucket is `GAMMA` times as wide as the one before: a quantile is off by 1.5 % at most, from 0.1 ms to an hour. Merging
two sketches is adding their counts, which loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import exp, log

GAMMA = 1.03
SHIFT_S = 1e-6  # added before the logarithm, so that zero has a bucket; taken off again when a bucket is read
SCALE = 1 / log(GAMMA)
OFFSET = -log(SHIFT_S) * SCALE + 1e-9
SIZE = int(log(3600.0) * SCALE + OFFSET) + 1


def empty() -> list[int]:
    """A sketch that has seen nothing."""
    return [0] * SIZE


def insert(sketch: list[int], seconds: float) -> None:
    """Count one duration. Past an hour it counts as an hour. `CallStats.record` inlines this."""
    index = int(log(seconds + SHIFT_S) * SCALE + OFFSET)
    sketch[index if index < SIZE else -1] += 1


def add(sketch: list[int], other: Sequence[int]) -> None:
    """Add another sketch's counts to this one."""
    sketch[:] = map(int.__add__, sketch, other)


def subtract(sketch: Sequence[int], earlier: Sequence[int]) -> list[int]:
    """What was counted since `earlier`, a former state of the same sketch."""
    return list(map(int.__sub__, sketch, earlier))


def quantile(sketch: Sequence[int], q: float) -> float | None:
    """The duration in seconds below which a share `q` (0..1) of the counted ones lies; None when there is none."""
    total = sum(sketch)
    if not total:
        return None
    rank = q * (total - 1)
    seen = 0
    for index, count in enumerate(sketch):
        seen += count
        if count and seen > rank:
            return _middle(index)
    raise AssertionError("a rank below the total is always reached")


def cumulative(sketch: Sequence[int], bounds_s: Iterable[float]) -> list[int]:
    """How many durations were at most each bound, exact but for the one bucket that holds the bound (3 % of it)."""
    sums = list(accumulate(sketch))
    return [sums[min(int(log(bound + SHIFT_S) * SCALE + OFFSET), SIZE - 1)] for bound in bounds_s]


def _middle(index: int) -> float:
    """The value whose relative distance to both borders of a bucket is the same."""
    low = exp((index - OFFSET) / SCALE)
    return max(low * 2 * GAMMA / (1 + GAMMA) - SHIFT_S, 0.0)
