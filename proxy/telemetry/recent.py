"""What happened lately, seen from cumulative sums: requests per second, and latencies of the last minute."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from ..giving_way import Pieces
from .sketch import Sketch, quantiles, subtract
from .stats import CallKey, CallStats
from .totals import Totals, by_backend, summed

RATE_TICKS = 10
WINDOW_TICKS = 30  # latencies are those of the last 30 to 60 ticks


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles in milliseconds; None when nothing ended in the window."""

    p50: float | None
    p90: float | None
    p99: float | None


class Recent:
    """Of each backend version, all its arms together: their keys have none.

    Mutable state: request counts of the last 10 ticks, and the sums of one and two windows ago.
    """

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._counts: deque[tuple[float, Counter[CallKey]]] = deque(maxlen=RATE_TICKS + 1)
        self._ticks = 0
        self._before: dict[CallKey, CallStats] = {}
        self._between: dict[CallKey, CallStats] = {}

    def tick(self, now_s: float) -> Pieces[None]:
        """Every second; at the end of a window it takes longer."""
        counts: Counter[CallKey] = Counter()
        for key, count in (yield from self._totals.requests()).items():
            counts[key._replace(arm="") if key.arm else key] += count
        self._counts.append((now_s, counts))
        self._ticks += 1
        if self._ticks % WINDOW_TICKS:
            return
        by_key = by_backend((yield from self._totals.calls_in_pieces()).values())
        sums: dict[CallKey, CallStats] = {}
        for key, calls in by_key.items():
            yield
            sums[key] = summed(key, calls)
        self._before, self._between = self._between, sums

    def rate(self, key: CallKey) -> float | None:
        """Requests per second over the last ten seconds; None before two ticks have passed."""
        if len(self._counts) < 2:
            return None
        (then_s, then), (now_s, now) = self._counts[0], self._counts[-1]
        return (now[key] - then[key]) / (now_s - then_s)

    def errors(self, call: CallStats) -> float | None:
        """The share of 5xx answers in the window; None when nothing ended in it."""
        before = self._before.get(call.key)
        statuses = Counter(call.statuses)
        statuses.subtract(before.statuses if before else {})
        total = statuses.total()
        return sum(count for status, count in statuses.items() if status >= 500) / total if total else None

    def first_byte(self, call: CallStats) -> Latency:
        """Of a call's current sums: what the window saw."""
        before = self._before.get(call.key)
        return _latency(call.first_byte.sketch, before.first_byte.sketch if before else {})

    def total(self, call: CallStats) -> Latency:
        """Of a call's current sums: what the window saw."""
        before = self._before.get(call.key)
        return _latency(call.total_sketch(), before.total_sketch() if before else {})

    def first_token(self, call: CallStats) -> Latency:
        """Likewise, of its streams of events."""
        before = self._before.get(call.key)
        return _latency(call.first_token.sketch, before.first_token.sketch if before else {})

    def per_chunk(self, call: CallStats) -> Latency:
        """Likewise: the mean time between two events with content of a stream."""
        before = self._before.get(call.key)
        return _latency(call.per_chunk.sketch, before.per_chunk.sketch if before else {})


def _latency(now: Sketch, before: Sketch) -> Latency:
    p50, p90, p99 = quantiles(subtract(now, before), 0.5, 0.9, 0.99)
    return Latency(*(None if seconds is None else round(seconds * 1000, 3) for seconds in (p50, p90, p99)))
