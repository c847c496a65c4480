"""What waits to be exported: spans, as workers made them, and the last metrics."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ..family import Family
from ..losses import Losses
from ..records import SpanBatch
from .metrics import Measured, encoded
from .outcome import Outcome
from .plan import Target
from .sender import KEEP_S, Load, Sender
from .wire import Wire

MOST_BYTES: Final = 16 << 20
MOST_SPANS_AT_ONCE: Final = 2_000  # some 1.5 MiB as OTLP: collectors take 4 MiB over gRPC, and a request costs 1.4 ms
MOST_BYTES_AT_ONCE: Final = 3 << 20  # likewise
MOST_POINTS_AT_ONCE: Final = 2_000  # some 1 MiB; 3.5 with the most buckets that one may have
GATHER_S: Final = 0.5  # so that what all workers tell within a second leaves in few requests


class _Waiting(NamedTuple):
    since_s: float
    spans: SpanBatch


class SpanSender(Sender[list[bytes]]):
    """Takes spans as workers made them, bounded by bytes and age; the oldest ones make room."""

    def __init__(
        self, target: Target, losses: Losses, wire: Wire, make: Callable[[], Callable[[bytes], Outcome]]
    ) -> None:
        super().__init__(target, "spans", losses, make)
        self._wire = wire
        self._waiting: deque[_Waiting] = deque()
        self._items = 0
        self._bytes = 0

    def offer(self, spans: SpanBatch) -> None:
        """Send these next. Never blocks."""
        lost = 0
        with self._changed:
            self._waiting.append(_Waiting(time.monotonic(), spans))
            self._items += spans.count
            self._bytes += len(spans.encoded)
            while self._waiting and (self._abandoned or self._bytes > MOST_BYTES):
                lost += self._oldest().count
            if len(self._waiting) == 1 or self._items >= MOST_SPANS_AT_ONCE:  # the thread knows when the first is due
                self._changed.notify()
        self._losses.add(self.kind, lost)

    def _take(self, at_once: bool) -> Load[list[bytes]] | None:
        now_s = time.monotonic()
        stale = 0
        while self._waiting and now_s - self._waiting[0].since_s > KEEP_S:
            stale += self._oldest().count
        self._losses.add(self.kind, stale)
        if not self._waiting or not (at_once or self._is_due(now_s)):
            return None
        until_s = self._waiting[0].since_s + KEEP_S
        batch: list[bytes] = []
        items = size = 0
        while self._waiting and items < MOST_SPANS_AT_ONCE:
            if batch and size + len(self._waiting[0].spans.encoded) > MOST_BYTES_AT_ONCE:
                break
            each = self._oldest()
            items += each.count
            size += len(each.encoded)
            batch.append(each.encoded)
        return Load(batch, items, until_s)

    def _is_due(self, now_s: float) -> bool:
        return self._items >= MOST_SPANS_AT_ONCE or now_s - self._waiting[0].since_s >= GATHER_S

    def _due_in_s(self) -> float | None:
        return max(0.0, self._waiting[0].since_s + GATHER_S - time.monotonic()) if self._waiting else None

    def _oldest(self) -> SpanBatch:
        spans = self._waiting.popleft().spans
        self._items -= spans.count
        self._bytes -= len(spans.encoded)
        return spans

    def _drop_waiting(self) -> int:
        lost = self._items
        while self._waiting:
            self._oldest()
        return lost

    def _prepared(self, batch: list[bytes]) -> bytes:
        return self._wire.enclosed(batch)


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
