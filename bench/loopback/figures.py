"""The few statistics the bench needs, exact because every sample is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

__all__ = ["median", "percentile"]


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
