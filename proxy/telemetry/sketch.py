"""Latency histograms with a bounded relative error: logarithmic buckets, as in DDSketch (Masson, Rim, Lee, VLDB 2019).

A sketch is a plain dict of counts by bucket, so that it can be sent, added and compared without a type of its own: a
few entries for a call that was used a little, at most `SIZE` for any. A bucket is `GAMMA` times as wide as the one
before: a quantile is off by 1.5 % at most, from 0.1 ms on. Adding the counts of two sketches merges them without loss.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
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
    for key, count in others.items():
        counted[key] = counted.get(key, 0) + count


def subtract(sketch: Mapping[int, int], earlier: Mapping[int, int]) -> Sketch:
    """What was counted since `earlier`, a former state of the same sketch."""
    return {index: count - before for index, count in sketch.items() if count != (before := earlier.get(index, 0))}


def quantiles(sketch: Mapping[int, int], *shares: float) -> list[float | None]:
    """The durations in seconds that these shares (0..1, rising) of the counted ones do not exceed (nearest rank); None
    for no data."""
    total = sum(sketch.values())
    if not total:
        return [None] * len(shares)
    found: list[float | None] = []
    seen = 0
    for index in sorted(sketch):
        seen += sketch[index]
        while len(found) < len(shares) and seen >= shares[len(found)] * total:
            found.append(middle(index))
    return found


def edges(bounds_s: Iterable[float]) -> tuple[int, ...]:
    """The bucket that holds each of these durations, for `counts`."""
    return tuple(int(log(bound_s + SHIFT_S) * SCALE + OFFSET) for bound_s in bounds_s)


def counts(sketch: Mapping[int, int], bounds: Sequence[int]) -> list[int]:
    """How many durations were between each two of the rising bounds of `edges`, the upper one included, and last how
    many were above all; exact but for the buckets that hold the bounds."""
    found = [0] * (len(bounds) + 1)
    for index, count in sketch.items():
        found[bisect_left(bounds, index)] += count
    return found


def middle(index: int) -> float:
    """The value whose relative distance to both borders of a bucket is the same."""
    low = exp((index - OFFSET) / SCALE)
    return max(low * 2 * GAMMA / (1 + GAMMA) - SHIFT_S, 0.0)
