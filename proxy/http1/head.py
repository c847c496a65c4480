"""One head, read by llhttp and checked whole before anybody acts by it (RFC 9112 sections 2 to 6).

llhttp reads; grammar.py refuses what it leaves open; here stands what the fields of this hop say about the message:
its framing, its connection, its authority. Whatever RFC 9112 lets a recipient refuse is refused.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import httptools

from ...config.snapshot import Listener
from ...filters.api import Failure, Headers, Reason
from .fields import (
    CARRIED,
    CLAIM,
    CODING,
    CONNECTION,
    HOST,
    INTERNAL,
    LENGTH,
    PASS,
    REQUEST,
    RESPONSE,
    UPGRADE,
    Kinds,
    without,
)
from .grammar import (
    answer_version,
    check_path,
    is_authority,
    is_plain,
    request_mistake,
    request_version,
    target_too_long,
)

CHUNKED: Final = -1
"""A body whose size its sender did not declare, framed by chunks."""

UNTIL_CLOSE: Final = -2
"""A response body that ends with its connection."""

_RequestParser: Final[Any] = httptools.HttpRequestParser
_ResponseParser: Final[Any] = httptools.HttpResponseParser
_NOTHING: Final[frozenset[bytes]] = frozenset()
_SPACE: Final = 0x20
_ZERO: Final = 0x30
_NINE: Final = 0x39
_SLASH: Final = 0x2F
_LONGEST_LENGTH: Final = 18  # digits
_MAX_NOMINATIONS: Final = 10
_NOT_SERVED: Final = (b"h2c", b"http/", b"tls/")
_LONGEST_REMEMBERED: Final = 1024
_REMEMBERED_HEADS: Final = 64
_NEVER_NOMINATED: Final = frozenset({b"host", b"traceparent", b"content-length"})


class Head:
    """What llhttp calls back with for the fields of one head.

    They are sorted as they come: `headers` go on; `carried` are of traces; those of this hop stand by name, None
    where there are none: `host`, `declared` (Content-Length), `coding` (Transfer-Encoding), `connection`, `offers`
    (Upgrade), `expect`. `repeated` names a field that stood twice and must not.
    """

    __slots__ = (
        "_kinds", "_known", "_trusted", "carried", "claims", "coding", "connection", "count", "declared", "expect",
        "headers", "host", "keep_alive", "length", "minor", "nominated", "offers", "repeated",
    )  # fmt: skip

    # httptools asks for each callback by name; one that is missing costs it an exception a message.
    on_message_begin: ClassVar[None] = None
    on_status: ClassVar[None] = None
    on_headers_complete: ClassVar[None] = None
    on_body: ClassVar[None] = None
    on_message_complete: ClassVar[None] = None
    on_chunk_header: ClassVar[None] = None
    on_chunk_complete: ClassVar[None] = None

    def __init__(self, kinds: Kinds, trusted: bool) -> None:
        self.headers: Headers = []
        self.host: bytes | None = None
        self.declared: bytes | None = None
        self.coding: bytes | None = None
        self.connection: bytes | None = None
        self.offers: bytes | None = None
        self.expect: bytes | None = None
        self.claims: dict[bytes, bytes] | None = None  # of a trusted peer, about the client
        self.carried: Headers | None = None
        self.count = 0  # of field lines
        self.repeated: bytes | None = None
        self.length = 0  # of the body in bytes, CHUNKED or UNTIL_CLOSE
        self.minor = 1  # of the version
        self.keep_alive = True
        self.nominated = _NOTHING  # by Connection, beyond close and keep-alive
        self._kinds = kinds
        self._known = kinds.known
        self._trusted = trusted

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        if value and (value[-1] <= _SPACE or value[0] <= _SPACE):
            value = value.strip(b" \t")  # llhttp leaves some of the optional whitespace (RFC 9112 section 5.1)
        judged = self._known.get(name)
        if judged is None:
            judged = self._kinds.judge(name)
        name, kind = judged
        if kind == PASS:
            self.headers.append((name, value))
        elif kind >= HOST:
            self._note(name, kind, value)
        elif kind == CARRIED:
            self.carried = [*(self.carried or ()), (name, value)]
        elif not self._trusted:
            return
        elif kind == INTERNAL:
            self.headers.append((name, value))
        elif kind == CLAIM:
            claims = self.claims = self.claims or {}
            claims[name] = claims[name] + b", " + value if name in claims else value

    def _note(self, name: bytes, kind: int, value: bytes) -> None:
        before: bytes | None
        if kind == HOST:
            before, self.host = self.host, value
        elif kind == LENGTH:
            before, self.declared = self.declared, value
        elif kind == CONNECTION:
            self.connection = value if self.connection is None else self.connection + b", " + value
            return
        elif kind == CODING:
            before, self.coding = self.coding, value
        elif kind == UPGRADE:
            before, self.offers = self.offers, value
        else:
            before, self.expect = self.expect, value
        if before is not None:
            self.repeated = name

    def feed(self, parser: Any, raw: bytes) -> str | None:
        """Have the whole head read; return what llhttp has against it."""
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            return str(error)
        return None

    def check_fields(self, max_fields: int, reason: Reason, whose: str) -> None:
        """Raises Failure when there are too many, or one that must stand alone is repeated."""
        if self.count > max_fields:
            reason = "head_too_large" if reason == "bad_request" else reason
            raise Failure(reason, f"{whose} more than {max_fields} header fields")
        if self.repeated is not None:
            raise Failure(reason, f"{whose} more than one {self.repeated.decode()} field")


class RequestHead(Head):
    """A checked request head."""

    __slots__ = ("authority", "expects_continue", "method", "target", "upgrade")

    def __init__(self, trusted: bool) -> None:
        super().__init__(REQUEST, trusted)
        self.method = b""
        self.target = b""  # origin-form, or *
        self.authority = b""
        self.upgrade: bytes | None = None  # the protocol asked for
        self.expects_continue = False

    def on_url(self, url: bytes) -> None:
        self.target += url


class ResponseHead(Head):
    """A checked response head."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        super().__init__(RESPONSE, False)
        self.status = 0


