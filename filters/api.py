"""All that a filter author may import.

A filter is one step of a route's chain. Requests run down the chain, answers and completions back up it::

    class Filter:
        def on_request(self, exchange)             # head is in, the body may still be arriving
        def on_response(self, exchange, response)  # head is in, no body byte has left
        def on_complete(self, exchange, outcome)   # exactly once, after the last byte, a failure or a disconnect

Nothing here knows a protocol version, a socket or a configuration file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Field lines in order: lower-case name, value. Names repeat where the message repeated them."""

Reason: TypeAlias = Literal[
    "bad_request",
    "client_timeout",
    "body_too_large",
    "target_too_long",
    "head_too_large",
    "no_route",
    "connect_failed",
    "no_endpoint",
    "overloaded",
    "draining",
    "upstream_protocol",
    "upstream_closed",
    "upstream_timeout",
    "truncated",
    "client_gone",
    "filter_failed",
    "key_missing",
    "key_mismatch",
    "key_in_flight",
    "key_consumed",
    "outcome_unknown",
    "key_expired",
    "store_down",
    "shadow_refused",
]
"""Why an exchange did not end with the backend's whole answer. `proxy/rescue.py` maps each to a status."""


class Failure(Exception):
    """What went wrong, by name. Raise it to refuse a request; it never carries a status unless RFC 9110 asks for one.

    `detail` is read by the client: it must hold nothing of the upstream's, and no secret.
    """

    def __init__(self, reason: Reason, detail: str = "", *, status: int | None = None) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail
        self.status = status


class BodyWrap:
    """Stands between a body's source and its destination. One instance serves one message.

    It may hold back bytes, within a bound of its own; what it holds it must give back in `end`.
    """

    def data(self, chunk: bytes) -> bytes:
        """Return what goes on now: the chunk, a replacement, or b"" to hold it back. Must not block."""
        return chunk

    def end(self) -> bytes | Awaitable[bytes]:
        """The source has ended. Return what was held back; an awaitable holds back the message's end."""
        return b""


class Message:
    """Headers and a body: what a request and a response share.

    `content` is the whole body when `ended`; otherwise it holds what arrived before the first hook ran, and the
    rest streams past the wraps. `length` is the declared size in bytes, None when the sender did not say.
    """

    __slots__ = ("_fields", "content", "ended", "headers", "length", "wraps")

    def __init__(self, headers: Headers, *, content: bytes = b"", ended: bool = True, length: int | None = 0) -> None:
        self.headers = headers
        self.content = content
        self.ended = ended
        self.length = length
        self.wraps: list[BodyWrap] | None = None
        self._fields: dict[bytes, bytes] | None = None

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """Lower-case name to value; repeated lines are joined by ", " (`cookie`: "; ") as RFC 9110 section 5.3 says."""
        fields = self._fields
        if fields is None:
            fields = self._fields = dict(self.headers)
            if len(fields) != len(self.headers):
                fields = self._fields = _joined(self.headers)
        return fields

    def get(self, name: bytes) -> bytes | None:
        """The value of a field by its lower-case name, or None."""
        return self.fields.get(name)

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every line of this lower-case name by one. The caller answers for a value without CR, LF or NUL."""
        self.headers = [line for line in self.headers if line[0] != name]
        self.headers.append((name, value))
        self._fields = None

    def append(self, name: bytes, value: bytes) -> None:
        """Add one more line of this lower-case name."""
        self.headers = [*self.headers, (name, value)]
        self._fields = None

    def remove(self, name: bytes) -> None:
        """Drop every line of this lower-case name; nothing happens where there is none."""
        self.headers = [line for line in self.headers if line[0] != name]
        self._fields = None

    def wrap(self, wrap: BodyWrap) -> None:
        """Watch or hold back the body. Only from `on_request` (requests) or `on_response` (responses).

        Wraps see the bytes in the order in which they were added; the declared length must stay true.
        """
        if self.wraps is None:
            self.wraps = []
        self.wraps.append(wrap)


def _joined(headers: Headers) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in fields:
            fields[name] += (b"; " if name == b"cookie" else b", ") + value
        else:
            fields[name] = value
    return fields


class Request(Message):
    """One request, whichever codec read it. `path` and `query` are the raw bytes of `target`, never decoded."""

    __slots__ = ("authority", "method", "path", "query", "reader", "scheme", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        headers: Headers,
        *,
        scheme: bytes = b"http",
        content: bytes = b"",
        ended: bool = True,
        length: int | None = 0,
    ) -> None:
        super().__init__(headers, content=content, ended=ended, length=length)
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.authority = authority
        self.scheme = scheme
        self.reader: Callable[[int], Awaitable[bytes]] | None = None

    async def read(self, limit: int) -> bytes:
        """Hold the whole body, at most `limit` bytes, and return it: the only buffering there is.

        Raises Failure("body_too_large") past the limit, Failure("client_gone") when the sender left.
        """
        if not self.ended:
            if self.length is not None and self.length > limit:
                raise Failure("body_too_large", f"the body is larger than {limit} bytes")
            assert self.reader is not None
            self.content = await self.reader(limit)
        if len(self.content) > limit:
            raise Failure("body_too_large", f"the body is larger than {limit} bytes")
        return self.content


class Response(Message):
    """One answer: the backend's, or a local one that a filter or the proxy made itself."""

    __slots__ = ("local", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        *,
        content: bytes = b"",
        ended: bool = True,
        length: int | None = None,
        local: bool = False,
    ) -> None:
        super().__init__(headers, content=content, ended=ended, length=len(content) if ended else length)
        self.status = status
        self.local = local


