"""`/compare`: what is known of live against shadow, as a person or a script reads it.

Milliseconds; unknown is null, never 0. Everything is of the epoch, not of the last minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Final

import msgspec

from ..telemetry.sketch import quantiles as plain_quantiles
from .interval import LEAST_PAIRS, LEVEL, METHOD, interval
from .quantiles import Quantile, quantiles
from .state import State, state_of
from .sums import MOST_RATIO, SIDE, Series, Sums
from .verdict import State as VerdictState
from .verdict import verdict

SCHEMA: Final = "understudy.compare/1"


class Epoch(msgspec.Struct):
    """Since when pairs are added to the same sums."""

    id: int | None  # counts from 1 in every instance; null: several were merged
    since: str
    why: str  # start, configuration, version, reset; merged


class Side(msgspec.Struct, frozen=True):
    """A backend at a version."""

    backend: str
    version: str

    def __str__(self) -> str:
        return f"{self.backend}@{self.version}" if self.version else self.backend


class Counts(msgspec.Struct):
    """Of the selected copies.

    `selected` = `sent` + all of `dropped`; `sent` = `complete` + `censored` + all of `failed`; `complete` + `censored`
    = `compared` + `tainted` + `live_failed` + `other_class`.
    """

    exchanges: int | None  # that this live backend ended on this route
    selected: int
    sent: int
    complete: int
    censored: int  # cut short: at least that slow
    tainted: int  # left out: the live answer was held back by its client
    dropped: dict[str, int]  # reason: never sent
    failed: dict[str, int]  # reason: sent, but no whole answer, and not because it was slow
    live_failed: int  # left out: the live answer was not whole
    other_class: int  # left out: the statuses are of different classes
    compared: int  # what ratio and quantiles are of


class LiveMs(msgspec.Struct):
    """Quantiles of the live calls that were compared."""

    p50: float | None
    p90: float | None
    p99: float | None


class ShadowMs(msgspec.Struct):
    """Quantiles of the copies that were compared, with those cut short reckoned as such (Kaplan and Meier)."""

    p50: float | None
    p90: float | None
    p99: float | None
    p50_is_lower_bound: bool
    p90_is_lower_bound: bool
    p99_is_lower_bound: bool


class Ratio(msgspec.Struct):
    """The geometric mean of shadow / live over the pairs, and an interval that covers it however often one looks."""

    estimate: float | None
    low: float | None  # null: too few pairs
    high: float | None
    level: float
    method: str
    estimate_is_lower_bound: bool  # some copies were cut short, and count as no slower than they were then
    pairs: int
    censored: int
    least_pairs: int  # no interval before so many
    clip: float  # a single ratio counts as at most this, and at least one over it


class Measure(msgspec.Struct):
    """One duration of both calls."""

    live: LiveMs
    shadow: ShadowMs
    ratio: Ratio


class Latency(msgspec.Struct):
    """What is measured of an exchange; null: nothing was. Tokens are those of server-sent events."""

    total: Measure
    first_byte: Measure
    time_to_first_token: Measure | None = None  # to the first event with content
    time_per_output_chunk: Measure | None = None  # mean time between two of them
    longest_gap: Measure | None = None  # within an answer's body


class Statuses(msgspec.Struct):
    """Of copies that were answered or failed by the shadow's fault (0): live's status against the shadow's."""

    agree: float | None  # share
    matrix: dict[str, dict[str, int]]  # live status: shadow status: pairs


class Verdict(msgspec.Struct):
    """By the interval of the total time alone."""

    state: VerdictState
    tolerance: float  # 0.05: within 5 % is the same


class Comparison(msgspec.Struct):
    """One live backend and one shadow on one route."""

    route: str
    live: Side
    shadow: Side
    calibration: bool
    counts: Counts
    latency_ms: Latency
    status: Statuses
    verdict: Verdict
    state: State | msgspec.UnsetType = msgspec.UNSET


class ArmLatency(msgspec.Struct):
    """Of the live calls of an arm."""

    total: LiveMs
    first_byte: LiveMs


class ArmState(msgspec.Struct):
    """The sketches of an arm's latencies, to be added up over replicas."""

    total: dict[int, int]
    first_byte: dict[int, int]


class Arm(msgspec.Struct):
    """One arm of a split."""

    route: str
    experiment: str
    arm: str
    backend: str
    version: str
    want: float | None  # its weight's share, 0..1; null: the merged instances want different ones
    got: float | None  # its share of the requests for which the split drew
    requests: int
    errors: int  # 5xx
    latency_ms: ArmLatency
    state: ArmState | msgspec.UnsetType = msgspec.UNSET