_read_heads: Final[dict[bytes, ResponseHead]] = {}


def read_request_head(raw: bytes, listener: Listener, trusted: bool) -> RequestHead:
    """Check and read one head, blank line included. Raises Failure with what the client should read."""
    if len(raw) > listener.max_head:
        raise Failure("head_too_large", f"the request head is larger than {listener.max_head} bytes")
    head = RequestHead(trusted)
    parser = _RequestParser(head)
    wrong = head.feed(parser, raw)
    if wrong is not None:
        raise request_mistake(raw, listener, wrong)
    head.method = parser.get_method()
    head.minor = request_version(raw, head.method, head.target, listener)
    plain = is_plain(head.target)
    head.check_fields(listener.max_fields, "bad_request", "the request has")
    if len(head.target) > listener.max_target:
        raise target_too_long(listener)
    if head.declared is not None:
        head.length = content_length(head.declared, "bad_request")
    if head.minor == 0 or head.coding is not None or head.connection is not None or head.expect is not None:
        _check_unusual(head)
    _settle_authority(head)
    if not plain:
        check_path(head.target)
    return head


def read_response_head(raw: bytes, method: bytes, max_fields: int) -> ResponseHead:
    """Check and read one response head to a request of this method. Raises Failure("upstream_protocol").

    What was read of late is remembered, since within a second a server says the same again and again, and the same
    bytes read the same: the caller must not write to a head whose status is 200 or more.
    """
    if method == b"HEAD":
        return _read_response_head(raw, method, max_fields)
    head = _read_heads.get(raw)
    if head is None:
        head = _read_response_head(raw, method, max_fields)
        if head.status >= 200 and len(raw) <= _LONGEST_REMEMBERED:
            if len(_read_heads) >= _REMEMBERED_HEADS:
                _read_heads.clear()
            _read_heads[raw] = head
    return head


def _read_response_head(raw: bytes, method: bytes, max_fields: int) -> ResponseHead:
    head = ResponseHead()
    parser = _ResponseParser(head)
    wrong = head.feed(parser, raw)
    head.status = parser.get_status_code()
    head.minor = answer_version(raw, head.status)
    if head.minor < 0:
        raise Failure("upstream_protocol", "the backend's answer is not HTTP/1.1")
    if wrong is not None:
        raise Failure("upstream_protocol", f"the backend's answer is malformed: {wrong}")
    head.check_fields(max_fields, "upstream_protocol", "the backend's answer has")
    if head.minor == 0 or head.connection is not None:
        _settle_connection(head, "upstream_protocol")
    head.length = _response_length(head, method)
    return head


def content_length(value: bytes, reason: Reason) -> int:
    """The size that a Content-Length declares in bytes. Raises Failure for anything but decimal digits."""
    length = 0
    for at in range(len(value)):
        digit = value[at]
        if not _ZERO <= digit <= _NINE:
            break
        length = length * 10 + digit - _ZERO
    else:
        if 1 <= len(value) <= _LONGEST_LENGTH:
            return length
    raise Failure(reason, "content-length is not a decimal number")