class Outcome(NamedTuple):
    """How an exchange ended. Times are milliseconds since the request's head was read; None: it never came."""

    status: int  # what the client was told; 0 when it left before an answer
    reason: Reason | None  # None: the whole answer of the backend, or a local answer, was delivered
    backend: str | None
    endpoint: str | None
    first_byte_ms: float | None
    total_ms: float
    request_bytes: int  # of bodies, as received
    response_bytes: int  # of bodies, as sent


class Exchange:
    """One request and all that happens because of it.

    Mutable state of a filter lives in `notes[self]`, never on the filter, which all requests of a route share.
    """

    __slots__ = ("backend", "client", "detached", "id", "notes", "request", "response", "route", "trusted")

    def __init__(self, request: Request, *, route: str, backend: str, id: bytes, client: str, trusted: bool) -> None:
        self.request = request
        self.response: Response | None = None
        self.route = route
        self.backend = backend  # the name of the backend that will answer; a filter may choose another one
        self.id = id  # the X-Request-Id
        self.client = client  # the peer's address, without its port
        self.trusted = trusted  # the peer is in the listener's `trust`
        self.detached = False
        self.notes: dict[Filter, Any] = {}

    def detach(self) -> None:
        """Losing the client no longer ends the exchange: the answer is read to its end and `on_complete` runs then."""
        self.detached = True


class Services(Protocol):
    """What the worker lends to its filters."""

    @property
    def rng(self) -> Random: ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run work that outlives its exchange, supervised and bounded. Raises Failure("overloaded") at the bound."""
        ...


class FilterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """The YAML of one filter. A subclass names itself with `tag=`; its fields' comments are the user's reference."""

    active: ClassVar[bool] = True  # False: checked, but the machinery comes later

    def mistakes(self) -> list[tuple[tuple[str | int, ...], str]]:
        """What types cannot say: (path inside this filter, what is wrong and what is allowed)."""
        return []

    def references(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Every backend that it names: (path inside this filter, the backend's name)."""
        return []


class Filter:
    """One step of a chain, built once per route and shared by all its requests: no per-request state on self.

    Define only the hooks you need; a chain holds no others. A hook that raises `Failure` refuses the request by that
    reason; any other exception is a 500 that names the filter in the log.
    """

    def __init__(self, config: Any, services: Services) -> None:
        self.config = config
        self.services = services

    def on_request(self, exchange: Exchange) -> Response | None | Awaitable[Response | None]:
        """The head is in, the body may still be arriving. Return a Response to answer at once."""
        return None

    def on_response(self, exchange: Exchange, response: Response) -> Response | Awaitable[Response]:
        """The head is in, no body byte has left. Return the same response or another one."""
        return response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        """Everything is over. Never async: it runs during cancellation, and must not block."""
