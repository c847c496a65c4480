"""Requests, responses and exchanges: what a filter is handed. Import them from `filters.api`.

Nothing here knows a protocol version, a socket or a configuration file. Compiled with the data plane where a C compiler
is at hand (setup.py), so these classes cannot be patched or given further attributes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from .api import BodyWrap, Filter

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


class Message:
    """Headers and a body: what a request and a response share.

    `content` is the whole body when `ended`; otherwise it holds what arrived before the first hook ran, and the
    rest streams past the wraps. `length` is the declared size in bytes, None when the sender did not say.
    """

    __slots__ = ("_fields", "content", "ended", "headers", "length", "wraps")

    def __init__(self, headers: Headers, content: bytes = b"", ended: bool = True, length: int | None = 0) -> None:
        self.headers = headers
        self.content = content
        self.ended = ended
        self.length = length
        self.wraps: list[BodyWrap] | None = None
        self._fields: dict[bytes, bytes] | None = None

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """Lower-case name to value; repeated lines are joined by ", " (`cookie`: "; ") as RFC 9110 section 5.3 says."""
        return self._fields or self._read()

    def get(self, name: bytes) -> bytes | None:
        """The value of a field by its lower-case name, or None."""
        fields = self._fields
        if fields is None:
            fields = self._read()
        return fields.get(name)

    def _read(self) -> dict[bytes, bytes]:
        fields: dict[bytes, bytes] = {}
        for name, value in self.headers:
            fields[name] = value
        if len(fields) != len(self.headers):
            fields = _joined(self.headers)
        self._fields = fields
        return fields

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


_QUESTION_MARK: Final = ord("?")


class Request(Message):
    """One request, whichever codec read it. `path` and `query` are the raw bytes of `target`, never decoded."""

    __slots__ = ("authority", "method", "path", "query", "reader", "scheme", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        headers: Headers,
        content: bytes = b"",
        ended: bool = True,
        length: int | None = 0,
        scheme: bytes = b"http",
    ) -> None:
        super().__init__(headers, content, ended, length)
        self.method = method
        self.target = target
        self.path, self.query = target, b""
        if _QUESTION_MARK in target:  # a number is looked for at once, and most targets have none
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
    """One answer: the backend's, or a local one that a filter or the proxy made itself.

    `unsized`: the backend did not say how long the body would be, even where all of it is here already.
    """

    __slots__ = ("local", "status", "unsized")

    def __init__(
        self,
        status: int,
        headers: Headers,
        content: bytes = b"",
        ended: bool = True,
        length: int | None = None,
        local: bool = False,
    ) -> None:
        super().__init__(headers, content, ended, len(content) if ended else length)
        self.status = status
        self.local = local
        self.unsized = False


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

    __slots__ = (
        "arm", "backend", "chosen", "client", "copies", "default_backend", "detached", "experiment", "flags", "id",
        "notes", "request", "response", "route", "skips", "trusted", "upgrades",
    )  # fmt: skip

    def __init__(self, request: Request, route: str, backend: str, id: bytes, client: str, trusted: bool) -> None:
        self.request = request
        self.response: Response | None = None
        self.route = route
        self.backend = backend  # the name of the backend that will answer; a filter may choose another one
        self.default_backend = backend  # the route's own choice, for those who must know it
        self.chosen = False  # a flag chose the backend, be it the route's own: splits leave it alone
        self.flags: list[str] | None = None  # the flags that decided anything, in order
        self.experiment = ""  # the split that chose, and
        self.arm = ""  # its arm; "" where none did
        self.skips: frozenset[str] | None = None  # types of filters further down that are not entered
        self.copies: list[str] | None = None  # the shadows that shall hear this request: names of backends
        self.upgrades = False  # the request asks to switch protocols
        self.id = id  # the X-Request-Id
        self.client = client  # the peer's address, without its port
        self.trusted = trusted  # the peer is in the listener's `trust`
        self.detached = False
        self.notes: dict[Filter, Any] = {}

    def detach(self) -> None:
        """Losing the client no longer ends the exchange: the answer is read to its end and `on_complete` runs then."""
        self.detached = True
