"""Of which exchanges control is told: drawn at the head, decided at the end of the live exchange, within a rate.

Compiled with the data plane, since every request passes here where anything is told at all. account.py keeps what there
is to tell until the copies are over; telling.py gathers it, for those alone that are told.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..allowance import Allowance
from ..ending import is_failure
from ..trace import SAMPLED, Context
from . import telling
from .account import BEYOND, DRAWN, NOT_DRAWN, Account, Waiting, disagrees, span_count

if TYPE_CHECKING:
    from ...config.snapshot import Telemetry
    from ...filters.api import Failure
    from ..ending import Ending
    from ..mirrored import Mirrored
    from ..pipeline import LiveExchange
    from ..plane import Port
    from ..shadow import Copy
    from .count import CallTally
    from .record_sheet import RecordSheet
    from .spans import Spans
    from .told import ToldExchange


_BURST_S: Final = 1.0
_LEAST_BURST: Final = 2.0  # so that the slowest rate tells something, now and then
_AHEAD: Final = 2.0
"""The spans that a draw takes room for, the exchange and a call; the exchange's end settles the rest. Were all of them
left to the end, those that begin together, and last, would all find the same room."""
_RESERVE: Final = 0.2
"""The share of a burst that is left to what befell: a sample of everything must not hide the errors."""


SPANS_BEYOND_RATE: Final = "spans_beyond_rate"
"""A counter of the spans that `telemetry.traces.rate` left no room for."""


class Teller:
    """The decisions of one snapshot. It holds nothing of any exchange. Mutable state: what its rate allows.

    No draw depends on anything that a client chose: by its trace id it could have all of its requests traced.
    """

    __slots__ = (
        "_allowance", "_counters", "_random", "_reserve", "_settings", "_sheet", "_spans", "errors", "fields",
        "link", "span_id", "traces", "waiting",
    )  # fmt: skip

    def __init__(
        self, settings: Telemetry, random: Callable[[], float], span_id: Callable[[], bytes],
        sheet: RecordSheet, spans: Spans, counters: dict[str, int], waiting: Waiting,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._random = random
        self.traces = settings.traces
        self.errors = settings.traces and settings.errors  # a copy that answers another status is one, too
        self.link = settings.traces and settings.link
        self.fields = settings.fields
        self.span_id = span_id
        self._sheet = sheet
        self._spans = spans
        self._counters = counters  # of the worker
        burst = max(_LEAST_BURST, settings.spans_per_s * _BURST_S)
        self._allowance = Allowance(settings.spans_per_s, burst)
        self._reserve = burst * _RESERVE
        self.waiting = waiting
        if settings.traces:
            counters.setdefault(SPANS_BEYOND_RATE, 0)  # shown before it is ever more

    def open(self, exchange: LiveExchange, trusted: bool, port: Port, minor: int, now: float) -> None:
        """A request's head is in, at the port and by this minor version of HTTP: draw whether its trace is sampled."""
        exchange.teller = self
        exchange.minor = minor
        exchange.drew = self.draw(exchange.spans, trusted, now)

    def draw(self, spans: Context, trusted: bool, now: float) -> int:
        """Decide at the head whether a trace is sampled, unless a trusted caller has: the backends are to know. Times
        are monotonic seconds."""
        sample = self._settings.sample
        if not self.traces or (trusted and spans.parent_id) or (sample < 1.0 and self._random() >= sample):
            return NOT_DRAWN
        if self._allowance.left(now) < 1.0 + self._reserve:
            return BEYOND
        self._allowance.spend(now, _AHEAD)
        spans.flags = SAMPLED
        return DRAWN

    def close(
        self, exchange: LiveExchange, end: Ending, stats: CallTally, mirrored: Mirrored | None,
        copies: list[Copy] | None,
    ) -> None:  # fmt: skip
        """The live exchange is over: decide whether to tell of it, or to wait for what its copies answer."""
        failed = is_failure(end.status, end.reason)
        befell = self.befell(failed, end.total_s, stats.p99_s)
        left = 0
        if copies is not None:
            for copy in copies:
                if not copy.over:
                    left += 1
                elif self.errors and disagrees(exchange.answered_with, copy):
                    befell = True
        sampled = exchange.spans.flags == SAMPLED
        spans = span_count(exchange.attempts, end.asked, copies)
        traced = self.traced(exchange.drew, sampled, befell, spans, end.ended)
        logged = self.logged(failed)
        if traced or logged or (left and self.errors):
            lost = not traced and self.wanted(exchange.drew, sampled, befell)
            Account(self, exchange, end, stats, mirrored, copies, lost).close(traced, logged, left, mirrored)

    def befell(self, failed: bool, total_s: float, p99_s: float) -> bool:
        """Whether an exchange of this length is worth a trace whatever the draw; `p99_s` is that of its backend."""
        settings = self._settings
        return self.traces and (
            (failed and settings.errors) or total_s > settings.slow or (settings.over_p99 and total_s > p99_s)
        )

    def wanted(self, drawn: int, sampled: bool, befell: bool) -> bool:
        """Whether an exchange is to become a trace, being `sampled`, by the draw or the caller, or worth it for what
        `befell` it."""
        return self.traces and (sampled or befell or drawn == BEYOND)

    def traced(self, drawn: int, sampled: bool, befell: bool, spans: int, now: float) -> bool:
        """Whether an exchange of so many spans becomes one. Those for which the rate has no room are counted."""
        if not self.wanted(drawn, sampled, befell):
            return False
        if drawn == DRAWN:  # there was room at the head, and its backends took part
            self._allowance.spend(now, spans - _AHEAD)
        else:
            least = 1.0 + (0.0 if befell else self._reserve)
            if (drawn == BEYOND and not befell) or self._allowance.left(now) < least:
                self._counters[SPANS_BEYOND_RATE] += spans
                return False
            self._allowance.spend(now, spans)
        return True

    def logged(self, failed: bool) -> bool:
        """Whether an exchange becomes a line of the access log."""
        settings = self._settings
        return settings.log and ((failed and settings.log_errors) or self._random() < settings.log_sample)

    def refuse(self, context: Context, failure: Failure, status: int, id: bytes, client: str, port: Port) -> None:
        """Tell of a request that was refused by its head alone: nothing of it is known to be what it seems."""
        traced = self.traced(NOT_DRAWN, False, self.befell(True, 0.0, 0.0), 1, monotonic())
        logged = self.logged(True)
        if traced or logged:
            self.tell(telling.refusal(traced, logged, context, failure, status, id, client, port))

    def tell(self, told: Account | ToldExchange) -> None:
        """Have control told of what was gathered of an exchange, or is to be of one that is over."""
        self._sheet.tell(told, self._spans)
