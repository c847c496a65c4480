"""What is kept of the pairs of one comparison: sums and sketches alone, so that two states can be added up.

Control adds every pair here, and so the file is compiled. The estimand is the mean of d = ln(shadow / live), clipped to
[-ln 100, +ln 100], over the pairs that can be compared: both answers whole, or the copy cut short; the statuses of one
class; the live answer not held back by its client. Of a copy that was cut short d is only known to be at least the
value at the cut: the sums `low` take it for that value, the sums `high` for ln 100. The truth lies between the two
means, whatever the reason of the cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from sys import maxsize
from typing import TYPE_CHECKING, Final

from ..telemetry.pairs import count_of, figures_of, streams_of
from ..telemetry.sketch import insert
from .state import SeriesState, State

if TYPE_CHECKING:
    from ..telemetry.records import PairsOfKind

MOST_RATIO: Final = 100.0
CLIP: Final = log(MOST_RATIO)
LEAST_MS: Final = 1e-3  # a clock that shows no time has passed is not believed: a microsecond has
MOST_STATUSES: Final = 64  # pairs of statuses told apart; a pair beyond them is counted by its classes, 2xx and 5xx
SIDE: Final = 1000  # a pair of statuses is the number live * SIDE + shadow; classes are 0 to 9


class Series:
    """One measure of the pairs. Mutable state: the sums of d, and sketches of seconds of the same pairs."""

    __slots__ = SeriesState.__struct_fields__

    def __init__(self) -> None:
        self.pairs = 0
        self.censored = 0
        self.low = 0.0
        self.low_squares = 0.0
        self.high = 0.0
        self.high_squares = 0.0
        self.live: dict[int, int] = {}
        self.shadow: dict[int, int] = {}  # of copies that came to their end
        self.cut: dict[int, int] = {}  # of those that did not: when they were cut

    def add(self, live_ms: float, shadow_ms: float, cut: bool) -> None:
        """Add one pair; a shadow that was `cut` would have taken longer than this."""
        d = log(max(shadow_ms, LEAST_MS) / max(live_ms, LEAST_MS))
        d = min(max(d, -CLIP), CLIP)
        self.pairs += 1
        self.low += d
        self.low_squares += d * d
        insert(self.live, live_ms * 1e-3)
        if cut:
            self.censored += 1
            insert(self.cut, shadow_ms * 1e-3)
            d = CLIP
        else:
            insert(self.shadow, shadow_ms * 1e-3)
        self.high += d
        self.high_squares += d * d


class Sums:
    """One comparison. Mutable state: how many pairs came to what, and the measures of those that can be compared.

    `selected` = `sent` + all of `dropped`; `sent` = `complete` + `censored` + all of `failed`; `complete` + `censored`
    = `total.pairs` + `tainted` + `live_failed` + `other_class`.
    """

    __slots__ = State.__struct_fields__

    def __init__(self) -> None:
        self.calibration = False
        self.selected = 0
        self.sent = 0
        self.complete = 0
        self.censored = 0
        self.tainted = 0
        self.live_failed = 0
        self.other_class = 0
        self.dropped: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self.total = Series()
        self.first_byte = Series()
        self.gap = Series()
        self.first_token = Series()
        self.per_chunk = Series()

    def add(self, told: PairsOfKind) -> None:
        """Add selected copies of one kind, whatever became of them."""
        kind, pairs = told.kind, count_of(told)
        self.selected += pairs
        self.calibration = kind.calibration
        reason = kind.shadow_outcome
        if not kind.sent:
            self.dropped[reason] = self.dropped.get(reason, 0) + pairs
            return
        self.sent += pairs
        live_status, shadow_status = kind.live_status, kind.shadow_status
        if live_status and (shadow_status or reason == "shadow_error"):
            self._count_statuses(live_status, shadow_status, pairs)
        cut = kind.censored
        if cut:
            self.censored += pairs
        elif reason == "complete":
            self.complete += pairs
        else:
            self.failed[reason] = self.failed.get(reason, 0) + pairs
            return
        if kind.tainted:
            self.tainted += pairs
        elif kind.live_outcome != "complete":
            self.live_failed += pairs
        elif shadow_status and shadow_status // 100 != live_status // 100:
            self.other_class += pairs
        else:
            self._measure(told, cut)

    def _measure(self, told: PairsOfKind, censored: bool) -> None:
        for live_first_ms, live_ms, first_ms, ended_ms, live_gap_ms, gap_ms, _, _, _ in figures_of(told):
            if live_ms < 0.0:
                self.live_failed += 1
                continue
            cut = censored or ended_ms < 0.0  # nothing is known of it then but that it was asked for
            shadow_ms = max(ended_ms, 0.0)
            self.total.add(live_ms, shadow_ms, cut)
            if live_first_ms >= 0.0:
                if first_ms >= 0.0:
                    self.first_byte.add(live_first_ms, first_ms, False)
                else:
                    self.first_byte.add(live_first_ms, shadow_ms, True)
            if live_gap_ms >= 0.0 and gap_ms >= 0.0:
                self.gap.add(live_gap_ms, gap_ms, cut)
        if told.streams:
            self._measure_streams(told, censored)

    def _measure_streams(self, told: PairsOfKind, censored: bool) -> None:
        """Add the first token, and the time between two. A copy that was cut before its first token would have needed
        longer; one that was cut behind it has been silent since its last."""
        for figures, streams in zip(figures_of(told), streams_of(told), strict=True):
            _, total_ms, head_ms, ended_ms, _, _, _, _, _ = figures
            live_ms, live_between_ms, _, first_ms, between_ms, chunks = streams
            if total_ms < 0.0 or live_ms < 0.0:
                continue
            cut = censored or ended_ms < 0.0
            shadow_ms = max(ended_ms, 0.0)
            if first_ms < 0.0:
                if cut and (chunks == 0 or head_ms < 0.0):
                    self.first_token.add(live_ms, shadow_ms, True)
                continue
            self.first_token.add(live_ms, first_ms, False)
            if live_between_ms < 0.0:
                continue
            if cut:
                least_ms = max(shadow_ms - first_ms, 0.0) / max(chunks, 1)
                self.per_chunk.add(live_between_ms, max(between_ms, least_ms), between_ms < 0.0)
            elif between_ms >= 0.0:
                self.per_chunk.add(live_between_ms, between_ms, False)

    def _count_statuses(self, live: int, shadow: int, pairs: int) -> None:
        both = live * SIDE + shadow
        known = self.statuses.get(both)
        if known is None and len(self.statuses) >= MOST_STATUSES:
            both = live // 100 * SIDE + shadow // 100
            known = self.statuses.get(both)
        self.statuses[both] = pairs if known is None else known + pairs


class Book:
    """The comparisons of one epoch. Mutable state: their sums by (route, live backend and version, shadow and version),
    and how many pairs were left out.

    At most `most` comparisons are kept: a pair of another one is counted as refused. A pair of a configuration before
    `first_config`, or of one that was undone, after `last_config`, belongs to an epoch that is over: it is counted as
    late.
    """

    __slots__ = ("comparisons", "first_config", "last_config", "late", "most", "refused")

    def __init__(self, most: int, first_config: int, last_config: int = maxsize) -> None:
        self.comparisons: dict[tuple[str, str, str, str, str], Sums] = {}
        self.most = most
        self.first_config = first_config
        self.last_config = last_config
        self.late = 0
        self.refused = 0

    def take(self, told: Iterable[PairsOfKind]) -> None:
        """Add pairs as a worker tells them."""
        for each in told:
            kind = each.kind
            if not self.first_config <= kind.config <= self.last_config:
                self.late += count_of(each)
                continue
            key = (kind.route, kind.live, kind.live_version, kind.shadow, kind.shadow_version)
            sums = self.comparisons.get(key)
            if sums is None:
                if len(self.comparisons) >= self.most:
                    self.refused += count_of(each)
                    continue
                sums = self.comparisons[key] = Sums()
            sums.add(each)
