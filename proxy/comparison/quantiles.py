"""Quantiles where some durations were cut short: the estimate of Kaplan and Meier over the buckets of sketches.

"Nonparametric estimation from incomplete observations", JASA 53, 1958. It takes a copy that was cut for one that would
have gone on as the others that lasted so long did, which holds for a timeout, the same for all. A copy that was cut
because it was the slow one would have lasted longer: then these quantiles are too low, never too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..telemetry.sketch import middle


class Quantile(NamedTuple):
    """Seconds; None for no data."""

    seconds: float | None
    is_lower_bound: bool  # so many were cut before that nobody can say more than that it is at least this


def quantiles(complete: Mapping[int, int], cut: Mapping[int, int], *shares: float) -> list[Quantile]:
    """The durations that these shares (0..1, rising) do not exceed, by nearest rank where nothing was cut."""
    at_risk = sum(complete.values()) + sum(cut.values())
    if not at_risk:
        return [Quantile(None, False)] * len(shares)
    found: list[Quantile] = []
    surviving, ended, any_cut = 1.0, 0, False
    total = at_risk
    last = 0
    for last in sorted(complete.keys() | cut.keys()):
        ending = complete.get(last, 0)
        ended += ending
        surviving *= 1 - ending / at_risk
        at_risk -= ending + cut.get(last, 0)
        while len(found) < len(shares) and ending and _reached(shares[len(found)], any_cut, surviving, ended, total):
            found.append(Quantile(middle(last), False))
        any_cut = any_cut or last in cut
    return found + [Quantile(middle(last), True)] * (len(shares) - len(found))


def _reached(share: float, any_cut: bool, surviving: float, ended: int, total: int) -> bool:
    """Counts are exact while nothing was cut; a product of fractions is not."""
    return ended >= share * total if not any_cut else 1 - surviving >= share - 1e-12
