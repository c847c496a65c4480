"""What an interval says about a shadow, by a tolerance.

The interval covers the truth at every look with its level, and the verdict is a statement about the whole interval
alone: so the chance that it is ever wrong, over all the looks of an epoch, is that of the interval.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

State: TypeAlias = Literal["slower", "faster", "same", "undecided"]


def verdict(low: float | None, high: float | None, tolerance: float) -> State:
    """Of an interval of shadow / live, None for unknown; tolerance 0.05: within 5 % counts as the same.

    slower: surely by more than the tolerance; faster: likewise; same: surely within it; undecided: all else.
    """
    if low is None or high is None:
        return "undecided"
    if low > 1 + tolerance:
        return "slower"
    if high < 1 / (1 + tolerance):
        return "faster"
    if low >= 1 / (1 + tolerance) and high <= 1 + tolerance:
        return "same"
    return "undecided"
