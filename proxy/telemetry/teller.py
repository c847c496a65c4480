"""Of which exchanges control is told: decided at the head, at the live call's end, and by what its copies answer.

Compiled with the data plane, since every request passes here where anything is told at all; telling.py, which makes the
records, is entered for those alone that are told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ..trace import SAMPLED, Context
from . import telling

if TYPE_CHECKING:
    from ...config.snapshot import Endpoint, Route, Telemetry
    from ...filters.api import Failure
    from ..pipeline import LiveExchange
    from ..plane import Port
    from .count import CallTally
    from .records import StreamTimes, ToldExchange

log = logging.getLogger(__name__)

_now: Final = monotonic
_NOTHING: Final[dict[bytes, bytes]] = {}


def is_failure(status: int, reason: str | None) -> bool:
    """Whether an exchange that ended so counts as an error: a client that simply left is none."""
    return status >= 500 or (reason is not None and reason != "client_gone")


class Teller:
    """The decisions of one snapshot. It holds nothing of any exchange.

    No draw depends on anything that a client chose: by its trace id it could have all of its requests traced.
    """

    __slots__ = ("_random", "_settings", "errors", "fields", "link", "offer", "span_id", "traces")

    def __init__(
        self, settings: Telemetry, random: Callable[[], float], span_id: Callable[[], bytes],
        offer: Callable[[ToldExchange], None],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._random = random
        self.traces = settings.traces
        self.errors = settings.traces and settings.errors
        self.link = settings.traces and settings.link
        self.fields = settings.fields
        self.span_id = span_id
        self.offer = offer

    def open(self, spans: Context, trusted: bool, port: Port, minor: int) -> Account:
        """The account of a request whose head is in. Whether its trace is sampled is drawn here, unless a trusted
        caller has decided."""
        if self.traces and not (trusted and spans.parent_id) and self._random() < self._settings.sample:
            spans.flags = SAMPLED
        return Account(self, port, minor)

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


class Attempt(NamedTuple):
    """A call that failed and was made again. Times are monotonic seconds."""

    span_id: bytes
    endpoint: Endpoint | None  # None when none was chosen
    asked: float
    ended: float
    outcome: str


class Account:
    """What there is to tell of one exchange: opened with it, closed at its end, and given away where it is wanted.

    Mutable state: of the live call, as it goes on, when it was `asked` for and when its answer `ended` (monotonic
    seconds, 0 for not yet), its `status`, and the `attempts` before it; from `close` on, all that the record says of
    the exchange, without its bodies.
    """

    __slots__ = (
        "arm", "asked", "attempts", "authority", "backend", "client", "config", "ended", "endpoint", "experiment",
        "fields", "first_byte", "flags", "id", "logged", "method", "minor", "now", "path", "port", "reason", "received",
        "response_status", "route", "scheme", "sent", "server_span_id", "spans", "started", "status", "stream",
        "teller", "traced", "version",
    )  # fmt: skip

    id: bytes
    client: str
    method: bytes
    path: bytes
    scheme: bytes
    authority: bytes
    fields: Mapping[bytes, bytes]
    route: Route
    experiment: str
    arm: str
    flags: list[str] | None
    config: int
    spans: Context
    server_span_id: bytes
    backend: str
    version: str
    endpoint: Endpoint | None
    started: float
    first_byte: float
    now: float
    response_status: int
    reason: str
    received: int
    sent: int
    stream: StreamTimes | None
    traced: bool
    logged: bool

    def __init__(self, teller: Teller, port: Port, minor: int) -> None:
        self.teller = teller
        self.port = port
        self.minor = minor
        self.asked = 0.0
        self.ended = 0.0
        self.status = 0
        self.attempts: list[Attempt] | None = None

    def again(self, spans: Context, endpoint: Endpoint | None, outcome: str) -> None:
        """The live call failed so, and is made once more."""
        now = _now()
        attempt = Attempt(spans.span_id, endpoint, self.asked, now, outcome)
        self.attempts = [attempt] if self.attempts is None else [*self.attempts, attempt]
        self.asked = now

    def close(
        self, exchange: LiveExchange, route: Route, spans: Context, config: int, stats: CallTally,
        endpoint: Endpoint | None, started: float, first_byte: float, now: float, status: int, reason: str | None,
        received: int, sent: int,
    ) -> None:  # fmt: skip
        """The live exchange is over: decide whether to tell of it."""
        teller = self.teller
        failed = is_failure(status, reason)
        self.traced = teller.traced(spans.flags == SAMPLED, failed, now - started, stats.p99_s)
        self.logged = teller.logged(failed)
        if not self.traced and not self.logged:
            return
        request = exchange.request
        self.id, self.client = exchange.id, exchange.client
        self.method, self.path, self.scheme = request.method, request.path, request.scheme
        self.authority = request.authority
        self.fields = request.fields if teller.fields else _NOTHING
        self.route, self.experiment, self.arm, self.flags = route, exchange.experiment, exchange.arm, exchange.flags
        self.config = config
        self.spans = spans
        self.backend, self.version = stats.key.backend, stats.key.version
        self.endpoint = endpoint
        self.started, self.first_byte, self.now = started, first_byte, now
        self.response_status, self.reason = status, reason or ""
        self.received, self.sent = received, sent
        self.stream = exchange.stream
        self._give()

    def _give(self) -> None:
        teller = self.teller
        try:
            self.server_span_id = teller.span_id()
            teller.offer(telling.exchange(self))
        except Exception:  # it must not keep the exchange from ending
            log.exception("route %s: an exchange cannot be told of", self.route.name)
