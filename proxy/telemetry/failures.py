"""The last exchanges that failed, all workers together: where to begin at 3 a.m."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..iso_time import now_text
from ..messages import Records
from .records import FailedExchange

MOST_KEPT = 100


class Failure(NamedTuple):
    """A record and when control got it: within a second of its end."""

    when: str  # ISO 8601 in UTC
    exchange: FailedExchange


class Failures:
    """Mutable state: the last failures, oldest first, and how many records were lost on the way, by worker."""

    def __init__(self) -> None:
        self.last: deque[Failure] = deque(maxlen=MOST_KEPT)
        self._dropped: dict[int, int] = {}
        self._dropped_by_dead = 0

    @property
    def dropped(self) -> int:
        """Records lost since the start, those of dead workers included."""
        return self._dropped_by_dead + sum(self._dropped.values())

    def take(self, worker: int, records: Records) -> None:
        """Keep what a worker tells."""
        if records.failures:
            when = now_text()
            self.last.extend(Failure(when, each) for each in records.failures)
        self._dropped[worker] = records.dropped

    def retire(self, worker: int) -> None:
        """The worker is gone; its losses stay counted."""
        self._dropped_by_dead += self._dropped.pop(worker, 0)