class ConfigName(msgspec.Struct):
    """Which configuration runs."""

    hash: str
    version: int


class Compare(msgspec.Struct):
    """The whole document."""

    schema: str
    instance: str
    generated: str
    epoch: Epoch | None
    pairs: list[Comparison]
    arms: list[Arm]
    run: str = ""  # drawn when the program started: tells two programs of one machine apart
    config: ConfigName | None = None
    late: int = 0  # pairs of a former epoch, not in any comparison
    refused: int = 0  # pairs of comparisons beyond the bound, likewise
    lost: int = 0  # records that workers could not hand over since the start, pairs among them
    instances: int = 1


def comparison_of(
    key: tuple[str, str, str, str, str], sums: Sums, exchanges: int | None, tolerance: float, *, with_state: bool = True
) -> Comparison:
    """What the sums say. The state is a copy."""
    route, live, live_version, shadow, shadow_version = key
    total = measure_of(sums.total)
    return Comparison(
        route=route,
        live=Side(live, live_version),
        shadow=Side(shadow, shadow_version),
        calibration=sums.calibration,
        counts=_counts(sums, exchanges),
        latency_ms=Latency(
            total,
            measure_of(sums.first_byte),
            _measured(sums.first_token),
            _measured(sums.per_chunk),
            _measured(sums.gap),
        ),
        status=_statuses(sums.statuses),
        verdict=Verdict(verdict(total.ratio.low, total.ratio.high, tolerance), tolerance),
        state=state_of(sums) if with_state else msgspec.UNSET,
    )


def measure_of(series: Series) -> Measure:
    """Quantiles of both sides, and the ratio."""
    shadow = quantiles(series.shadow, series.cut, 0.5, 0.9, 0.99)
    return Measure(live_ms(series.live), _shadow_ms(*shadow), _ratio(series))


def _measured(series: Series) -> Measure | None:
    return measure_of(series) if series.pairs else None


def live_ms(sketch: Mapping[int, int]) -> LiveMs:
    """Of durations none of which was cut."""
    return LiveMs(*(_ms(seconds) for seconds in plain_quantiles(sketch, 0.5, 0.9, 0.99)))


def _shadow_ms(p50: Quantile, p90: Quantile, p99: Quantile) -> ShadowMs:
    bounds = p50.is_lower_bound, p90.is_lower_bound, p99.is_lower_bound
    return ShadowMs(_ms(p50.seconds), _ms(p90.seconds), _ms(p99.seconds), *bounds)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _ratio(series: Series) -> Ratio:
    found = interval(series.pairs, series.low, series.low_squares, series.high, series.high_squares)
    return Ratio(
        estimate=_times(series.low / series.pairs) if series.pairs else None,
        low=_times(found.low) if found else None,
        high=_times(found.high) if found else None,
        level=LEVEL,
        method=METHOD,
        estimate_is_lower_bound=series.censored > 0,
        pairs=series.pairs,
        censored=series.censored,
        least_pairs=LEAST_PAIRS,
        clip=MOST_RATIO,
    )


def _times(logarithm: float) -> float:
    """Six digits after the point; never beyond what the clip allows."""
    return round(min(max(exp(logarithm), 1 / MOST_RATIO), MOST_RATIO), 6)


def _counts(sums: Sums, exchanges: int | None) -> Counts:
    return Counts(
        exchanges=None if exchanges is None else max(exchanges, sums.selected),
        selected=sums.selected,
        sent=sums.sent,
        complete=sums.complete,
        censored=sums.censored,
        tainted=sums.tainted,
        dropped=dict(sorted(sums.dropped.items())),
        failed=dict(sorted(sums.failed.items())),
        live_failed=sums.live_failed,
        other_class=sums.other_class,
        compared=sums.total.pairs,
    )


def _statuses(statuses: Mapping[int, int]) -> Statuses:
    matrix: dict[str, dict[str, int]] = {}
    agree = 0
    for both, count in sorted(statuses.items()):
        live, shadow = divmod(both, SIDE)
        agree += count if live == shadow else 0
        matrix.setdefault(_status(live, live), {})[_status(shadow, live)] = count
    total = sum(statuses.values())
    return Statuses(round(agree / total, 6) if total else None, matrix)


def _status(status: int, live: int) -> str:
    """A class where the pair was counted by classes: its live side is one digit."""
    return f"{status}xx" if live < 10 and status else str(status)
