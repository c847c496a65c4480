"""The life of a request. Read this first.

`begin` finds the route and runs the request down its chain; `_dispatch` asks the chosen backend; `call_answered`
runs the answer back up the chain; `_send` and `call_data` pass it to the client; `_complete` ends everything,
exactly once. Nothing on this path waits unless a filter asks for it: bytes are passed on in the turn of the loop in
which they came, and whoever cannot take more pauses the other side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..filters.api import Exchange, Failure, Headers, Outcome, Reason, Request, Response
from . import trace
from .bodies import Intake, wrap_chunk, wrap_end
from .exchange import Call, Client, Outgoing
from .rescue import RESCUES, problem
from .rewrite import rewritten_json, rewritten_target

if TYPE_CHECKING:
    from ..config.snapshot import Backend, Route
    from .http1.downstream import ServerConnection
    from .plane import DataPlane
    from .pool import BackendPool, Target

log = logging.getLogger(__name__)

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"})
_MAX_ENDPOINTS_TRIED = 3


class LiveExchange(Exchange):
    """An exchange on its way. It is the `Caller` of its upstream call, and answers through its `Client`.

    Mutable state: `_entered`, how far down the chain the request came; `_call`, the upstream call under way; `_begun`,
    whether the client has the head; `_over`. What it occupies (a place of the backend, a timer, a task) is given back
    in `_complete` and nowhere else.
    """

    __slots__ = (
        "_begun", "_call", "_client", "_entered", "_first_byte", "_held_answer", "_intake", "_over", "_plane", "_pool",
        "_reason", "_resent", "_response_bytes", "_route", "_spans", "_started", "_stats", "_status", "_task", "_timer",
        "_tried", "_tunnel", "_upgrade", "target",
    )  # fmt: skip

    def __init__(
        self, plane: DataPlane, client: ServerConnection, request: Request, route: Route, started: float,
        spans: trace.Context, upgrade: bytes | None,
    ) -> None:  # fmt: skip
        super().__init__(
            request, route=route.name, backend=route.backend.name, id=client.request_id, client=client.client,
            trusted=client.trusted,
        )  # fmt: skip
        self._plane = plane
        self._client: Client | None = client
        self._route = route
        self._upgrade = upgrade
        self._started = started
        self._spans = spans
        self._intake = Intake(request, client) if not request.ended else None
        self._entered = 0
        self._call: Call | None = None
        self._pool: BackendPool | None = None
        self.target: Target | None = None
        self._tried: tuple[Target, ...] = ()
        self._resent = self._begun = self._over = self._tunnel = False
        self._held_answer: list[tuple[bytes, bool]] | None = None
        self._first_byte = 0.0
        self._response_bytes = self._status = 0
        self._reason: Reason | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stats = plane.stats_of(route, route.backend)
        self._stats.in_flight += 1

    # Down the chain.

    def begin(self) -> None:
        """Start the exchange: run the request down its route's chain."""
        if self._intake is not None:
            self.request.reader = self._intake.read
        if self._route.timeout:
            self._limit(self._route.timeout)
        if self._plane.draining_refuses:
            self._fail(Failure("draining", "this replica is shutting down"))
        elif not self._route.name:
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
                    self._answer(result)
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
            self._answer(response)

    # To the backend.

    def _dispatch(self) -> None:
        """Ask the chosen backend for a connection; `connected` or `unavailable` follows, at once or later."""
        backend = self._plane.backend(self.backend)
        if backend is not self._route.backend:
            self._stats.in_flight -= 1
            self._stats = self._plane.stats_of(self._route, backend)
            self._stats.in_flight += 1
        if backend.json_rewrite is not None and not self.request.ended:
            self._spawn(self._read_then_connect(backend))
        else:
            self._connect(backend)

    async def _read_then_connect(self, backend: Backend) -> None:
        try:
            await self.request.read(backend.json_rewrite_limit)
            if not self._over:
                self._connect(backend)
        except Exception as error:
            self._fail(self._named(error))

    def _connect(self, backend: Backend) -> None:
        pool = self._plane.pool(backend.name)
        pool.enter()
        self._pool = pool
        if backend.total_timeout and (not self._route.timeout or backend.total_timeout < self._route.timeout):
            self._limit(backend.total_timeout)
        pool.connect(self, self._tried)

    def connected(self, call: Call, target: Target) -> None:
        """A connection is there: send the request, as much of it as is at hand, and read the answer meanwhile."""
        self.target = target
        self._call = call
        request, intake = self.request, self._intake
        try:
            outgoing = self._outgoing(target)
        except Exception as error:
            self._fail(self._named(error))
            return
        if request.wraps is None:
            call.send(self, outgoing, target.backend)
            if not outgoing.ended and intake is not None:
                intake.follow(call)
        else:
            call.send(self, outgoing, target.backend)

    def _outgoing(self, target: Target) -> Outgoing:
        request, backend, intake = self.request, target.backend, self._intake
        content, ended, length = request.content, request.ended, request.length
        if intake is not None and not ended:
            content, ended = intake.release(), intake.ended
        if request.wraps is not None:
            if not ended:
                raise TypeError("wrapped request bodies that still stream are not served yet")
            content = wrap_chunk(request.wraps, content)
        if backend.json_rewrite is not None:
            content = rewritten_json(backend.json_rewrite, request, content)
            length = len(content)
        if backend.host == "keep":
            authority = request.authority or target.endpoint.authority
        else:
            authority = target.endpoint.authority if backend.host == "endpoint" else backend.host
        spans = self._spans
        traceparent = b"00-%b-%b-%b" % (spans.trace_id, spans.span_id, spans.flags)
        return Outgoing(
            request.method,
            rewritten_target(backend.path_rewrite, request) if backend.path_rewrite else request.target,
            authority,
            [*request.headers, (b"traceparent", traceparent), *spans.carried],
            content,
            ended,
            length,
            self._upgrade,
        )

    def unavailable(self, failure: Failure, target: Target | None) -> None:
        """No connection was to be had. No byte was sent, so another endpoint may be asked."""
        if target is not None:
            self._tried += (target,)
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
            if self._call is not None:
                self._call.resume()
            return
        if self._intake is not None:
            self._intake.fail(Failure("client_gone"))
        self._complete("client_gone")

    def client_writable(self, writable: bool) -> None:
        """Back-pressure from the client to the backend."""
        if self._call is not None:
            if writable and self._held_answer is None:
                self._call.resume()
            else:
                self._call.pause()

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
        self._answer(response)

    def call_data(self, chunk: bytes, ended: bool) -> None:
        """More of the answer's body."""
        if ended:
            self._call = None
        if self._held_answer is not None:
            self._held_answer.append((chunk, ended))
            if self._call is not None:
                self._call.pause()
        elif self.response is not None and self.response.wraps is not None:
            self._pass_wrapped(self.response, chunk, ended)
        else:
            self._pass(chunk, ended)

    def call_switched(self, response: Response, first: bytes) -> None:
        """The backend switched protocols: from now on bytes pass through both ways."""
        self._first_byte = monotonic()
        self._begun = self._tunnel = True
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

    def _answer(self, response: Response) -> None:
        self._run_response(response, 0)

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
                    self._hold_answer()
                    self._spawn(self._await_response(result, index))
                    return
                response = result
        except Exception as error:
            self._entered = max(0, position)
            self._fail(self._named(error))
            return
        self._send(response)

    async def _await_response(self, result: Awaitable[Response], index: int) -> None:
        try:
            response = await result
        except Exception as error:
            self._entered = self._route.chain.response[index - 1][0]
            self._fail(self._named(error))
            return
        if not self._over:
            self._run_response(response, index)

    def _hold_answer(self) -> None:
        if self._held_answer is None:
            self._held_answer = []
        if self._call is not None:
            self._call.pause()

    # To the client.

    def _send(self, response: Response) -> None:
        self.response = response
        self._status = response.status
        response.headers = [*response.headers, (b"x-request-id", self.id)]
        if self.trusted and not response.local:
            response.headers.append((b"x-understudy-backend", self.backend.encode()))
        held, self._held_answer = self._held_answer, None
        self._begun = True
        if response.wraps is not None:
            content, ended, response.content, response.ended = response.content, response.ended, b"", False
            if self._client is not None:
                self._client.answer(response)
            held = [(content, ended), *(held or ())]
        else:
            self._response_bytes += len(response.content)
            if self._client is not None:
                self._client.answer(response)
            if response.ended:
                self._complete(self._reason)
                return
        if held:
            for chunk, ended in held:
                self.call_data(chunk, ended)
        if self._call is not None and self._held_answer is None and not self._over:
            self._call.resume()

    def _pass(self, chunk: bytes, ended: bool) -> None:
        self._response_bytes += len(chunk)
        if self._client is not None:
            self._client.data(chunk, ended)
        if ended:
            self._complete(self._reason)

    def _pass_wrapped(self, response: Response, chunk: bytes, ended: bool) -> None:
        assert response.wraps is not None
        try:
            chunk = wrap_chunk(response.wraps, chunk)
        except Exception as error:
            self._fail(self._named(error))
            return
        if chunk:
            self._pass(chunk, False)
        if ended:
            self._hold_answer()
            self._spawn(self._end_wrapped(response))

    async def _end_wrapped(self, response: Response) -> None:
        try:
            held = await wrap_end(response.wraps or ())
        except Exception as error:
            self._fail(self._named(error))
            return
        if not self._over:
            self._pass(held, True)

    # Endings.

    def _fail(self, failure: Failure) -> None:
        """Tell the client, or break its answer off when that has begun: never a second head."""
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
        self._held_answer = None
        self._reason = failure.reason
        self._answer(problem(failure, self.id))

    def _complete(self, reason: Reason | None) -> None:
        """The end, exactly once: all that the exchange occupied is given back here and nowhere else."""
        if self._over:
            return
        self._over = True
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        if self._timer is not None:
            self._timer.cancel()
        task = self._task
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()
        pool = self._pool
        if pool is not None:
            pool.leave(self.target)
            pool.exit(self)
        now = monotonic()
        first_byte = self._first_byte - self._started if self._first_byte else None
        received = self._intake.size if self._intake is not None else len(self.request.content)
        self._stats.in_flight -= 1
        self._stats.record(
            self._status, reason, first_byte, now - self._started, received, self._response_bytes
        )
        if self._route.chain.complete:
            self._run_complete(reason, first_byte, now, received)
        client, self._client = self._client, None
        if client is not None:
            client.finished()

    def _run_complete(self, reason: Reason | None, first_byte: float | None, now: float, received: int) -> None:
        outcome = Outcome(
            status=self._status,
            reason=reason,
            backend=self.backend,
            endpoint=self.target.label if self.target is not None else None,
            first_byte_ms=first_byte * 1000 if first_byte is not None else None,
            total_ms=(now - self._started) * 1000,
            request_bytes=received,
            response_bytes=self._response_bytes,
        )
        for position, hook in self._route.chain.complete:
            if position < self._entered:
                try:
                    hook(self, outcome)
                except Exception:
                    log.exception("route %s: filter %s failed in on_complete", self.route, self._filter(position))

    # Helpers.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._plane.spawn_task(work)

    def _limit(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._plane.loop.call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        self._fail(Failure("upstream_timeout", "the time for the whole exchange is over"))

    def _filter(self, position: int) -> str:
        return self._route.chain.names[position]

    def _named(self, error: Exception) -> Failure:
        """A filter's refusal as it is; any other exception is the filter's failure, and is logged with its name."""
        if isinstance(error, Failure):
            return error
        name = self._filter(self._entered - 1) if self._entered else "proxy"
        log.error("route %s: filter %s failed: request %s", self.route, name, self.id.decode(), exc_info=error)
        return Failure("filter_failed", f"the filter {name} failed")
