"""What there is to tell of one exchange, kept until its copies are over.

The record of an exchange is given when live and all its copies are over, or `PATIENCE_S` after live's end; a copy that
ends later is told in a record of its own. Where nothing was to be told at live's end, the account is kept all the same
while copies are under way, since one that answers another status makes the exchange worth a trace. There are never
more accounts kept than copies in flight, which lanes bound.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ..ending import is_failure
from ..timers import NEVER
from ..trace import SAMPLED, Context
from . import telling

if TYPE_CHECKING:
    from ...config.snapshot import Endpoint, Shadow
    from ...filters.api import Headers
    from ..ending import Ending
    from ..lane import Lane
    from ..mirrored import Mirrored
    from ..pipeline import LiveExchange
    from ..plane import Port
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
    """What there is to tell of one exchange: opened with it, closed at its end, and given away where it is wanted.

    `drawn` is what the draw said at the head. Mutable state, beside `Progress`: `lost`, whether its spans were counted
    as lost, the rate having no room for them; of the live call, as it goes on, its
    `status` (0: no answer yet), the `attempts` before it, and when it was `asked` for after those; from `close` on, all
    that the record says of the exchange, and its `end`; from the first record on, `began_s` by the wall clock, so that
    a late copy's span lies beside the others however that jumps. Other times are monotonic seconds, 0 for never.
    """

    __slots__ = (
        "arm", "asked", "attempts", "authority", "backend", "began_s", "chosen", "client", "copies", "drawn", "end",
        "experiment", "flags", "headers", "id", "lost", "method", "minor", "path", "port", "refused", "scheme",
        "server_span_id", "spans", "status", "tainted", "teller", "version",
    )  # fmt: skip

    id: bytes
    client: str
    method: bytes
    path: bytes
    scheme: bytes
    authority: bytes
    headers: Headers
    experiment: str
    arm: str
    flags: list[str] | None
    backend: str  # that was asked, as it is counted; "" for none
    version: str
    chosen: str  # by the route, a flag or a split, asked or not
    end: Ending
    copies: list[Copy]
    refused: list[tuple[Lane, Shadow, str]]
    tainted: bool
    server_span_id: bytes

    def __init__(self, teller: Teller, spans: Context, port: Port, minor: int, drawn: int) -> None:
        super().__init__()
        self.drawn = drawn
        self.lost = False
        self.teller = teller
        self.spans = spans
        self.port = port
        self.minor = minor
        self.asked = 0.0
        self.began_s = 0.0
        self.status = 0
        self.attempts: list[Attempt] | None = None

    @property
    def total(self) -> float:
        """Seconds from when the live call was first asked for to the end of the backend's answer; 0 where it has none,
        or where the client held it back."""
        if not self.end.answered or self.tainted:
            return 0.0
        return self.end.answered - (self.asked if self.attempts is None else self.attempts[0].asked)

    def again(self, asked: float, endpoint: Endpoint | None, outcome: str) -> None:
        """The live call, that was asked for then at first, failed so, and is made once more."""
        now = _now()
        attempt = Attempt(self.spans.span_id, endpoint, self.asked or asked, now, outcome)
        self.attempts = [attempt] if self.attempts is None else [*self.attempts, attempt]
        self.asked = now

    def close(
        self, exchange: LiveExchange, end: Ending, stats: CallTally, mirrored: Mirrored | None,
        copies: list[Copy] | None,
    ) -> None:  # fmt: skip
        """The live exchange is over: decide whether to tell of it, or to wait for what its copies answer."""
        teller = self.teller
        failed = is_failure(end.status, end.reason)
        befell = teller.befell(failed, end.total_s, stats.p99_s)
        self.asked = self.asked or end.asked
        left = 0
        for copy in copies or ():
            if not copy.over:
                left += 1
            elif self._disagrees(copy):
                befell = True
        sampled = self.spans.flags == SAMPLED
        traced = teller.traced(self.drawn, sampled, befell, self._span_count(copies))
        self.lost = not traced and teller.wanted(self.drawn, sampled, befell)
        due = self.live_over(traced, teller.logged(failed), left)
        if due == NOTHING and not (left and (teller.errors or traced or self.logged)):
            return
        self._fill(exchange, stats)
        self.end = end
        self.copies = copies or []
        self.refused = mirrored.refused if mirrored is not None else []
        self.tainted = mirrored is not None and mirrored.tainted
        if due == WHOLE:
            self._give()
        elif mirrored is not None:
            mirrored.account = self
            if self.traced or self.logged:
                teller.waiting.add(self)

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
        traced = not self.lost and self.teller.traced(NOT_DRAWN, False, True, self._span_count(self.copies))
        self.lost = not traced
        return traced

    def _span_count(self, copies: list[Copy] | None) -> int:
        """How many there are to tell: of the exchange, of its calls, of copies that were not given up unsent."""
        calls = len(self.attempts) if self.attempts is not None else 0
        for copy in copies or ():
            if copy.sent or not copy.over:
                calls += 1
        return 1 + calls + (self.asked > 0.0)

    def _disagrees(self, copy: Copy) -> bool:
        return self.teller.errors and copy.status != 0 and self.status not in (0, copy.status)

    def _fill(self, exchange: LiveExchange, stats: CallTally) -> None:
        request = exchange.request
        self.id, self.client = exchange.id, exchange.client
        self.method, self.path, self.scheme = request.method, request.path, request.scheme
        self.authority = request.authority
        self.headers = request.headers
        self.experiment, self.arm, self.flags = exchange.experiment, exchange.arm, exchange.flags
        self.server_span_id = b""
        self.backend, self.version = stats.key.backend, stats.key.version
        self.chosen = exchange.backend

    def _give(self, late: Copy | None = None) -> None:
        teller = self.teller
        try:
            if not self.server_span_id:
                self.server_span_id = teller.span_id()
            if late is not None:
                teller.tell(telling.late(self, late))
            elif self.copies:
                teller.tell(telling.exchange(self, _now()))
            else:
                teller.tell(self)  # nothing of it changes any more: it is gathered with others, which costs half
        except Exception:  # it must not keep the exchange from ending
            log.exception("route %s: an exchange cannot be told of", self.end.route.name)


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
