"""An exchange's way to its backend: a place among those in flight, a connection, the request, and what may be retried.

Retried is only what cannot have had an effect: where no byte was sent, another endpoint is asked; where a connection
that had served before closed without one byte of an answer, a safe request is sent once more (RFC 9110 section 9.2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ..config.snapshot import target_of
from ..filters.api import Exchange, Failure, Request
from . import trace
from .bodies import Intake
from .chain import failure_of
from .exchange import Call, Caller, Client, Fields
from .mirrored import Mirrored
from .opening import Waiter
from .outgoing import outgoing_authority, rewritten_json, trace_headers
from .pool import LimitReached
from .rescue import RESCUES
from .telemetry.account import Attempt

if TYPE_CHECKING:
    from ..config.snapshot import Backend, Route
    from .http1.downstream import ServerConnection
    from .plane import DataPlane
    from .pool import BackendPool, Target
    from .telemetry.count import CallTally
    from .telemetry.teller import Teller

_now: Final = monotonic
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"})
_MAX_ENDPOINTS_TRIED: Final = 3


class Dispatch(Exchange, Caller, Waiter):
    """The part of a live exchange that faces the backend.

    Mutable state: `_entered`, how far down the chain the request came, and `_skipped`, the positions passed over, a bit
    each; `_backend`, the one that was chosen, as this exchange's snapshot has it, and `_pool`, where it has a place;
    `target` and `_call`, the call under way; `_tried`, the targets that could not be reached; `_asked`, when a
    connection was asked for first or a place refused, monotonic, 0 before; `_settled`, once its answer is decided
    without the backend, and `_over`, at its end.

    Where control may be told of it: `teller`, who decides that, and what it `drew` at the head; how the request came
    (`port`, `minor` version); the status that the backend `answered_with`, 0 before; the `attempts` that failed.
    """

    __slots__ = (
        "_asked", "_awaited", "_backend", "_backends", "_call", "_client", "_config", "_entered", "_intake",
        "_mirrored", "_over", "_plane", "_pool", "_pools", "_resent", "_route", "_settled", "_skipped",
        "_stats", "_tasks", "_timer", "_tried", "_upgrade", "answered_with", "attempts", "drew", "minor", "port",
        "spans", "target", "teller",
    )  # fmt: skip

    def __init__(
        self, plane: DataPlane, client: ServerConnection, request: Request, route: Route, spans: trace.Context,
        upgrade: bytes | None,
    ) -> None:  # fmt: skip
        super().__init__(request, route.name, route.backend.name, client.request_id, client.client, client.trusted)
        self._plane = plane
        self._client: Client | None = client
        self._route = route
        self.spans = spans
        self._upgrade = upgrade
        self._config = plane.version
        self._mirrored: Mirrored | None = None
        self._intake: Intake | None = None
        if not request.ended:
            self._intake = Intake(request, client, self._spawn, self._broken)
        self._entered = 0
        self._skipped = 0
        self.upgrades = upgrade is not None
        self._call: Call | None = None
        self._pool: BackendPool | None = None
        self.target: Target | None = None
        self.teller: Teller | None = None
        self.drew = 0
        self.port = client.port
        self.minor = 1
        self.answered_with = 0
        self.attempts: list[Attempt] | None = None
        self._tried: list[Target] = []
        self._asked = 0.0
        self._resent = False
        self._over = False
        self._settled = False
        self._pools = plane.pools
        assert plane.snapshot is not None
        self._backends = plane.snapshot.backends
        self._backend = route.backend
        self._stats: CallTally | None = None
        self._tasks: list[asyncio.Task[None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._awaited: Awaitable[Any] | None = None

    def _fail(self, failure: Failure) -> None:
        raise NotImplementedError

    def _dispatch(self) -> None:
        """Ask the chosen backend for a connection; `connected` or `unavailable` follows, at once or later."""
        try:
            pool = self._pools[self.backend]
            backend = self._backend = self._backends[self.backend]
            self._enter(pool, backend)  # before any body: what is held of one has the place's bound, and its time
            if self.request.ended or backend.json_rewrite is None:
                self._connect(pool)
            else:
                self._spawn(self._read_then_connect(pool, backend))
        except LimitReached as refusal:
            self._asked = _now()
            self._fail(refusal)
        except Exception as error:
            self._fail(self._named(error, -1))

    async def _read_then_connect(self, pool: BackendPool, backend: Backend) -> None:
        try:
            await self.request.read(backend.json_rewrite_limit)
            if not self._settled:
                self._connect(pool)
        except Exception as error:
            self._fail(self._named(error, -1))

    def _enter(self, pool: BackendPool, backend: Backend) -> None:
        self._stats = pool.stats_of(self.route, self.arm, backend)
        if self.copies is not None:
            self._mirrored = Mirrored(self._plane, self, backend, self._config)
        pool.enter()
        self._stats.in_flight += 1
        self._pool = pool
        if backend.total_timeout:
            self._limit(backend.total_timeout)

    def _connect(self, pool: BackendPool) -> None:
        mirrored = self._mirrored
        self._asked = _now()
        pool.connect(self, self._tried)
        if mirrored is not None:
            self._begin_copies(mirrored, False)

    def _begin_copies(self, mirrored: Mirrored, over: bool) -> None:
        """Where they have not begun yet. `over`: live ended before they could, for a limit was reached, say."""
        mirrored.begin(self, self._asked, self.spans, self.teller is not None and self.teller.link, over)

    def connected(self, call: Call, target: Target) -> None:
        """A connection is there: send the request, as much of it as is at hand, and read the answer meanwhile."""
        self.target = target
        self._call = call
        try:
            self._send_request(call, target, self._backend)
        except Exception as error:
            self._fail(self._named(error, -1))

    def _send_request(self, call: Call, target: Target, backend: Backend) -> None:
        request, intake = self.request, self._intake
        content, ended, length = request.content, request.ended, request.length
        mirrored: Mirrored | None = None  # that hears of these bytes
        if ended and backend.json_rewrite is not None:
            content = rewritten_json(backend.json_rewrite, request, content)
            length = request.length = None if length is None and request.wraps is not None else len(content)
        if request.wraps is not None:
            intake = self._intake = intake or Intake(request, self._client, self._spawn, self._broken)
            if ended:
                intake.replace(content)
            intake.mirrored = self._mirrored
            content, ended = b"", False
        elif ended:
            length = len(content)  # a filter may have put another body in its place
        elif intake is not None:
            content, ended = intake.release(), intake.ended
            intake.mirrored = mirrored = self._mirrored
        own = trace_headers(self.spans, self.spans.span_id)
        fields: Fields | None = None  # that copies send, too
        if self._mirrored is not None:
            fields = self._mirrored.fields
        else:
            own = request.headers + own
        call.send(
            self, backend, request.method, target_of(request, backend),
            outgoing_authority(backend, target.endpoint, request), fields, own, content, ended, length, self._upgrade,
        )  # fmt: skip
        if mirrored is not None:
            mirrored.take(content, ended)
        if not ended and intake is not None and self._call is not None:
            intake.follow(call)

    def unavailable(self, failure: Failure, target: Target | None) -> None:
        """No connection was to be had. No byte was sent, so another endpoint may be asked."""
        if target is not None:
            self._tried.append(target)
        pool = self._pool
        if (
            pool is not None
            and RESCUES[failure.reason].elsewhere
            and len(self._tried) < _MAX_ENDPOINTS_TRIED
            and pool.has_other(self._tried)
        ):
            self._plane.stats.count("retries_connect")
            self._ask_again(target, failure)
            pool.connect(self, self._tried)
        else:
            self._fail(failure)

    def _made_again(self, call: Call | None, failure: Failure) -> bool:
        """Whether the lost call is on its way once more: its close may have crossed our request."""
        pool, target = self._pool, self.target
        if (
            failure.reason != "upstream_closed"
            or call is None
            or not call.reused
            or call.answered
            or self._resent
            or not self.request.ended
            or self.request.wraps is not None  # which have seen the body: it cannot pass them again
            or self.request.method not in _SAFE
            or pool is None
            or target is None
        ):
            return False
        self._resent = True
        self._plane.stats.count("retries_stale")
        self._ask_again(target, failure)
        self.target = None
        pool.leave(target)
        pool.connect(self, self._tried, fresh=True)
        return True

    def _ask_again(self, target: Target | None, failure: Failure) -> None:
        """The call is made once more, as a span of its own."""
        if self.teller is not None:
            endpoint, attempts = None if target is None else target.endpoint, self.attempts or []
            asked = attempts[-1].ended if attempts else self._asked
            self.attempts = [*attempts, Attempt(self.spans.span_id, endpoint, asked, _now(), failure.reason)]
        self.spans.span_id = self._plane.span_id()

    def _released(self) -> CallTally:
        """Give everything back; return where the exchange is counted."""
        if self._timer is not None:
            self._timer.cancel()
        self._withdraw()
        pool, stats = self._pool, self._stats
        if pool is not None and stats is not None:
            pool.leave(self.target)
            pool.exit()
            stats.in_flight -= 1
        if stats is None or (pool is not None and not self._asked):  # before any backend was asked: it is none's doing
            return self._plane.stats.call(self.route, "", "")
        return stats

    def _withdraw(self) -> None:
        """Nothing that is still under way for the request matters any more: filters that wait, a place in a queue."""
        if self._pool is not None and self.target is None:
            self._pool.forget(self)
        if self._tasks is not None:
            current = asyncio.current_task()
            for task in self._tasks:
                if task is not current:
                    task.cancel()
            self._tasks = None
        awaited, self._awaited = self._awaited, None
        if awaited is not None and isinstance(awaited, Coroutine):  # its task was cancelled before it began to wait
            awaited.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            self._tasks = []
        self._tasks.append(self._plane.spawn_task(work))

    def _limit(self, seconds: float) -> None:
        """The exchange ends within so many seconds, or earlier where that was said before."""
        if self._timer is not None:
            if self._timer.when() <= self._plane.loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = self._plane.loop.call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        self._fail(Failure("upstream_timeout", "the time for the whole exchange is over"))

    def _broken(self, error: Exception) -> None:
        self._fail(self._named(error))

    def _named(self, error: Exception, position: int | None = None) -> Failure:
        return failure_of(error, self._route, self._entered - 1 if position is None else position, self)
