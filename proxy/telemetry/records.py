"""Droppable records: what a worker tells control once, about single exchanges, and may lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

BATCH = 64  # a worker encodes them when so many wait: some 50 us of its loop
MOST_WAITING = 1000  # past it they are dropped and counted


class FailedExchange(msgspec.Struct, array_like=True, gc=False, tag="failed"):
    """An exchange that ended without the backend's whole answer, save that its client simply left."""

    route: str
    backend: str
    endpoint: str  # "" when none was chosen
    status: int  # what the client was told
    reason: str
    request_id: str
    total_ms: float


class Pair(msgspec.Struct, array_like=True, gc=False, tag="pair"):
    """The live and the shadow call of one exchange. Times are milliseconds since both were asked for; None: never.

    An outcome is "complete" or a reason: of contract.md's table for the live call, of a dropped or failed copy for the
    shadow's. `censored`: the copy was cut short, so that it counts as at least `shadow_total_ms` slow. `tainted`: the
    live answer was held back by its client, so that its total is no measure of the backend.
    """

    route: str
    arm: str
    config: int  # version of the snapshot
    live: str  # backend
    live_version: str
    shadow: str
    shadow_version: str
    request_id: str
    live_status: int
    shadow_status: int  # 0: no answer
    live_outcome: str
    shadow_outcome: str
    live_first_byte_ms: float | None
    live_total_ms: float | None
    shadow_first_byte_ms: float | None
    shadow_total_ms: float | None
    live_gap_ms: float | None  # the longest silence within the answer's body
    shadow_gap_ms: float | None
    request_bytes: int
    live_bytes: int
    shadow_bytes: int
    sent: bool  # False: the copy was dropped before anything was sent
    censored: bool
    tainted: bool
    calibration: bool


Record: TypeAlias = FailedExchange | Pair


class Records:
    """Mutable state: the records not yet handed over, and how many were dropped since the start."""

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
