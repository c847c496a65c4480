"""How a live exchange ended: its facts, gathered once for all who count, pair or tell of it; and what is a failure.

Three ask whether an exchange failed. The list of the last failures has what went wrong (`went_wrong`): a backend's own
500 is an answer like any other. Traces and the access log take that in, too (`is_failure`). A SERVER span has an error
where a failure was not the client's doing, as OpenTelemetry has it (`telemetry/spans.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..filters.api import Outcome, Reason
from .telemetry.count import NEVER

if TYPE_CHECKING:
    from ..config.snapshot import Endpoint, Route
    from .pool import Target
    from .telemetry.records import StreamTimes


def went_wrong(reason: str | None) -> bool:
    """Whether an exchange that ended for this reason was refused or broke off: a client that simply left is neither."""
    return reason is not None and reason != "client_gone"


def is_failure(status: int, reason: str | None) -> bool:
    """Whether an exchange that ended so counts as an error: one of the backend's own does, too."""
    return status >= 500 or went_wrong(reason)


class Ending:
    """The facts of a live exchange that is over; nobody changes them. Times are monotonic seconds, 0 for what never
    came; sizes are bytes of bodies."""

    __slots__ = (
        "answered", "asked", "config", "ended", "first_byte", "reason", "received", "refused", "route", "sent",
        "started", "status", "stream", "target", "tried",
    )  # fmt: skip

    def __init__(
        self, route: Route, config: int, target: Target | None, tried: Target | None, started: float, asked: float,
        first_byte: float, answered: float, ended: float, status: int, reason: Reason | None, refused: bool,
        received: int, sent: int, stream: StreamTimes | None,
    ) -> None:  # fmt: skip
        self.route = route
        self.config = config  # version of the snapshot
        self.target = target  # that the request was sent to
        self.tried = tried  # that was asked for last, and could not be reached
        self.started = started  # the head was read
        self.asked = asked  # for a connection, at first
        self.first_byte = first_byte  # of the backend's answer
        self.answered = answered  # its last byte
        self.ended = ended  # the exchange
        self.status = status  # what the client was told; 0 when it left before an answer
        self.reason = reason  # None for a whole answer
        self.refused = refused  # by a limit of the backend's, which says nothing of how fast the backend is
        self.received = received
        self.sent = sent
        self.stream = stream  # the times of its tokens

    @property
    def total_s(self) -> float:
        """Seconds from the request's head to the end of all."""
        return self.ended - self.started

    @property
    def first_byte_s(self) -> float:
        """Seconds from the request's head to the backend's first byte; NEVER where none came."""
        return self.first_byte - self.started if self.first_byte else NEVER

    @property
    def call_s(self) -> float:
        """Seconds of the live call alone, from asking for a connection to the backend's last byte; NEVER: none."""
        return (self.answered or self.ended) - self.asked if self.asked else NEVER

    @property
    def label(self) -> str | None:
        """Where the request was sent; None where it was not."""
        return None if self.target is None else self.target.label

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint that was asked last, whether or not it could be reached; None when none was chosen."""
        target = self.target or self.tried
        return None if target is None else target.endpoint

    @property
    def endpoint_label(self) -> str:
        """How it is named; "" for none."""
        target = self.target or self.tried
        return "" if target is None else target.endpoint_label

    def outcome(self, backend: str) -> Outcome:
        """What filters hear of it."""
        first_byte_ms = self.first_byte_s * 1000 if self.first_byte else None
        return Outcome(
            self.status, self.reason, backend, self.label, first_byte_ms, self.total_s * 1000, self.received, self.sent
        )
