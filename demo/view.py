"""What the load looks like to a person: one line a second, and two sentences at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .load import Answer
from .users import FLAGGED, User

HEAD = "     s  answers  stable  canary  employees  mirrored  changed arm    p50 ms    p99 ms"


def line(second: float, answers: Sequence[Answer], mirrored: float | None) -> str:
    """One second. `mirrored` is the share that the proxy sent to the shadow."""
    drawn = Counter(answer.backend for answer in answers if answer.kind != "employee")
    employees = [answer for answer in answers if answer.kind == "employee"]
    at_canary = sum(answer.backend == FLAGGED for answer in employees)
    times = Times.of(timed(answers))
    total = drawn.total() or 1
    return (
        f"{second:6g}  {len(answers):7,}  {drawn['stable'] / total:6.1%}  {drawn['canary'] / total:6.1%}"
        f"  {f'{at_canary} of {len(employees)}':>9}  {'-' if mirrored is None else f'{mirrored:.0%}':>8}"
        f"  {sum(answer.strayed for answer in answers):11}  {times.p50_ms:8.1f}  {times.p99_ms:8.1f}"
    )


def arms(users: Sequence[User]) -> str:
    """How the users who were drawn, and not flagged, are spread."""
    met = [user for user in users if user.backend and user.kind != "employee"]
    count = Counter(user.backend for user in met)
    share = count["canary"] / len(met) if met else 0.0
    expected = f"{0.1 * len(met):.0f} expected, give or take {3 * math.sqrt(0.09 * len(met)):.0f}"
    return f"{count['stable']} users belong to stable and {count['canary']} to canary ({share:.1%}; {expected})"


def timed(answers: Sequence[Answer]) -> list[float]:
    """The seconds of predictions; of streams, whose time is their model's pace, only where there is nothing else."""
    whole = [answer for answer in answers if not answer.complaint]
    return [answer.seconds for answer in whole if not answer.streamed] or [answer.seconds for answer in whole]


class Times(NamedTuple):
    """Quantiles of some durations, the last one with the bounds between which it is at 95 %."""

    answers: int
    p50_ms: float
    p99_ms: float
    p99_low_ms: float
    p99_high_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        """By order statistics: the rank of the 99th percentile is binomial, whatever the distribution."""
        if not seconds:
            return cls(0, math.nan, math.nan, math.nan, math.nan)
        ordered = sorted(seconds)
        count = len(ordered)
        spread = 1.96 * math.sqrt(count * 0.99 * 0.01)

        def at(rank: float) -> float:
            return ordered[min(max(math.ceil(rank) - 1, 0), count - 1)] * 1000

        middle = count * 0.99
        return cls(count, at(count / 2), at(middle), at(middle - spread), at(middle + spread))
