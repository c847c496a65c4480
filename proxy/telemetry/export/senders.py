"""What waits to be exported: records of exchanges, of which spans are made, and the last metrics."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from ...giving_way import step_aside
from ..family import Family
from ..losses import Losses
from ..records import ToldExchange
from .metrics import Measured, encoded
from .outcome import Outcome
from .plan import Target
from .sender import KEEP_S, Load, Sender
from .spans import Span, Spans, count_of, weight
from .wire import Wire

MOST_RECORDS: Final = 10_000
MOST_BYTES: Final = 48 << 20  # as `weight` estimates them
MOST_SPANS_AT_ONCE: Final = 2_000  # some 1.5 MiB as OTLP: collectors take 4 MiB over gRPC, and a request costs 1.4 ms
MOST_BYTES_AT_ONCE: Final = 3 << 20  # likewise
RECORDS_IN_A_ROW: Final = 16  # some 150 us; then we step aside
MOST_POINTS_AT_ONCE: Final = 2_000  # some 1 MiB; 3.5 with the most buckets that one may have
GATHER_S: Final = 0.5  # so that what all workers tell within a second leaves in few requests


class _Waiting(NamedTuple):
    """Records that go together."""

    since_s: float
    items: int
    size: int
    records: list[ToldExchange]


class SpanSender(Sender[deque[_Waiting]]):
    """Takes records, bounded by count, bytes and age; the oldest ones make room. Their spans are made in the thread."""

    def __init__(
        self,
        target: Target,
        losses: Losses,
        wire: Wire,
        spans: Spans,
        make: Callable[[], Callable[[bytes], Outcome]],
    ) -> None:
        super().__init__(target, "spans", losses, make)
        self.spans = spans  # another one after a reload
        self._wire = wire
        self._waiting: deque[_Waiting] = deque()
        self._records = 0
        self._items = 0
        self._bytes = 0

    def offer(self, records: Iterable[object]) -> None:
        """Keep those among them that are to be traced. Never blocks."""
        traced = [told for told in records if isinstance(told, ToldExchange) and told.traced]
        now_s = time.monotonic()
        rows = [traced[at : at + RECORDS_IN_A_ROW] for at in range(0, len(traced), RECORDS_IN_A_ROW)]
        made = [_Waiting(now_s, sum(map(count_of, row)), sum(map(weight, row)), row) for row in rows]
        fresh = [each for each in made if each.items]
        if not fresh:
            return
        lost = 0
        with self._changed:
            for each in fresh:
                self._waiting.append(each)
                self._records += len(each.records)
                self._items += each.items
                self._bytes += each.size
            while self._waiting and (self._abandoned or self._records > MOST_RECORDS or self._bytes > MOST_BYTES):
                lost += self._oldest().items
            self._changed.notify()
        self._losses.add(self.kind, lost)

    def _take(self, at_once: bool) -> Load[deque[_Waiting]] | None:
        now_s = time.monotonic()
        stale = 0
        while self._waiting and now_s - self._waiting[0].since_s > KEEP_S:
            stale += self._oldest().items
        self._losses.add(self.kind, stale)
        if not self._waiting or not (at_once or self._is_due(now_s)):
            return None
        until_s = self._waiting[0].since_s + KEEP_S
        batch: deque[_Waiting] = deque()
        items = size = 0
        while self._waiting and items < MOST_SPANS_AT_ONCE and size < MOST_BYTES_AT_ONCE:
            each = self._oldest()
            items += each.items
            size += each.size
            batch.append(each)
        return Load(batch, items, until_s)

    def _is_due(self, now_s: float) -> bool:
        return self._items >= MOST_SPANS_AT_ONCE or now_s - self._waiting[0].since_s >= GATHER_S

    def _due_in_s(self) -> float | None:
        return max(0.0, self._waiting[0].since_s + GATHER_S - time.monotonic()) if self._waiting else None

    def _oldest(self) -> _Waiting:
        each = self._waiting.popleft()
        self._records -= len(each.records)
        self._items -= each.items
        self._bytes -= each.size
        return each

    def _drop_waiting(self) -> int:
        lost = self._items
        while self._waiting:
            self._oldest()
        return lost

    def _prepared(self, batch: deque[_Waiting]) -> bytes:
        return self._wire.request(self._made(batch))

    def _made(self, batch: deque[_Waiting]) -> Iterator[Span]:
        """The spans of all. Empties the batch: to free all of its records at once takes a millisecond."""
        spans = self.spans
        while batch:
            step_aside()
            for told in batch.popleft().records:
                yield from spans.of(told)


class MetricSender(Sender[Measured]):
    """Takes all metrics now and then, and keeps only the last ones: sums are cumulative. They leave in several requests
    where they are many. Mutable state: what is left of them."""

    def __init__(
        self, target: Target, losses: Losses, wire: Wire, make: Callable[[], Callable[[bytes], Outcome]]
    ) -> None:
        super().__init__(target, "metrics", losses, make)
        self._wire = wire
        self._waiting: deque[Measured] = deque()

    def offer(self, measured: Measured, *, is_last: bool = False) -> None:
        """Send these next. Never blocks. Those that wait are lost, save before the begin and at the end."""
        parts = list(_parts(measured))
        with self._changed:
            dropped = self._drop_waiting()
            self._losses.add(self.kind, dropped if self._has_begun and not is_last else 0)
            self._waiting += parts
            if self._abandoned:
                self._losses.add(self.kind, self._drop_waiting())
            self._changed.notify()

    def _take(self, at_once: bool) -> Load[Measured] | None:
        if not self._waiting:
            return None
        part = self._waiting.popleft()
        return Load(part, _points(part), time.monotonic())  # what comes next says more: it is not tried again

    def _due_in_s(self) -> float | None:
        return None

    def _drop_waiting(self) -> int:
        lost = sum(map(_points, self._waiting))
        self._waiting.clear()
        return lost

    def _prepared(self, batch: Measured) -> bytes:
        return encoded(batch, self._wire)


def _points(measured: Measured) -> int:
    return sum(1 for family in measured.families for _ in family.points)


def _parts(measured: Measured) -> Iterator[Measured]:
    """For a request each. A family that has many points may be in several."""
    part: list[Family] = []
    room = MOST_POINTS_AT_ONCE
    for family in measured.families:
        points = list(family.points)
        while points:
            part.append(family._replace(points=points[:room]))
            points, room = points[room:], room - len(points[:room])
            if not room:
                yield measured._replace(families=part)
                part, room = [], MOST_POINTS_AT_ONCE
    if part:
        yield measured._replace(families=part)
