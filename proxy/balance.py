"""Which target of a backend takes the next call. Pure: the random numbers and the time are handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Load(Protocol):
    """What a choice looks at."""

    in_flight: int


T = TypeVar("T", bound=Load)


def least_request(targets: Sequence[T], below: Callable[[int], int]) -> T:
    """The less loaded of two targets drawn at random (Mitzenmacher, "The Power of Two Choices", 2001).

    `below(n)` draws an integer in [0, n). `targets` must not be empty.
    """
    count = len(targets)
    if count == 1:
        return targets[0]
    first = below(count)
    second = below(count - 1)
    if second >= first:
        second += 1
    one, other = targets[first], targets[second]
    return one if one.in_flight <= other.in_flight else other


def round_robin(targets: Sequence[T], turn: int) -> T:
    """The target whose turn it is. `targets` must not be empty."""
    return targets[turn % len(targets)]


def without(targets: Sequence[T], tried: Sequence[T]) -> Sequence[T]:
    """The targets not tried yet."""
    return [target for target in targets if not any(target is each for each in tried)] if tried else targets
