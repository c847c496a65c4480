"""What there is to tell of one exchange, kept from live's end until its copies are over.

The record of an exchange is given when live and all its copies are over, or `PATIENCE_S` after live's end; a copy that
ends later is told in a record of its own. Where nothing was to be told at live's end, the account is kept all the same
while copies are under way, since one that answers another status makes the exchange worth a trace. There are never
more accounts kept than copies in flight, which lanes bound.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ..timers import NEVER
from . import telling

if TYPE_CHECKING:
    from ...config.snapshot import Endpoint
    from ..ending import Ending
    from ..mirrored import Mirrored
    from ..pipeline import LiveExchange
    from ..shadow import Copy
    from ..timers import Wheel
    from .count import CallTally
    from .teller import Teller

log = logging.getLogger(__name__)

PATIENCE_S: Final = 0.9
"""How long after live's end copies are waited for: with the wheel's ticks, a second at most."""

NOTHING: Final = 0
WHOLE: Final = 1  # the exchange with all its calls
LATE: Final = 2  # the copy that has just ended, alone

NOT_DRAWN: Final = 0
DRAWN: Final = 1
BEYOND: Final = 2  # drawn, where the rate of spans had no room left

_now: Final = monotonic


class Progress:
    """What is to be told when. Pure: it is told of events, and answers what is due.

    Mutable state: `traced` and `logged`, what for; `left`, how many copies are under way; `given`, whether the whole
    was given before.
    """

    __slots__ = ("given", "left", "logged", "traced")

    def __init__(self) -> None:
        self.traced = self.logged = self.given = False
        self.left = 0

    def live_over(self, traced: bool, logged: bool, left: int) -> int:
        """The live exchange has ended, with so many copies under way."""
        self.traced, self.logged, self.left = traced, logged, left
        return self._whole() if not left else NOTHING

    def copy_ended(self, disagrees: bool) -> int:
        """A copy that was under way has ended; `disagrees`: its status alone makes the exchange worth a trace."""
        self.left -= 1
        promoted = disagrees and not self.traced
        if promoted:
            self.traced = True
        if not self.given:
            return self._whole() if not self.left else NOTHING
        if promoted:
            self.logged = False  # its line was written when the whole was given
            return WHOLE
        return LATE if self.traced else NOTHING

    def overdue(self) -> int:
        """The copies have been waited for long enough."""
        return NOTHING if self.given else self._whole()

    def _whole(self) -> int:
        if not self.traced and not self.logged:
            return NOTHING
        self.given = True
        return WHOLE


class Attempt(NamedTuple):
    """A call that failed and was made again. Times are monotonic seconds."""

    span_id: bytes
    endpoint: Endpoint | None  # None when none was chosen
    asked: float
    ended: float
    outcome: str


class Account(Progress):
    """What there is to tell of one exchange whose live call is over, with its `end`; given away where it is wanted.

    Mutable state, beside `Progress`: `lost`, whether its spans were counted as lost, the rate having no room for them;
    from the first record on, `began_s` by the wall clock and the `server_span_id`, so that a late copy's span lies
    beside the others however the clock jumps. Other times are monotonic seconds, 0 for never.
    """

    __slots__ = (
        "arm", "asked", "attempts", "authority", "backend", "began_s", "chosen", "client", "copies", "end",
        "experiment", "flags", "headers", "id", "lost", "method", "minor", "path", "port", "refused", "scheme",
        "server_span_id", "spans", "status", "tainted", "teller", "version",
    )  # fmt: skip

    def __init__(
        self, teller: Teller, exchange: LiveExchange, end: Ending, stats: CallTally, mirrored: Mirrored | None,
        copies: list[Copy] | None, lost: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        request = exchange.request
        self.teller = teller
        self.lost = lost
        self.spans = exchange.spans
        self.server_span_id = b""
        self.began_s = 0.0
        self.id, self.client, self.port, self.minor = exchange.id, exchange.client, exchange.port, exchange.minor
        self.method, self.path, self.scheme = request.method, request.path, request.scheme
        self.authority = request.authority
        self.headers = request.headers
        self.experiment, self.arm, self.flags = exchange.experiment, exchange.arm, exchange.flags
        self.backend, self.version = stats.key.backend, stats.key.version  # that was asked, as it is counted; or ""
        self.chosen = exchange.backend  # by the route, a flag or a split, asked or not
        self.status = exchange.answered_with
        self.attempts = exchange.attempts
        self.asked = end.asked if self.attempts is None else self.attempts[-1].ended
        self.end = end
        self.copies = copies or []
        self.refused = mirrored.refused if mirrored is not None else []
        self.tainted = mirrored is not None and mirrored.tainted

    @property
    def total(self) -> float:
        """Seconds from when the live call was first asked for to the end of the backend's answer; 0 where it has none,
        or where the client held it back."""
        if not self.end.answered or self.tainted:
            return 0.0
        return self.end.answered - self.end.asked

    def close(self, traced: bool, logged: bool, left: int, mirrored: Mirrored | None) -> None:
        """Tell of it, or wait for what so many of its copies answer."""
        if self.live_over(traced, logged, left) == WHOLE:
            self._give()
        elif mirrored is not None:
            mirrored.account = self
            if self.traced or self.logged:
                self.teller.waiting.add(self)

    def copy_over(self, copy: Copy) -> None:
        """A copy has ended that was under way when the live exchange did."""
        known = self.given or self.traced or self.logged
        due = self.copy_ended(self._disagrees(copy) and (self.traced or self._traces_late()))
        if due == LATE:
            if copy.sent:
                self._give(copy)
        elif due == WHOLE:
            self.teller.waiting.remove(self)
            self._give()
        elif self.traced and not known:
            self.teller.waiting.add(self)
        if not self.left:
            self.copies = []  # they know us: a cycle that only the collector would find

    def give(self) -> None:
        """The copies have been waited for long enough."""
        if self.overdue() == WHOLE:
            self._give()

    def _traces_late(self) -> bool:
        """Whether there is room for a trace of what was none so far: what was counted as lost once is lost."""
        traced = not self.lost and self.teller.traced(
            NOT_DRAWN, False, True, span_count(self.attempts, self.end.asked, self.copies), _now()
        )
        self.lost = not traced
        return traced

    def _disagrees(self, copy: Copy) -> bool:
        return self.teller.errors and disagrees(self.status, copy)

    def _give(self, late: Copy | None = None) -> None:
        teller = self.teller
        try:
            if not self.server_span_id:
                self.server_span_id = teller.span_id()
            if late is not None:
                teller.tell(telling.late(self, late))
            elif self.copies:
                teller.tell(telling.exchange(self, _now(), telling.epoch_s()))
            else:
                teller.tell(self)  # nothing of it changes any more: it is gathered with others, which costs half
        except Exception:  # it must not keep the exchange from ending
            log.exception("route %s: an exchange cannot be told of", self.end.route.name)


def disagrees(status: int, copy: Copy) -> bool:
    """Whether both the live backend, by its status, and a copy answered, and not alike."""
    return copy.status != 0 and status not in (0, copy.status)


def span_count(attempts: list[Attempt] | None, asked: float, copies: list[Copy] | None) -> int:
    """How many there are to tell: of an exchange, of its calls, of copies that were not given up unsent."""
    calls = 0 if attempts is None else len(attempts)
    if copies is not None:
        for copy in copies:
            if copy.sent or not copy.over:
                calls += 1
    return 1 + calls + (asked > 0.0)


class Waiting:
    """The accounts that are to be told, and wait for copies. It outlives snapshots.

    Mutable state: those accounts; `deadline`, when the first of them has waited for long enough.
    """

    __slots__ = ("_accounts", "_wheel", "deadline", "look_s")

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._accounts: dict[Account, None] = {}
        self.deadline = NEVER
        self.look_s = NEVER

    def __len__(self) -> int:
        return len(self._accounts)

    def add(self, account: Account) -> None:
        """It is given `PATIENCE_S` after its live exchange ended, unless it is removed before."""
        self._accounts[account] = None
        until = account.end.ended + PATIENCE_S
        if until < self.deadline:
            self.deadline = until
            if until < self.look_s:
                self._wheel.watch(self)

    def remove(self, account: Account) -> None:
        """It waits no more, if it did."""
        self._accounts.pop(account, None)

    def on_deadline(self) -> None:
        """The wheel's call: give what has waited for long enough."""
        now, deadline = self._wheel.now, NEVER
        for account in list(self._accounts):
            until = account.end.ended + PATIENCE_S
            if until <= now:
                del self._accounts[account]
                account.give()
            elif until < deadline:
                deadline = until
        self.deadline = deadline
