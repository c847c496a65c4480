"""Counting one exchange: on the hot path, and compiled with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sketch import insert

if TYPE_CHECKING:
    from .stats import CallStats


def count_call(
    stats: CallStats, status: int, reason: str | None, first_byte_s: float | None, total_s: float, request_bytes: int,
    response_bytes: int,
) -> None:  # fmt: skip
    """Add an exchange that is over to its statistics. Times are seconds, sizes bytes of bodies."""
    statuses = stats.statuses
    statuses[status] = statuses.get(status, 0) + 1
    if reason is not None:
        stats.reasons[reason] = stats.reasons.get(reason, 0) + 1
    if first_byte_s is not None:
        stats.first_byte_s += first_byte_s
        insert(stats.first_byte, first_byte_s)
    stats.total_s += total_s
    insert(stats.total, total_s)
    stats.request_bytes += request_bytes
    stats.response_bytes += response_bytes
    stats.changed = True
