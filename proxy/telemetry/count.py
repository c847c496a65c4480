"""What a worker counts on the hot path, compiled with it: stats.py turns it into what control is told."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from .sketch import insert

if TYPE_CHECKING:
    from .stats import CallKey


NEVER: Final = -1.0


class CallTally:
    """The calls of one key since the worker started; the fields are those of `stats.CallStats`."""

    __slots__ = (
        "changed", "first_byte", "first_byte_s", "in_flight", "key", "p99_s", "reasons", "request_bytes",
        "response_bytes", "statuses", "total", "total_s",
    )  # fmt: skip

    def __init__(self, key: CallKey) -> None:
        self.key = key
        self.in_flight = 0
        self.statuses: dict[int, int] = {}
        self.reasons: dict[str, int] = {}
        self.first_byte: dict[int, int] = {}
        self.first_byte_s = 0.0
        self.total: dict[int, int] = {}
        self.total_s = 0.0
        self.request_bytes = 0
        self.response_bytes = 0
        self.changed = True  # since the last report
        self.p99_s = inf  # of the live backend so far, where somebody asks for it

    def record(
        self, status: int, reason: str | None, first_byte_s: float, total_s: float, request_bytes: int,
        response_bytes: int,
    ) -> None:  # fmt: skip
        """Count one call that is over. Times are seconds, below 0 for what never came; sizes are bytes of bodies."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if first_byte_s >= 0.0:
            self.first_byte_s += first_byte_s
            insert(self.first_byte, first_byte_s)
        self.total_s += total_s
        insert(self.total, total_s)
        self.request_bytes += request_bytes
        self.response_bytes += response_bytes
        self.changed = True


class CopyTally:
    """The copies for one shadow of one route; the fields are those of `stats.CopyStats`."""

    __slots__ = (
        "breaker", "censored", "complete", "dropped", "exchanges", "held_bytes", "route", "selected",
        "selected_by_size", "sent", "sent_by_size", "shadow",
    )  # fmt: skip

    def __init__(self, route: str, shadow: str, size_classes: int) -> None:
        self.route = route
        self.shadow = shadow
        self.exchanges = self.selected = self.sent = self.complete = self.censored = self.held_bytes = 0
        self.dropped: dict[str, int] = {}
        self.selected_by_size = [0] * size_classes
        self.sent_by_size = [0] * size_classes
        self.breaker = "closed"
