"""Of which exchanges control is told: drawn at the head, decided at the end of the live exchange, within a rate.

Compiled with the data plane, since every request passes here where anything is told at all. account.py keeps what there
is to tell until the copies are over; telling.py gathers it, for those alone that are told.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..allowance import Allowance
from ..trace import SAMPLED, Context
from . import telling
from .account import BEYOND, DRAWN, NOT_DRAWN, Account, Waiting

if TYPE_CHECKING:
    from ...config.snapshot import Telemetry
    from ...filters.api import Failure
    from ..plane import Port
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
        "_allowance", "_counters", "_random", "_reserve", "_settings", "_spans", "_tell", "errors", "fields", "link",
        "span_id", "traces", "waiting",
    )  # fmt: skip

    def __init__(
        self, settings: Telemetry, random: Callable[[], float], span_id: Callable[[], bytes],
        tell: Callable[[Account | ToldExchange, Spans], None], spans: Spans, counters: dict[str, int], waiting: Waiting,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._random = random
        self.traces = settings.traces
        self.errors = settings.traces and settings.errors  # a copy that answers another status is one, too
        self.link = settings.traces and settings.link
        self.fields = settings.fields
        self.span_id = span_id
        self._tell = tell
        self._spans = spans
        self._counters = counters  # of the worker
        burst = max(_LEAST_BURST, settings.spans_per_s * _BURST_S)
        self._allowance = Allowance(settings.spans_per_s, burst)
        self._reserve = burst * _RESERVE
        self.waiting = waiting
        if settings.traces:
            counters.setdefault(SPANS_BEYOND_RATE, 0)  # shown before it is ever more

    def open(self, spans: Context, trusted: bool, port: Port, minor: int) -> Account:
        """The account of a request whose head is in; whether its trace is sampled is drawn now."""
        return Account(self, spans, port, minor, self.draw(spans, trusted))

    def draw(self, spans: Context, trusted: bool) -> int:
        """Decide at the head whether a trace is sampled, unless a trusted caller has: the backends are to know."""
        if not self.traces or (trusted and spans.parent_id) or self._random() >= self._settings.sample:
            return NOT_DRAWN
        now = monotonic()
        if self._allowance.left(now) < 1.0 + self._reserve:
            return BEYOND
        self._allowance.spend(now, _AHEAD)
        spans.flags = SAMPLED
        return DRAWN

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

    def traced(self, drawn: int, sampled: bool, befell: bool, spans: int) -> bool:
        """Whether an exchange of so many spans becomes one. Those for which the rate has no room are counted."""
        if not self.wanted(drawn, sampled, befell):
            return False
        now = monotonic()
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
        traced = self.traced(NOT_DRAWN, False, self.befell(True, 0.0, 0.0), 1)
        logged = self.logged(True)
        if traced or logged:
            self.tell(telling.refusal(traced, logged, context, failure, status, id, client, port))

    def tell(self, told: Account | ToldExchange) -> None:
        """Have control told of what was gathered of an exchange, or is to be of one that is over."""
        self._tell(told, self._spans)
