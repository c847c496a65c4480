"""The live side of a mirrored exchange: it hands what live is sent to the copies, and pairs what came of both.

Everything here runs within a live request's turn of the loop, and so whatever a copy raises ends that copy alone.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..filters.api import Exchange, Request
from . import trace
from .exchange import Fields
from .outgoing import trace_headers
from .shadow import Copy
from .telemetry.count import NEVER
from .telemetry.pairs import Figures, Kind, pack_streams
from .telemetry.stats import SIZE_CLASSES

if TYPE_CHECKING:
    from ..config.snapshot import Backend, Shadow
    from .ending import Ending
    from .lane import Lane
    from .plane import DataPlane
    from .telemetry.account import Account

log = logging.getLogger(__name__)

_BLAMELESS: Final = "complete"
_SIZES: Final[list[int]] = [*SIZE_CLASSES]


class Mirrored:
    """Mutable state: the copies, and those that were `refused` with their reason; what live has been sent before there
    were copies (`_early`); the live answer's gaps and size as they come, and `over` once the live exchange ended."""

    __slots__ = (
        "_arm", "_config", "_copies", "_early", "_early_ended", "_end", "_gap", "_id", "_last", "_live", "_outcome",
        "_plane", "_route", "account", "asked", "fields", "live_bytes", "over", "refused", "tainted", "waited_for",
    )  # fmt: skip

    _end: Ending  # of the live exchange, once it is `over`

    def __init__(self, plane: DataPlane, exchange: Exchange, live: Backend, config: int) -> None:
        self.asked = 0.0  # until the copies begin
        self.over = False
        self.tainted = False  # the live answer was held back by its client
        self.waited_for = False  # a copy waits until the live answer has grown
        self.live_bytes = 0
        self._plane = plane
        self._route, self._arm, self._id = exchange.route, exchange.arm, exchange.id
        self.fields = Fields(exchange.request.headers)  # that live sends, and copies but for what they must not
        self._live = live
        self._config = config
        self._copies: list[Copy] | None = None
        self.refused: list[tuple[Lane, Shadow, str]] = []
        self._early: list[bytes] = []
        self._early_ended = False
        self._last = self._gap = 0.0
        self._outcome = ""
        self.account: Account | None = None  # hears of copies that end after live, where control may be told of them

    def begin(self, exchange: Exchange, asked: float, spans: trace.Context, link: bool, over: bool = False) -> None:
        """Send the copies on their way, once, in the turn in which live's connection was asked for, and after it.
        `asked`: when that was, 0 for never; `link`: each in a trace of its own; `over`: live has ended already, and so
        a body that has not will not be whole."""
        if self._copies is not None:
            return
        self._copies = []
        self.asked = asked or monotonic()
        request = exchange.request
        if request.ended and request.wraps is None:
            content, ended = request.content, True
        else:
            content, ended = b"".join(self._early), self._early_ended
            self._early.clear()
        for lane in self._plane.lanes.get(self._route, ()):
            lane.copy_stats.exchanges += 1
            if exchange.copies and lane.shadow.backend.name in exchange.copies:
                if over and not ended:
                    reason = "live_over"
                else:
                    reason = lane.refusal(exchange.backend, request, len(content), exchange.upgrades)
                if reason:
                    self.refused.append((lane, lane.shadow, reason))
                else:
                    self._begin_copy(lane, request, spans, link, content, ended)

    def _begin_copy(
        self, lane: Lane, request: Request, spans: trace.Context, link: bool, content: bytes, ended: bool
    ) -> None:
        copy: Copy | None = None
        try:
            if link:
                spans = trace.beside(spans, self._plane.ids()[1])
            span_id = self._plane.span_id()
            copy = Copy(lane, self, request, self.fields, trace_headers(spans, span_id))
            copy.span_id = span_id
            if link:
                copy.trace_id = spans.trace_id
            assert self._copies is not None
            self._copies.append(copy)
            copy.ask(content, ended)
        except Exception:
            self._failed(lane, copy)

    def _failed(self, lane: Lane, copy: Copy | None) -> None:
        log.exception("route %s: a copy for %s failed in the proxy", lane.route, lane.shadow.backend.name)
        if copy is not None:
            copy.abandon("not_mirrorable")
        else:
            lane.judge(lane.breaker, "not_mirrorable", lane.probed)
            self.refused.append((lane, lane.shadow, "not_mirrorable"))

    # What live is sent.

    def take(self, chunk: bytes, ended: bool) -> None:
        """More of the body, after it was given to live."""
        copies = self._copies
        if copies is None:
            self._early.append(chunk)
            self._early_ended = ended
            return
        for copy in copies:
            try:
                copy.take(chunk, ended)
            except Exception:
                self._failed(copy.lane, copy)

    # What live answers.

    def live_answered(self, size: int, now: float) -> None:
        """The live head is in, with so many bytes of what follows it."""
        self._last = now
        self.live_bytes = size
        self._progressed()

    def live_data(self, size: int, now: float) -> None:
        """More of the live answer."""
        self._gap = max(self._gap, now - self._last)
        self._last = now
        self.live_bytes += size
        self._progressed()

    def _progressed(self) -> None:
        if self.waited_for and self._copies:
            for copy in self._copies:
                try:
                    copy.live_progressed()
                except Exception:
                    self._failed(copy.lane, copy)

    def live_over(self, end: Ending) -> list[Copy] | None:
        """The live exchange has ended: from now on copies are on their own. Returns them; some may be over."""
        self.over = True
        self._end = end
        self._outcome = end.reason or (_BLAMELESS if end.answered else "replaced")
        for lane, shadow, why in self.refused:
            self._pair(lane, shadow, None, why)
        copies, self._copies = self._copies, []  # they know us: a cycle that only the collector would find
        for copy in copies or ():
            if copy.over:
                self._pair(copy.lane, copy.shadow, copy, copy.reason)
            else:
                try:
                    copy.live_over(end.reason or "")
                except Exception:
                    self._failed(copy.lane, copy)
        return copies

    def copy_over(self, copy: Copy) -> None:
        """A copy has ended; it is paired now, or when live has ended too."""
        if self.over:
            self._pair(copy.lane, copy.shadow, copy, copy.reason)
            if self.account is not None:
                self.account.copy_over(copy)

    @property
    def complete(self) -> bool:
        """Whether the live exchange has ended, with the backend's whole answer."""
        return self._outcome == _BLAMELESS

    def _pair(self, lane: Lane, shadow: Shadow, copy: Copy | None, reason: str) -> None:
        try:
            self._count_pair(lane, shadow, copy, reason)
        except Exception:
            log.exception("route %s: a pair with %s is lost", lane.route, shadow.backend.name)

    def _count_pair(self, lane: Lane, shadow: Shadow, copy: Copy | None, reason: str) -> None:
        """Count the copy and tell control of the pair."""
        stats = lane.copy_stats
        size = 0
        while size < len(_SIZES) and self._end.received > _SIZES[size]:
            size += 1
        stats.selected += 1
        stats.selected_by_size[size] += 1
        if copy is not None and copy.sent:
            stats.sent += 1
            if copy.censored:
                stats.censored += 1
            elif not reason:
                stats.complete += 1
            else:
                stats.failed[reason] = stats.failed.get(reason, 0) + 1
            if self._compared(copy):
                stats.compared_by_size[size] += 1
        else:
            stats.dropped[reason] = stats.dropped.get(reason, 0) + 1
        lane.observe()
        lane.pairs.offer(
            self._kind(shadow, copy, reason or _BLAMELESS), self._figures(copy), self._id, self._streams(copy)
        )

    def _compared(self, copy: Copy) -> bool:
        """Whether the ratio is of this pair too, as comparison/sums.py has it."""
        if (copy.reason and not copy.censored) or self.tainted or copy.held_back or not self.complete:
            return False
        return not copy.status or copy.status // 100 == self._end.status // 100

    def _kind(self, shadow: Shadow, copy: Copy | None, outcome: str) -> Kind:
        live, heard = self._live, shadow.backend
        status, sent, censored, tainted = 0, False, False, self.tainted
        if copy is not None:
            status, sent, censored, tainted = copy.status, copy.sent, copy.censored, tainted or copy.held_back
        return (
            self._route, self._arm, self._config, live.name, live.version, heard.name, heard.version,
            self._end.status, status, self._outcome, outcome, sent, censored, tainted, shadow.calibration,
        )  # fmt: skip

    def _figures(self, copy: Copy | None) -> Figures:
        end = self._end
        first_byte, total, gap = self._since_ms(end.first_byte), self._since_ms(end.answered), _ms(self._gap)
        received, answered = end.received, self.live_bytes
        if copy is None:
            return first_byte, total, NEVER, NEVER, gap, NEVER, received, answered, 0
        copy_total = copy.total * 1000 if copy.sent else NEVER
        return (
            first_byte, total, _ms(copy.first_byte), copy_total, gap, _ms(copy.gap), received, answered,
            copy.response_bytes,
        )  # fmt: skip

    def _since_ms(self, moment: float) -> float:
        return (moment - self.asked) * 1000 if moment else NEVER

    def _streams(self, copy: Copy | None) -> bytes | None:
        live = self._end.stream
        return None if live is None or copy is None else pack_streams(live, copy.stream)


def _ms(seconds: float) -> float:
    return seconds * 1000 if seconds else NEVER
