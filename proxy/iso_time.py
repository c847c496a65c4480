"""The form in which a moment is told everywhere, in logs, status and comparisons: ISO 8601 (RFC 3339), UTC, with a Z.

For people and records alone: the wall clock jumps. What is waited for goes by `time.monotonic`, and by timers.py.
"""

from __future__ import annotations

from datetime import UTC, datetime


def now_text() -> str:
    """The wall clock, to the second."""
    return _text(datetime.now(UTC), "seconds")


def time_text(seconds: float) -> str:
    """Seconds since 1970, to the millisecond."""
    return _text(datetime.fromtimestamp(seconds, UTC), "milliseconds")


def _text(when: datetime, to_the: str) -> str:
    return when.isoformat(timespec=to_the).replace("+00:00", "Z")
