"""Of which exchanges control is told: drawn at the head, decided at the end of the live exchange.

Compiled with the data plane, since every request passes here where anything is told at all. account.py keeps what there
is to tell until the copies are over; telling.py makes the record, for those alone that are told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..trace import SAMPLED, Context
from . import telling
from .account import Account, Waiting

if TYPE_CHECKING:
    from ...config.snapshot import Telemetry
    from ...filters.api import Failure
    from ..plane import Port
    from .records import ToldExchange


class Teller:
    """The decisions of one snapshot. It holds nothing of any exchange.

    No draw depends on anything that a client chose: by its trace id it could have all of its requests traced.
    """

    __slots__ = ("_random", "_settings", "errors", "fields", "link", "offer", "span_id", "traces", "waiting")

    def __init__(
        self, settings: Telemetry, random: Callable[[], float], span_id: Callable[[], bytes],
        offer: Callable[[ToldExchange], None], waiting: Waiting,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._random = random
        self.traces = settings.traces
        self.errors = settings.traces and settings.errors  # a copy that answers another status is one, too
        self.link = settings.traces and settings.link
        self.fields = settings.fields
        self.span_id = span_id
        self.offer = offer
        self.waiting = waiting

    def open(self, spans: Context, trusted: bool, port: Port, minor: int) -> Account:
        """The account of a request whose head is in; whether its trace is sampled is drawn now."""
        self.draw(spans, trusted)
        return Account(self, port, minor)

    def draw(self, spans: Context, trusted: bool) -> None:
        """Decide at the head whether a trace is sampled, unless a trusted caller has."""
        if self.traces and not (trusted and spans.parent_id) and self._random() < self._settings.sample:
            spans.flags = SAMPLED

    def traced(self, sampled: bool, failed: bool, total_s: float, p99_s: float) -> bool:
        """Whether an exchange of this length becomes a trace; `p99_s` is that of its backend so far."""
        if not self.traces:
            return False
        settings = self._settings
        return (
            sampled
            or (failed and settings.errors)
            or total_s > settings.slow
            or (settings.over_p99 and total_s > p99_s)
        )

    def logged(self, failed: bool) -> bool:
        """Whether an exchange becomes a line of the access log."""
        settings = self._settings
        return settings.log and ((failed and settings.log_errors) or self._random() < settings.log_sample)

    def refuse(self, context: Context, failure: Failure, status: int, id: bytes, client: str, port: Port) -> None:
        """Tell of a request that was refused by its head alone: nothing of it is known to be what it seems."""
        traced = self.traced(False, True, 0.0, 0.0)
        logged = self.logged(True)
        if traced or logged:
            self.offer(telling.refusal(traced, logged, context, failure, status, id, client, port))
