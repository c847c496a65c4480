"""The life of a request. Read this first.

`begin` runs the request down its route's chain; `_dispatch` asks the chosen backend; `connected` sends; `call_answered`
runs the answer back up the chain; `_send` and `call_data` pass it to the client; `_complete` ends everything, exactly
once. Nothing on this path waits unless a filter asks for it: bytes are passed on in the turn of the loop in which they
came, and whoever cannot take more pauses the other side.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..filters.api import Failure, Headers, Reason, Request, Response
from . import trace
from .bodies import Outlet
from .chain import complete, skipped_from
from .dispatch import Dispatch
from .ending import Ending, went_wrong
from .exchange import PEER, Client
from .outgoing import last_answer
from .pool import LimitReached
from .rescue import problem
from .telemetry.tokens import TokenClock, clock_of

if TYPE_CHECKING:
    from ..config.snapshot import Route
    from .http1.downstream import ServerConnection
    from .plane import DataPlane
    from .shadow import Copy

_now: Final = monotonic
_COUNTING_HOPS: Final = frozenset({b"OPTIONS", b"TRACE"})


class LiveExchange(Dispatch):
    """An exchange on its way. It is the `Caller` of its upstream call, and answers through its `Client`.

    Mutable state, beside that of `Dispatch`: `_begun`, whether the client has the head; `_outlet`, the answer's body
    where it streams; `_answered`, when the backend's last byte came; `_tokens`, where the answer is a stream of events;
    `_reason`, why the answer is a refusal, and `_refused`, whether it is a limit's. What the exchange occupies (a place
    of the backend, a timer, a task) is given back in `_complete` and nowhere else.
    """

    __slots__ = (
        "_answered", "_begun", "_first_byte", "_outlet", "_reason", "_refused", "_sent_bytes", "_started", "_status",
        "_tokens",
    )  # fmt: skip

    def __init__(
        self, plane: DataPlane, client: ServerConnection, request: Request, route: Route, started: float,
        spans: trace.Context, upgrade: bytes | None,
    ) -> None:  # fmt: skip
        super().__init__(plane, client, request, route, spans, upgrade)
        self._started = started
        self._outlet: Outlet | None = None
        self._tokens: TokenClock | None = None
        self._begun = False
        self._first_byte = self._answered = 0.0
        self._sent_bytes = 0
        self._status = 0
        self._reason: Reason | None = None
        self._refused = False

    # Down the chain.

    def begin(self) -> None:
        """Start the exchange: run the request down its route's chain."""
        if self._route.timeout:
            self._limit(self._route.timeout)
        if not self._route.name:
            self._fail(Failure("no_route", "no route matches this request"))
        elif self.request.method in _COUNTING_HOPS:
            self._count_hop()
        else:
            self._run_request(0)

    def _count_hop(self) -> None:
        try:
            answer = last_answer(self.request)
        except Failure as failure:
            self._fail(failure)
            return
        if answer is None:
            self._run_request(0)
        else:
            self._run_response(answer, 0)

    def _run_request(self, index: int) -> None:
        hooks = self._route.chain.request
        try:
            while index < len(hooks):
                position, hook = hooks[index]
                index += 1
                if self.skips is not None:
                    self._skipped |= skipped_from(self, self._route, self._entered)
                    if self._skipped >> position & 1:
                        continue
                self._entered = position + 1
                result = hook(self)
                if result is None:
                    continue
                if isinstance(result, Response):
                    self._run_response(result, 0)
                else:
                    self._awaited = result
                    self._spawn(self._await_request(result, index))
                return
            if self.skips is not None:
                self._skipped |= skipped_from(self, self._route, self._entered)
            self._entered = len(self._route.chain.filters)
        except Exception as error:
            self._fail(self._named(error))
            return
        self._dispatch()

    async def _await_request(self, result: Awaitable[Response | None], index: int) -> None:
        self._awaited = None
        try:
            response = await result
        except Exception as error:
            self._fail(self._named(error))
            return
        if self._settled:
            return
        if response is None:
            self._run_request(index)
        else:
            self._run_response(response, 0)

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
            if writable:
                self._call.resume(PEER)
            else:
                self._call.pause(PEER)
                if self._mirrored is not None:
                    self._mirrored.tainted = True  # from now on the client is measured, not the backend

    def client_progressed(self) -> bool:
        """Whether the client took any byte of the answer lately."""
        return self._client is not None and self._client.progressed()

    # The backend's words: `Caller` in proxy/exchange.py.

    def call_writable(self, writable: bool) -> None:
        """Back-pressure from the backend to the client."""
        if self._client is not None:
            if writable:
                self._client.resume(PEER)
            else:
                self._client.pause(PEER)

    def call_interim(self, status: int, headers: Headers) -> None:
        """A 1xx answer."""
        if self._client is not None and not self._begun:
            self._client.interim(status, headers)

    def call_answered(self, response: Response) -> None:
        """The backend's head is in: run the answer back up the chain."""
        self._first_byte = _now()
        if response.unsized:
            self._tokens = clock_of(response, self._first_byte)
        if self._mirrored is not None:
            self._mirrored.live_answered(len(response.content), self._first_byte)
        self.answered_with = response.status
        if response.ended:
            self._call = None
            self._answered = self._first_byte
        self._run_response(response, 0)

    def call_data(self, chunk: bytes, ended: bool) -> None:
        """More of the answer's body."""
        now = _now()
        if self._tokens is not None:
            self._tokens.take(chunk, now)
        if self._mirrored is not None:
            self._mirrored.live_data(len(chunk), now)
        if ended:
            self._call = None
            self._answered = now
        if self._outlet is not None:
            self._outlet.take(chunk, ended)
        elif ended:
            self._complete(None)
        elif self._client is not None:  # a tunnel
            self._client.data(chunk, False)

    def call_switched(self, response: Response, first: bytes) -> None:
        """The backend switched protocols: from now on bytes pass through both ways."""
        self._first_byte = _now()
        self._begun = True
        self._status = response.status
        if self._mirrored is not None:
            self._mirrored.live_answered(len(first), self._first_byte)
        self.answered_with = response.status
        response.append(b"x-request-id", self.id)
        if self._client is not None and self._call is not None:
            self._client.tunnel(response, self._call, first)

    def call_lost(self, failure: Failure) -> None:
        """The call failed: it is made once more where that is safe, else the client is told."""
        call, self._call = self._call, None
        if not self._made_again(call, failure):
            self._fail(failure)

    # Back up the chain.

    def _run_response(self, response: Response, index: int) -> None:
        hooks = self._route.chain.response
        try:
            while index < len(hooks):
                position, hook = hooks[index]
                index += 1
                if position >= self._entered or self._skipped >> position & 1:
                    continue
                result = hook(self, response)
                if not isinstance(result, Response):
                    self._open_outlet().hold()
                    self._awaited = result
                    self._spawn(self._await_response(result, index))
                    return
                response = result
        except Exception as error:
            self._fail_in(index, error)
            return
        self._send(response)

    async def _await_response(self, result: Awaitable[Response], index: int) -> None:
        self._awaited = None
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
        if response.ended and self._call is not None:  # another answer took its place: nobody wants the backend's
            self._call.cancel()
            self._call = self._outlet = None
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
                if response.ended and response.length is not None:
                    response.length = len(response.content)
            response.content, response.ended = b"", False
        self._sent_bytes = len(response.content)
        if client is not None:
            client.answer(response)
        outlet.release(response)

    def _open_outlet(self) -> Outlet:
        if self._outlet is None:
            self._outlet = Outlet(self._client, self._call, self._spawn, self._delivered, self._broken)
        return self._outlet

    def _delivered(self) -> None:
        self._complete(self._reason)

    # Endings.

    def _fail(self, failure: Failure, index: int = 0) -> None:
        """Tell the client, by way of the answer hooks from `index` on, or break its answer off when that has begun:
        never a second head."""
        if self._over or (self._settled and not self._begun and index == 0):
            return
        self._settled = True
        if isinstance(failure, LimitReached):
            self._refused = not self._tried and not self._resent  # else the backend took its time before
        self._withdraw()
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
        self._over = self._settled = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        stats = self._released()
        end = self._ending(_now(), reason)
        if self._tokens is not None:
            stats.record_stream(self._tokens.first_s(self._started), self._tokens.between_s())
        stats.record_live(end)
        if went_wrong(reason):
            self._plane.stats.fail(self, end)
        mirrored = self._mirrored
        copies: list[Copy] | None = None
        if mirrored is not None:
            self._begin_copies(mirrored, True)
            copies = mirrored.live_over(end)
        if self.teller is not None:
            self.teller.close(self, end, stats, mirrored, copies)
        if self._route.chain.complete:
            complete(self, self._route, self._entered, self._skipped, end.outcome(self.backend))
        client = self._client
        if client is not None:
            self._client = None
            client.finished()

    def _ending(self, now: float, reason: Reason | None) -> Ending:
        return Ending(
            route=self._route,
            config=self._config,
            target=self.target,
            tried=self._tried[-1] if self._tried else None,
            started=self._started,
            asked=self._asked,
            first_byte=self._first_byte,
            answered=self._answered,
            ended=now,
            status=self._status,
            reason=reason,
            refused=self._refused,
            received=self._intake.size if self._intake is not None else len(self.request.content),
            sent=self._sent_bytes if self._outlet is None else self._sent_bytes + self._outlet.size,
            stream=self._tokens.told(self._asked) if self._tokens is not None else None,
        )
