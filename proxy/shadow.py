"""Copies: calls made only to be observed. Whatever becomes of one, the live call neither waits nor hears of it.

A copy's body is the bytes that live was sent, shared and not copied; its answer is timed, bounded and discarded. What
it holds beyond its connection's buffers is charged to its lane (lane.py) and bounded by it.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..config.snapshot import Endpoint, target_of
from ..filters.api import Failure, Headers, Request, Response
from .exchange import HELD, Call, Caller, Fields
from .lane import IDEMPOTENCY_KEY
from .opening import Waiter
from .outgoing import outgoing_authority, rewritten_json
from .telemetry.count import NEVER
from .telemetry.tokens import TokenClock, clock_of

if TYPE_CHECKING:
    from .lane import Lane
    from .mirrored import Mirrored
    from .pool import Target
    from .telemetry.records import StreamTimes

log = logging.getLogger(__name__)

HEAD_START_BYTES: Final = 256 * 1024
"""A copy's answer may be twice as long as the live one and so much; beyond that it waits for live, or is cut."""

CENSORING: Final = frozenset({"shadow_timeout", "slow_shadow", "budget_bytes", "draining"})
"""Reasons that cut a copy short: it counts as at least that slow, else a slow shadow would look fast."""


class Copy(Caller, Waiter):
    """One copy on its way: the `Waiter` of its connection and the `Caller` of its call.

    Mutable state: `_held`, chunks that the shadow has yet to take, `_charged`, how many bytes its lane counts for them
    and for what its connection keeps; `_call`, the call under way; `_waits`, whether its answer is ahead of live's;
    `over`, `reason` and `censored`, at its end.
    """

    __slots__ = (
        "_breaker", "_call", "_charged", "_ended", "_fields", "_finished", "_held", "_last", "_own", "_probes",
        "_request", "_size", "_stats", "_target", "_timer", "_waits", "_writable", "_writing", "censored",
        "first_byte", "gap", "held_back", "lane", "mirrored", "over", "reason", "response_bytes", "sent", "shadow",
        "span_id", "status", "stream", "tokens", "total", "trace_id",
    )  # fmt: skip

    def __init__(self, lane: Lane, mirrored: Mirrored, request: Request, fields: Fields, traced: Headers) -> None:
        self.lane = lane
        self.shadow = lane.shadow  # as it was asked: a reload changes the lane's
        self.mirrored = mirrored
        self._fields = shadow_fields(fields, lane)
        self._own = [*lane.own, *traced]  # fields of this copy alone
        self.over = False
        self.sent = False
        self.held_back = False  # its answer had to wait for live's
        self.reason = ""  # why there is no whole answer
        self.censored = False  # it was cut short, and so counts as at least that slow
        self.status = 0
        self.first_byte = self.total = self.gap = 0.0  # seconds since both calls were asked for; 0: never
        self.response_bytes = 0
        self.trace_id = b""  # of a trace of its own
        self.span_id = b""
        self.tokens: TokenClock | None = None  # where the answer is a stream of events
        self.stream: StreamTimes | None = None  # what they were, at the end
        self._request: Request | None = request  # until it is sent
        self._call: Call | None = None
        self._target: Target | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held: list[bytes] = []
        self._charged = 0
        self._writing = 0  # the size of what is just being written
        self._breaker = lane.breaker  # that admitted it
        self._probes = lane.probed
        self._stats = lane.stats
        self._size = 0
        self._last = 0.0
        self._ended = False
        self._finished = False
        self._writable = True
        self._waits = False

    def ask(self, content: bytes, ended: bool) -> None:
        """Ask for a connection, with as much of the body as live was sent so far."""
        lane = self.lane
        lane.copies.add(self)
        self._stats.in_flight += 1
        seconds = self.shadow.backend.total_timeout
        if seconds:
            self._timer = lane.loop.call_later(seconds, self.abandon, "shadow_timeout")
        if content:
            self._held.append(content)
        self._size = len(content)
        self._ended = ended
        if self._sendable():
            lane.pool.connect(self)
        if not self.sent and not self.over:
            self._charge(len(content))

    def _sendable(self) -> bool:
        """Whether a connection is of use by now; one that was kept for a body to come would be lost as idle."""
        return self._ended or self.shadow.backend.json_rewrite is None

    # The live request's bytes.

    def take(self, chunk: bytes, ended: bool) -> None:
        """More of the body, as live was sent it."""
        if self.over:
            return
        self._ended = ended
        self._size += len(chunk)
        if self._size > self.shadow.max_body:
            self.abandon("body_too_large")
        elif self.sent and self._writable and self._call is not None:
            if chunk:
                self._write(self._call, chunk)
            if ended:
                self._finish()
        else:
            if chunk:
                self._held.append(chunk)
                self._charge(len(chunk))
            if ended and self.shadow.backend.json_rewrite is not None and not self.over:
                self.lane.pool.connect(self)

    def _finish(self) -> None:
        if self._call is not None and not self._finished:
            self._finished = True
            self._call.finish()

    def live_progressed(self) -> None:
        """The live answer has grown: ours may, too."""
        if self._waits and self._call is not None and not self._is_ahead():
            self._waits = False
            self._call.resume(HELD)

    def live_over(self, reason: str) -> None:
        """The live exchange has ended; without the body's end a copy can only be given up. `reason` is live's."""
        if self.over:
            return
        gone = reason == "client_gone"
        if gone and not (self._ended and self.shadow.finish):
            self.abandon("client_gone")
        elif not self._ended:
            self.abandon("live_over")
        elif self._waits:
            self._cut_short()

    def _charge(self, size: int) -> None:
        lane = self.lane
        self._charged += size
        lane.held += size
        if lane.held > lane.max_bytes:
            self.abandon("budget_bytes")

    def _release(self, size: int) -> None:
        self._charged -= size
        self.lane.held -= size

    # The pool's words: `Waiter`.

    def connected(self, call: Call, target: Target) -> None:
        """A connection is there: send what is at hand."""
        self._target = target
        self._call = call
        try:
            self._send(call)
        except Exception:
            log.exception("route %s: a copy for %s failed in the proxy", self.lane.route, self.shadow.backend.name)
            self.abandon("not_mirrorable")

    def unavailable(self, failure: Failure, target: Target | None) -> None:
        """No connection was to be had; a copy asks only once."""
        self._end("budget_requests" if failure.reason == "overloaded" else "shadow_error")

    def _send(self, call: Call) -> None:
        request, target, backend = self._request, self._target, self.shadow.backend
        assert request is not None and target is not None
        held = self._held
        length = request.length
        if self._ended:
            length = self._size
        elif request.wraps is not None:
            length = None  # the declared one is live's, whose own rewriting may change it yet
        if backend.json_rewrite is not None:
            try:
                content = rewritten_json(backend.json_rewrite, request, b"".join(held))
            except Failure:
                self.abandon("not_mirrorable")
                return
            length = len(content)
            held = [content] if content else []
        whole = self._ended and len(held) <= 1
        first, self._held = held[0] if held else b"", held[1:]
        self._request = None
        self.sent = True
        self._finished = whole
        self._release(self._charged)
        self._writing = len(first)
        call.send(
            self, backend, request.method, target_of(request, backend, self.shadow),
            outgoing_authority(backend, target.endpoint, request), self._fields, self._own, first, whole, length, None,
        )  # fmt: skip
        if not self._writable:
            self._charge(sum(map(len, self._held)))
        elif self._held:
            self._write_held(call)

    def _write(self, call: Call, chunk: bytes) -> None:
        self._writing = len(chunk)
        call.write(chunk)

    def _write_held(self, call: Call) -> None:
        """Write what was held, as far as the shadow takes it; what its connection keeps is charged already."""
        held, self._held = self._held, []
        for at, chunk in enumerate(held):
            self._write(call, chunk)
            if self.over:
                return
            if not self._writable:
                rest = held[at + 1 :]
                self._held = rest
                self._charge(sum(map(len, rest)))
                return
        if self._ended:
            self._finish()

    # The shadow's words: `Caller`.

    def call_writable(self, writable: bool) -> None:
        """Whether the shadow takes more; what its connection keeps is charged meanwhile."""
        call = self._call
        if call is None or self.over:
            return
        self._writable = writable
        if not writable:  # bytes are kept whole until the last of them has left
            self._charge(max(call.unsent(), self._writing))
            return
        self._release(self._charged)
        self._write_held(call)

    def call_interim(self, status: int, headers: Headers) -> None:
        """Nobody waits for it."""

    def call_answered(self, response: Response) -> None:
        """The head is in: it ends here, with whatever it would set or ask for."""
        now = monotonic()
        self.status = response.status
        self.first_byte = now - self.mirrored.asked
        self._last = now
        if response.unsized:
            self.tokens = clock_of(response, now)
        self._receive(len(response.content), response.ended)

    def call_data(self, chunk: bytes, ended: bool) -> None:
        """More of an answer that nobody reads."""
        now = monotonic()
        self.gap = max(self.gap, now - self._last)
        self._last = now
        if self.tokens is not None:
            self.tokens.take(chunk, now)
        self._receive(len(chunk), ended)

    def _receive(self, size: int, ended: bool) -> None:
        self.response_bytes += size
        if ended:
            self._call = None
            self._end("")
        elif self._is_ahead():
            if self.mirrored.over:
                self._cut_short()
            elif self._call is not None and not self._waits:
                self._waits = True
                self.held_back = self.mirrored.waited_for = True
                self._call.pause(HELD)

    def _is_ahead(self) -> bool:
        return self.response_bytes > 2 * self.mirrored.live_bytes + HEAD_START_BYTES

    def _cut_short(self) -> None:
        """It answers at greater length than a copy may: to be blamed only where live answered whole."""
        self.abandon("shadow_error" if self.mirrored.complete else "live_over")

    def call_switched(self, response: Response, first: bytes) -> None:
        """Never asked for."""
        self.abandon("shadow_error")

    def call_lost(self, failure: Failure) -> None:
        """The call failed; it is not made again. A shadow that let time run out over the body is slow to read."""
        self._call = None
        if failure.reason != "upstream_timeout":
            self._end("shadow_error")
        else:
            self._end("shadow_timeout" if self._writable else "slow_shadow")

    def client_progressed(self) -> bool:
        """A copy that waits for live is in no hurry."""
        return True

    # Endings.

    def abandon(self, reason: str) -> None:
        """Give the copy up, for this reason."""
        if self.over:
            return
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._end(reason)

    def _end(self, reason: str) -> None:
        """The end, exactly once: all that the copy occupied is given back here and nowhere else."""
        if self.over:
            return
        self.over = True
        self.reason = reason
        self.censored = self.sent and bool(reason) and reason in CENSORING
        now = monotonic()
        self.total = now - self.mirrored.asked
        if reason and self._last:
            self.gap = max(self.gap, now - self._last)  # the silence that ended it is one of its gaps
        self._release(self._charged)
        self._held.clear()
        self._request = None
        if self._timer is not None:
            self._timer.cancel()
        lane = self.lane
        lane.copies.discard(self)
        if self._target is None:
            lane.pool.forget(self)
        lane.pool.leave(self._target)
        self._stats.in_flight -= 1
        if self.tokens is not None:
            self._count_tokens(self.tokens)
        if self.sent:  # what never reached the shadow says nothing of it
            self._stats.record(
                self.status, reason or None, self.first_byte or NEVER, self.total, self._size, self.response_bytes
            )
        lane.judge(self._breaker, reason, self._probes)
        self.mirrored.copy_over(self)

    def _count_tokens(self, tokens: TokenClock) -> None:
        asked = self.mirrored.asked
        self.stream = tokens.told(asked)
        self._stats.record_stream(tokens.first_s(asked), tokens.between_s())

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it was sent; None where it got no connection."""
        return None if self._target is None else self._target.endpoint

    @property
    def request_bytes(self) -> int:
        """How much of the body live was sent while it was under way."""
        return self._size


def shadow_fields(fields: Fields, lane: Lane) -> Fields:
    """What a copy carries of the fields that live is sent: no credentials, and an idempotency key of its own. They are
    the very same where nothing is to be changed."""
    altered = lane.altered
    for name, _ in fields.headers:
        if name in altered:
            break
    else:
        return fields
    headers: Headers = []
    for name, value in fields.headers:
        if name not in altered:
            headers.append((name, value))
        elif name == IDEMPOTENCY_KEY and name not in lane.shadow.removed:
            headers.append((name, lane.own_key(value)))
    return Fields(headers)
