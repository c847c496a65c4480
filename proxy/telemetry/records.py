"""Droppable records: what a worker tells control once, about single exchanges, and may lose."""

from __future__ import annotations

import msgspec

MOST_WAITING = 1000  # a worker hands them over every second; past it they are dropped and counted


class FailedExchange(msgspec.Struct, array_like=True, tag="failed"):
    """An exchange that ended without the backend's whole answer, save that its client simply left."""

    route: str
    backend: str
    endpoint: str  # "" when none was chosen
    status: int  # what the client was told
    reason: str
    request_id: str
    total_ms: float


class Records:
    """Mutable state: the records not yet handed over, and how many were dropped since the start."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: list[FailedExchange] = []

    def offer(self, record: FailedExchange) -> None:
        """Keep the record until the next hand-over, or drop and count it. Never blocks."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(record)
        else:
            self.dropped += 1

    def take(self) -> list[FailedExchange]:
        """All that wait; they wait no more."""
        waiting, self._waiting = self._waiting, []
        return waiting