def _check_unusual(head: RequestHead) -> None:
    """What most requests do not have: a coding, a field about the connection, an expectation, an old version."""
    coding = head.coding
    if coding is not None:
        if head.declared is not None:
            raise Failure("bad_request", "both content-length and transfer-encoding")
        if head.minor == 0:
            raise Failure("bad_request", "transfer-encoding in an HTTP/1.0 request")
        if coding.lower() != b"chunked":
            raise Failure("bad_request", "the only transfer coding served here is chunked", status=501)
        head.length = CHUNKED
    _settle_connection(head, "bad_request")
    head.upgrade = _upgrade(head)
    head.expects_continue = _expects_continue(head)


def _response_length(head: ResponseHead, method: bytes) -> int:
    coding, status = head.coding, head.status
    if head.declared is not None:
        if coding is not None:
            raise Failure("upstream_protocol", "the backend's answer has both content-length and transfer-encoding")
        length = content_length(head.declared, "upstream_protocol")
    elif coding is None:
        length = UNTIL_CLOSE
    elif head.minor == 1 and coding.lower() == b"chunked":
        length = CHUNKED
    else:
        raise Failure("upstream_protocol", "the backend's answer has a transfer coding other than chunked")
    return 0 if method == b"HEAD" or status < 200 or status in (204, 304) else length


def _settle_connection(head: Head, reason: Reason) -> None:
    """Whether the connection persists (RFC 9112 section 9.3), and which fields it nominates as hop-by-hop, which do not
    go on."""
    value = head.connection
    if value is None:
        head.keep_alive = head.minor == 1
        return
    if value in (b"keep-alive", b"Keep-Alive"):
        return
    options = frozenset(option.strip(b" \t") for option in value.lower().split(b","))
    head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    nominated = options - {b"close", b"keep-alive", b""}
    if nominated:
        if len(nominated) > _MAX_NOMINATIONS:
            raise Failure(reason, f"Connection nominates more than {_MAX_NOMINATIONS} fields")
        for name in nominated:
            if name in _NEVER_NOMINATED or name.startswith(b"x-forwarded-"):
                raise Failure(reason, f"Connection must not nominate {name.decode('latin-1')}")
        head.nominated = nominated
        head.headers = without(head.headers, nominated)
        if head.carried is not None:
            head.carried = without(head.carried, nominated) or None
        if head.claims is not None:
            for name in nominated:
                head.claims.pop(name, None)


def _settle_authority(head: RequestHead) -> None:
    """Reduce the target to origin-form (or `*`) and settle the authority, RFC 9112 section 3.2."""
    target, host = head.target, head.host
    if host is None:
        if head.minor == 1:
            raise Failure("bad_request", "no Host field")
    elif not is_authority(host):
        raise Failure("bad_request", "invalid Host field")
    if head.method == b"CONNECT":
        raise Failure("bad_request", "CONNECT is not served here", status=501)
    if target[0] != _SLASH:
        head.target, host = _other_form(head.method, target, host)
    head.authority = host or b""


def _other_form(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None]:
    if target == b"*":
        if method != b"OPTIONS":
            raise Failure("bad_request", "the target * is for OPTIONS alone")
        return target, host
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https") or not rest:
        raise Failure("bad_request", "the request target is neither a path nor an http URI")
    border = min([at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0], default=len(rest))
    authority, path = rest[:border], rest[border:]
    if not is_authority(authority):
        raise Failure("bad_request", "invalid authority in the request target")
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    return (path if path[:1] != b"?" else b"/" + path), authority


def _upgrade(head: RequestHead) -> bytes | None:
    """The protocols that a request offers to switch to. Ignored, as RFC 9110 section 7.8 allows, where we could not
    follow: in HTTP/1.0, beside a body, and for HTTP/2 in clear text."""
    if head.offers is None or b"upgrade" not in head.nominated or head.minor == 0 or head.length != 0:
        return None
    offers = [each.strip(b" \t") for each in head.offers.split(b",")]
    return b", ".join([each for each in offers if each and not each.lower().startswith(_NOT_SERVED)]) or None


def _expects_continue(head: RequestHead) -> bool:
    if head.expect is None or head.minor == 0:
        return False
    if head.expect.lower() != b"100-continue":
        raise Failure("bad_request", "the only expectation met here is 100-continue", status=417)
    return True
