"""An interval of a mean that stays valid however often one looks: an asymptotic confidence sequence.

After Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (Annals of Statistics 52, 2024): a mixture of Gaussians as the boundary, with the running variance in it. An
interval of fixed size is wrong in far more than 5 % of the runs of an operator who looks until it says what he hopes.

The two sides are one-sided sequences, each at half the risk, for they may be of different means: where some copies were
cut short the lower one takes them for as slow as seen, the upper one for as slow as the clip allows.

What is covered is the average, over the pairs so far, of what was to be expected of each after those before it (their
proposition 2.5). Where pairs resemble their neighbours that is the weather so far, and not the climate: a shadow with
good and bad hours needs days, and no interval can know.

Early variances are too small where a few pairs in a hundred are far from the others and have not been met yet: an
operator who looks at every pair would then be wrong in 12 % of the runs (1 % of copies 20 times slower). So the
variance is reckoned as if one copy ten times slower and one ten times faster had been seen as well; of 500 pairs it
costs about a tenth of the width at a usual spread (0.3), of 5,000 a hundredth.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Final, NamedTuple

LEVEL: Final = 0.95
LEAST_PAIRS: Final = 100
"""Before so many pairs there is no interval: the theorem speaks of means that are close to normal."""
TIGHT_AT: Final = 500
"""The number of pairs at which the boundary is closest to its best: within 6 % from 150 to 4,000."""
_ALPHA: Final = 1 - LEVEL
_IMAGINED: Final = 2 * log(10) ** 2
_RHO2: Final = (-2 * log(_ALPHA) + log(-2 * log(_ALPHA) + 1)) / TIGHT_AT
METHOD: Final = "asymptotic confidence sequence"


class Interval(NamedTuple):
    """Bounds of a mean."""

    low: float
    high: float


def margin(pairs: int, variance: float) -> float:
    """How far one side of the interval stands from its mean."""
    grown = pairs * _RHO2 + 1
    return sqrt(2 * variance * grown * log(1 + sqrt(grown) / _ALPHA) / _RHO2) / pairs


def interval(pairs: int, low: float, low_squares: float, high: float, high_squares: float) -> Interval | None:
    """From sums of values and of their squares, of the lowest and the highest that the values can be. None: too few."""
    if pairs < LEAST_PAIRS:
        return None
    low_mean, high_mean = low / pairs, high / pairs
    below = margin(pairs, _variance(pairs, low_mean, low_squares))
    above = margin(pairs, _variance(pairs, high_mean, high_squares))
    return Interval(low_mean - below, high_mean + above)


def _variance(pairs: int, mean: float, squares: float) -> float:
    return (max(squares - pairs * mean * mean, 0.0) + _IMAGINED) / (pairs - 1)
