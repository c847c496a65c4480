"""Latency histograms with a bounded relative error: logarithmic buckets, as in DDSketch (Masson, Rim, Lee, VLDB 2019).

A sketch is a plain dict of counts by bucket, so that it can be sent, added and compared without a type of its own: a
few entries for a call that was used a little, at most `SIZE` for any. A bucket is `GAMMA` times as wide as the one
before: a quantile is off by 1.5 % at most, from 0.1 ms on. Adding the counts of two sketches merges them without loss.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import exp, log
from typing import Final, TypeAlias, TypeVar

GAMMA: Final = 1.03
SHIFT_S: Final = 1e-6  # added before the logarithm, so that zero has a bucket; taken off again when a bucket is read
SCALE: Final = 1 / log(GAMMA)
OFFSET: Final = -log(SHIFT_S) * SCALE + 1e-9
SIZE = int(log(31_536_000) * SCALE + OFFSET) + 1  # no call lasts a year: so many buckets a sketch has at most

Sketch: TypeAlias = dict[int, int]
Key = TypeVar("Key")


def insert(sketch: Sketch, seconds: float) -> None:
    """Count one duration."""
    index = int(log(seconds + SHIFT_S) * SCALE + OFFSET)
    sketch[index] = sketch.get(index, 0) + 1


def add(counted: dict[Key, int], others: Mapping[Key, int]) -> None:
    """Add the counts of another sketch, or of any dict, to this one."""
    if not counted:
        counted.update(others)
        return
    for key, count in others.items():
        counted[key] = counted.get(key, 0) + count


def subtract(sketch: Mapping[int, int], earlier: Mapping[int, int]) -> Sketch:
    """What was counted since `earlier`, a former state of the same sketch."""
    if not earlier:
        return dict(sketch)
    return {index: count - before for index, count in sketch.items() if count != (before := earlier.get(index, 0))}


def quantiles(sketch: Mapping[int, int], *shares: float) -> list[float | None]:
    """The durations in seconds that these shares (0..1, rising) of the counted ones do not exceed (nearest rank); None
    for no data."""
    return [None if index < 0 else middle(index) for index in _buckets(sketch, shares)]


def bound(sketch: Mapping[int, int], share: float) -> float | None:
    """Like a quantile, but the end of its bucket: what is longer is in a bucket above, and what is as long as what the
    quantile was made of is not longer, however little all of it spreads."""
    [index] = _buckets(sketch, (share,))
    return None if index < 0 else _end(index)


def between(bounds_s: Sequence[float]) -> list[int]:
    """For `counts`: how many of the rising bounds are in buckets below each bucket; one more stands for above all."""
    edges = [int(log(bound_s + SHIFT_S) * SCALE + OFFSET) for bound_s in bounds_s]
    return [bisect_left(edges, index) for index in range(SIZE)] + [len(edges)]


def counts(sketch: Mapping[int, int], places: Sequence[int]) -> list[int]:
    """How many durations were between each two of the bounds of `between`, the upper one included, and last how many
    were above all; exact but for the buckets that hold the bounds."""
    found = [0] * (places[-1] + 1)
    for index, count in sketch.items():
        found[places[index]] += count
    return found


def middle(index: int) -> float:
    """The value whose relative distance to both borders of a bucket is the same."""
    low = exp((index - OFFSET) / SCALE)
    return max(low * 2 * GAMMA / (1 + GAMMA) - SHIFT_S, 0.0)


def _end(index: int) -> float:
    return exp((index + 1 - OFFSET) / SCALE) - SHIFT_S


def _buckets(sketch: Mapping[int, int], shares: Sequence[float]) -> list[int]:
    """Where the quantiles are; -1 for no data."""
    order = sorted(sketch)
    upto = list(accumulate([sketch[index] for index in order]))
    if not upto or not upto[-1]:
        return [-1] * len(shares)
    return [order[bisect_left(upto, share * upto[-1])] for share in shares]
