"""What a worker counts on the hot path, compiled with it: stats.py turns it into what control is told."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from .sketch import Sketch, insert

if TYPE_CHECKING:
    from ..ending import Ending
    from .stats import CallKey


NEVER: Final = -1.0
MOST_STATUSES: Final = 40
"""More than HTTP has in use; what a backend invents beyond is counted as x99 of its class."""


class Durations:
    """Durations that are told together: how many of each length (sketch.py), and their sum in seconds."""

    __slots__ = ("sketch", "sum_s")

    def __init__(self) -> None:
        self.sketch: Sketch = {}
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.sum_s += seconds
        insert(self.sketch, seconds)


class Answers:
    """The exchanges that ended with one status. Their durations are shared by all statuses of a class."""

    __slots__ = ("client", "count", "total")

    def __init__(self, total: Durations, client: Durations) -> None:
        self.count = 0
        self.total = total
        self.client = client


class CallTally:
    """The calls of one key since the worker started; `stats.told` says what of it control is told.

    Mutable state: `answers` by status, `total` and `client` by the first digit of the status: the durations of the
    exchanges, and of the calls to the backend alone.
    """

    __slots__ = (
        "answers", "changed", "client", "first_byte", "first_token", "in_flight", "key", "p99_s", "per_chunk",
        "reasons", "request_bytes", "response_bytes", "total",
    )  # fmt: skip

    def __init__(self, key: CallKey) -> None:
        self.key = key
        self.in_flight = 0
        self.answers: dict[int, Answers] = {}
        self.reasons: dict[str, int] = {}
        self.first_byte = Durations()
        self.total: dict[int, Durations] = {}
        self.client: dict[int, Durations] = {}
        self.request_bytes = 0
        self.response_bytes = 0
        self.first_token = Durations()
        self.per_chunk = Durations()
        self.changed = True  # since the last report
        self.p99_s = inf  # of the live backend lately, where somebody asks for it

    def record(
        self, status: int, reason: str | None, first_byte_s: float, total_s: float, request_bytes: int,
        response_bytes: int, client_s: float = NEVER,
    ) -> None:  # fmt: skip
        """Count one call that is over. Times are seconds, below 0 for what never came; sizes are bytes of bodies.

        `total_s` is that of the whole exchange (of a copy: since both calls were asked for), `client_s` that of the
        live call alone, from asking for a connection to the backend's last byte.
        """
        answers = self.answers.get(status)
        if answers is None:
            answers = self._first(status)
        answers.count += 1
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if first_byte_s >= 0.0:
            self.first_byte.add(first_byte_s)
        if total_s >= 0.0:
            answers.total.add(total_s)
        if client_s >= 0.0:
            answers.client.add(client_s)
        self.request_bytes += request_bytes
        self.response_bytes += response_bytes
        self.changed = True

    def record_live(self, end: Ending) -> None:
        """Count one live exchange that is over. What a limit refused took no time of the backend's: an overloaded one
        would look fast."""
        total_s, call_s = end.total_s, end.call_s
        if end.refused:
            total_s = call_s = NEVER
        self.record(end.status, end.reason, end.first_byte_s, total_s, end.received, end.sent, call_s)

    def record_stream(self, first_token_s: float, per_chunk_s: float) -> None:
        """Count the tokens' times of one call that is over, before `record`; below 0 for what there was not."""
        if first_token_s >= 0.0:
            self.first_token.add(first_token_s)
        if per_chunk_s >= 0.0:
            self.per_chunk.add(per_chunk_s)

    @property
    def statuses(self) -> dict[int, int]:
        """How many ended with each status; 0: none was told."""
        return {status: answers.count for status, answers in self.answers.items()}

    def _first(self, status: int) -> Answers:
        digit = min(status // 100, 5)  # a status above 599 counts as 5xx: RFC 9110 section 15
        if status and len(self.answers) >= MOST_STATUSES:
            status = digit * 100 + 99
        answers = self.answers.get(status)
        if answers is None:
            answers = self.answers[status] = Answers(
                self.total.setdefault(digit, Durations()), self.client.setdefault(digit, Durations())
            )
        return answers


class CopyTally:
    """The copies for one shadow of one route; the fields are those of `stats.CopyStats`."""

    __slots__ = (
        "breaker", "censored", "compared_by_size", "complete", "dropped", "exchanges", "failed", "held_bytes", "route",
        "selected", "selected_by_size", "sent", "shadow",
    )  # fmt: skip

    def __init__(self, route: str, shadow: str, size_classes: int) -> None:
        self.route = route
        self.shadow = shadow
        self.exchanges = self.selected = self.sent = self.complete = self.censored = self.held_bytes = 0
        self.dropped: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.selected_by_size = [0] * size_classes
        self.compared_by_size = [0] * size_classes
        self.breaker = "closed"
