"""The life of a request. Read this first.

`begin` runs the request down its route's chain; `_dispatch` asks the chosen backend; `connected` sends; `call_answered`
runs the answer back up the chain; `_send` and `call_data` pass it to the client; `_complete` ends everything, exactly
once. Nothing on this path waits unless a filter asks for it: bytes are passed on in the turn of the loop in which they
came, and whoever cannot take more pauses the other side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ..filters.api import Exchange, Failure, Headers, Outcome, Reason, Request, Response
from . import trace
from .bodies import Intake, Outlet
from .chain import complete, failure_of
from .exchange import Call, Client
from .outgoing import outgoing_authority, outgoing_headers, outgoing_target, rewritten_json
from .rescue import RESCUES, problem

if TYPE_CHECKING:
    from ..config.snapshot import Backend, Route
    from .http1.downstream import ServerConnection
    from .plane import DataPlane
    from .pool import BackendPool, Target
    from .telemetry.stats import CallStats

_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"})
_MAX_ENDPOINTS_TRIED: Final = 3


class LiveExchange(Exchange):
    """An exchange on its way. It is the `Caller` of its upstream call, and answers through its `Client`.

    Mutable state: `_entered`, how far down the chain the request came; `_call`, the upstream call under way; `_begun`,
    whether the client has the head; `_over`. What it occupies (a place of the backend, a timer, a task) is given back
    in `_complete` and nowhere else.
    """

    __slots__ = (
        "_begun", "_call", "_client", "_entered", "_first_byte", "_intake", "_outlet", "_over", "_plane", "_pool",
        "_reason", "_resent", "_route", "_sent_bytes", "_spans", "_started", "_stats", "_status", "_task", "_timer",
        "_tried", "_upgrade", "target",
    )  # fmt: skip

    def __init__(
        self, plane: DataPlane, client: ServerConnection, request: Request, route: Route, started: float,
        spans: trace.Context, upgrade: bytes | None,
    ) -> None:  # fmt: skip
        super().__init__(request, route.name, route.backend.name, client.request_id, client.client, client.trusted)
        self._plane = plane
        self._client: Client | None = client
        self._route = route
        self._upgrade = upgrade
        self._started = started
        self._spans = spans
        self._intake: Intake | None = None if request.ended else Intake(request, client, self._spawn, self._undelivered)
        self._outlet: Outlet | None = None
        self._entered = 0
        self._call: Call | None = None
        self._pool: BackendPool | None = None
        self.target: Target | None = None
        self._tried: list[Target] = []
        self._resent = False
        self._begun = False
        self._over = False
        self._first_byte = 0.0
        self._sent_bytes = 0
        self._status = 0
        self._reason: Reason | None = None
        self._stats: CallStats | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # Down the chain.

    def begin(self) -> None:
        """Start the exchange: run the request down its route's chain."""
        if self._route.timeout:
            self._limit(self._route.timeout)
        if not self._route.name:
            self._fail(Failure("no_route", "no route matches this request"))
        else:
            self._run_request(0)

    def _run_request(self, index: int) -> None:
        hooks = self._route.chain.request
        try:
            while index < len(hooks):
                position, hook = hooks[index]
                self._entered = position + 1
                result = hook(self)
                index += 1
                if result is None:
                    continue
                if isinstance(result, Awaitable):
                    self._spawn(self._await_request(result, index))
                else:
                    self._run_response(result, 0)
                return
            self._entered = len(self._route.chain.filters)
            self._dispatch()
        except Exception as error:
            self._fail(self._named(error))

    async def _await_request(self, result: Awaitable[Response | None], index: int) -> None:
        try:
            response = await result
        except Exception as error:
            self._fail(self._named(error))
            return
        if self._over:
            return
        if response is None:
            self._run_request(index)
        else:
            self._run_response(response, 0)

    # To the backend.

    def _dispatch(self) -> None:
        """Ask the chosen backend for a connection; `connected` or `unavailable` follows, at once or later."""
        pool = self._plane.pool(self.backend)
        backend = pool.backend
        if self.request.ended or backend.json_rewrite is None:
            self._connect(pool, backend)
        else:
            self._spawn(self._read_then_connect(pool, backend))

    async def _read_then_connect(self, pool: BackendPool, backend: Backend) -> None:
        try:
            await self.request.read(backend.json_rewrite_limit)
            if not self._over:
                self._connect(pool, backend)
        except Exception as error:
            self._fail(self._named(error))

    def _connect(self, pool: BackendPool, backend: Backend) -> None:
        self._stats = pool.stats_of(self.route)
        pool.enter()
        self._stats.in_flight += 1
        self._pool = pool
        if backend.total_timeout and (not self._route.timeout or backend.total_timeout < self._route.timeout):
            self._limit(backend.total_timeout)
        pool.connect(self, self._tried)

    def connected(self, call: Call, target: Target) -> None:
        """A connection is there: send the request, as much of it as is at hand, and read the answer meanwhile."""
        if self._over:
            call.cancel()
            target.in_flight -= 1
            return
        self.target = target
        self._call = call
        try:
            self._send_request(call, target, target.backend)
        except Exception as error:
            self._fail(self._named(error))

    def _send_request(self, call: Call, target: Target, backend: Backend) -> None:
        request, intake = self.request, self._intake
        content, ended, length = request.content, request.ended, request.length
        if request.wraps is not None:
            intake = self._intake = intake or Intake(request, self._client, self._spawn, self._undelivered)
            content, ended = b"", False
        elif not ended and intake is not None:
            content, ended = intake.release(), intake.ended
        elif backend.json_rewrite is not None:
            content = rewritten_json(backend.json_rewrite, request, content)
            length = len(content)
        call.send(
            self, backend, request.method, outgoing_target(backend, request),
            outgoing_authority(backend, target.endpoint, request), outgoing_headers(request, self._spans), content,
            ended, length, self._upgrade,
        )  # fmt: skip
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
            pool.connect(self, self._tried)
        else:
            self._fail(failure)

    # The client's words.

    def client_data(self, chunk: bytes, ended: bool) -> None:
        """More of the request's body."""
        if self._intake is not None:
            self._intake.take(chunk, ended)

    def client_failed(self, failure: Failure) -> None:
        """The rest of the request will not come, or not as a request may."""
        if self._intake is not None:
            self._intake.fail(failure)
        self._fail(failure)

    def client_gone(self) -> None:
        """The client left: the call ends at once, so that inference stops, unless the exchange is detached."""
        self._client = None
        if self.detached and (self._intake is None or self._intake.ended):
            if self._outlet is not None:
                self._outlet.lose_client()
            return
        if self._intake is not None:
            self._intake.fail(Failure("client_gone"))
        self._complete("client_gone")

    def client_writable(self, writable: bool) -> None:
        """Back-pressure from the client to the backend."""
        if self._call is not None:
            if not writable:
                self._call.pause()
            elif self._outlet is None or self._outlet.held is None:
                self._call.resume()

    def client_progressed(self) -> bool:
        """Whether the client took any byte of the answer lately."""
        return self._client is not None and self._client.progressed()

    # The backend's words: `Caller` in proxy/exchange.py.

    def call_writable(self, writable: bool) -> None:
        """Back-pressure from the backend to the client."""
        if self._client is not None:
            if writable:
                self._client.resume()
            else:
                self._client.pause()

    def call_interim(self, status: int, headers: Headers) -> None:
        """A 1xx answer."""
        if self._client is not None and not self._begun:
            self._client.interim(status, headers)

    def call_answered(self, response: Response) -> None:
        """The backend's head is in: run the answer back up the chain."""
        self._first_byte = monotonic()
        if response.ended:
            self._call = None
        self._run_response(response, 0)

    def call_data(self, chunk: bytes, ended: bool) -> None:
        """More of the answer's body."""
        if ended:
            self._call = None
        if self._outlet is not None:
            self._outlet.take(chunk, ended)
        elif ended:
            self._complete(None)
        elif self._client is not None:  # a tunnel
            self._client.data(chunk, False)

    def call_switched(self, response: Response, first: bytes) -> None:
        """The backend switched protocols: from now on bytes pass through both ways."""
        self._first_byte = monotonic()
        self._begun = True
        self._status = response.status
        response.append(b"x-request-id", self.id)
        if self._client is not None and self._call is not None:
            self._client.tunnel(response, self._call, first)

    def call_lost(self, failure: Failure) -> None:
        """The call failed. A safe request on a connection that had served before is asked once more: its close may
        have crossed our request. Nothing else is ever sent again."""
        call, self._call = self._call, None
        stale = (
            failure.reason == "upstream_closed"
            and call is not None
            and call.reused
            and not call.answered
            and not self._resent
            and self.request.ended
            and self.request.method in _SAFE
        )
        if stale and self._pool is not None and self.target is not None:
            self._resent = True
            self._plane.stats.count("retries_stale")
            target, self.target = self.target, None
            self._pool.leave(target)
            self._pool.connect(self, self._tried, fresh=True)
        else:
            self._fail(failure)

    # Back up the chain.

    def _run_response(self, response: Response, index: int) -> None:
        hooks = self._route.chain.response
        try:
            while index < len(hooks):
                position, hook = hooks[index]
                index += 1
                if position >= self._entered:
                    continue
                result = hook(self, response)
                if isinstance(result, Awaitable):
                    self._open_outlet().hold()
                    self._spawn(self._await_response(result, index))
                    return
                response = result
        except Exception as error:
            self._fail_in(index, error)
            return
        self._send(response)

    async def _await_response(self, result: Awaitable[Response], index: int) -> None:
        try:
            response = await result
        except Exception as error:
            self._fail_in(index, error)
            return
        if not self._over:
            self._run_response(response, index)

    def _fail_in(self, index: int, error: Exception) -> None:
        """The hook before this one failed on the way up: the failure goes on from here, and all that were entered
        still complete."""
        position, _ = self._route.chain.response[index - 1]
        self._fail(self._named(error, position), index)

    # To the client.

    def _send(self, response: Response) -> None:
        self.response = response
        self._status = response.status
        headers = response.headers = response.headers.copy()
        headers.append((b"x-request-id", self.id))
        if self.trusted and not response.local:
            headers.append((b"x-understudy-backend", self.backend.encode()))
        self._begun = True
        client = self._client
        if response.ended and response.wraps is None:
            self._sent_bytes = len(response.content)
            if client is not None:
                client.answer(response)
            self._complete(self._reason)
        else:
            self._stream(client, response)

    def _stream(self, client: Client | None, response: Response) -> None:
        """The body goes on arriving, or has to pass wraps."""
        outlet = self._open_outlet()
        if response.wraps is not None:
            outlet.hold()
            if response.content and outlet.held is not None:
                outlet.held.insert(0, response.content)
            response.content, response.ended = b"", False
        self._sent_bytes = len(response.content)
        if client is not None:
            client.answer(response)
        outlet.release(response)

    def _open_outlet(self) -> Outlet:
        if self._outlet is None:
            self._outlet = Outlet(self._client, self._call, self._spawn, self._delivered, self._undelivered)
        return self._outlet

    def _delivered(self) -> None:
        self._complete(self._reason)

    def _undelivered(self, error: Exception) -> None:
        self._fail(self._named(error))

    # Endings.

    def _fail(self, failure: Failure, index: int = 0) -> None:
        """Tell the client, by way of the answer hooks from `index` on, or break its answer off when that has begun:
        never a second head."""
        if self._over:
            return
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        if self._begun:
            if self._client is not None:
                self._client.cut()
            self._complete(failure.reason)
            return
        self._outlet = None
        self._reason = failure.reason
        self._run_response(problem(failure, self.id), index)

    def _complete(self, reason: Reason | None) -> None:
        """The end, exactly once: all that the exchange occupied is given back here and nowhere else."""
        if self._over:
            return
        self._over = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            self._task.cancel()
        pool, stats = self._pool, self._stats
        if stats is None:
            stats = self._plane.stats.call(self.route, self._route.backend.name, self._route.backend.version)
        elif pool is not None:
            pool.leave(self.target)
            pool.exit(self)
            stats.in_flight -= 1
        now = monotonic()
        total = now - self._started
        first_byte = self._first_byte - self._started if self._first_byte else None
        received = self._intake.size if self._intake is not None else len(self.request.content)
        sent = self._sent_bytes if self._outlet is None else self._sent_bytes + self._outlet.size
        stats.record(self._status, reason, first_byte, total, received, sent)
        if self._route.chain.complete:
            endpoint = None if self.target is None else self.target.label
            first_byte_ms = None if first_byte is None else first_byte * 1000
            outcome = Outcome(self._status, reason, self.backend, endpoint, first_byte_ms, total * 1000, received, sent)
            complete(self, self._route, self._entered, outcome)
        client = self._client
        if client is not None:
            self._client = None
            client.finished()

    # Helpers.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._plane.spawn_task(work)

    def _limit(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._plane.loop.call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        self._fail(Failure("upstream_timeout", "the time for the whole exchange is over"))

    def _named(self, error: Exception, position: int | None = None) -> Failure:
        return failure_of(error, self._route, self._entered - 1 if position is None else position, self)
