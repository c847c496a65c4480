"""Records on their way from a worker to control, as pairs.py has it of pairs. Compiled: every exchange may be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .records import Record

BATCH: Final = 128
"""A worker hands them over when so many wait: some 200 us of its loop, and control wakes for them once."""
MOST_WAITING: Final = 1000
"""Past it they are dropped and counted."""


class RecordSheet:
    """Mutable state: the records not yet handed over, and how many were dropped since the start."""

    __slots__ = ("_waiting", "dropped", "full")

    def __init__(self) -> None:
        self.dropped = 0
        self.full: Callable[[], None] = _nobody  # called at every `BATCH` records
        self._waiting: list[Record] = []

    def offer(self, record: Record) -> None:
        """Keep the record until the next hand-over, or drop and count it. Never blocks."""
        waiting = self._waiting
        if len(waiting) >= MOST_WAITING:
            self.dropped += 1
            return
        waiting.append(record)
        if len(waiting) >= BATCH:
            self.full()

    def take(self) -> list[Record]:
        """All that wait; they wait no more."""
        waiting, self._waiting = self._waiting, []
        return waiting


def _nobody() -> None:
    """Nobody takes a batch before its time."""
