"""The few statistics the bench needs, exact because every sample is kept."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

__all__ = ["Paired", "median", "paired_difference", "paired_ratio", "percentile", "pooled_ratio", "slope"]

RESAMPLES = 4000
POOLED_RESAMPLES = 1000
BUCKET = 0.005  # of a value: so exact is the interval of a pooled ratio


class Paired(NamedTuple):
    """How many times larger, or by how much, and between which two values with 95 % confidence."""

    estimate: float
    low: float
    high: float


def paired_ratio(values: Sequence[float], others: Sequence[float], seed: int = 0) -> Paired:
    """The median over pairs of value / other, with a bootstrap interval: whole pairs are drawn again, with replacement.

    Pairs are windows that stood next to each other, so that what disturbed both cancels out. Raises ValueError without
    pairs or when there are not as many of one as of the other.
    """
    return _median([value / other for value, other in zip(values, others, strict=True)], seed)


def paired_difference(values: Sequence[float], others: Sequence[float], seed: int = 0) -> Paired:
    """The median over pairs of value - other, else as `paired_ratio`."""
    return _median([value - other for value, other in zip(values, others, strict=True)], seed)


def pooled_ratio(
    blocks: Sequence[Sequence[float]], others: Sequence[Sequence[float]], percent: float, seed: int = 0
) -> Paired:
    """The percentile of all samples / that of all of the others, with a bootstrap interval: whole pairs of blocks are
    drawn again, with replacement.

    For a tail that comes in bursts, of which a short block holds some or none. Samples are positive. Raises ValueError
    without samples or when there are not as many blocks of one as of the others.
    """
    pairs = list(zip(map(_counted, blocks), map(_counted, others), strict=True))
    estimate = percentile(_joined(blocks), percent) / percentile(_joined(others), percent)
    draw = random.Random(seed)
    found = []
    for _ in range(POOLED_RESAMPLES):
        drawn = draw.choices(pairs, k=len(pairs))
        ours, theirs = (_counted_percentile([pair[side] for pair in drawn], percent) for side in (0, 1))
        found.append(math.exp(BUCKET * (ours - theirs)))
    return Paired(estimate, percentile(found, 2.5), percentile(found, 97.5))


def _joined(blocks: Sequence[Sequence[float]]) -> list[float]:
    return [value for block in blocks for value in block]


def _counted(block: Sequence[float]) -> Counter[int]:
    return Counter(round(math.log(value) / BUCKET) for value in block)


def _counted_percentile(blocks: Sequence[Counter[int]], percent: float) -> int:
    counts: Counter[int] = Counter()
    for block in blocks:
        counts.update(block)
    left = math.ceil(percent * counts.total() / 100)
    for bucket in sorted(counts):
        left -= counts[bucket]
        if left <= 0:
            return bucket
    raise ValueError("a percentile of no samples")


def _median(found: Sequence[float], seed: int) -> Paired:
    if not found:
        raise ValueError("nothing is known of no pairs")
    draw = random.Random(seed)
    medians = [median(draw.choices(found, k=len(found))) for _ in range(RESAMPLES)]
    return Paired(median(found), percentile(medians, 2.5), percentile(medians, 97.5))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least `percent` per cent of all samples do not exceed.

    Never interpolates, so it is always a value that really happened. Raises ValueError without samples or when
    `percent` is not in (0, 100].
    """
    if not values:
        raise ValueError("a percentile of no samples")
    if not 0 < percent <= 100:
        raise ValueError(f"percent is {percent}; allowed is more than 0 and at most 100")
    return sorted(values)[math.ceil(percent * len(values) / 100) - 1]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How fast y rises with x, by least squares; 0 for a single point or several of one x."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
