"""What llhttp leaves open about a head, checked by pure functions (RFC 9112 sections 2 to 6, RFC 9110 section 7).

llhttp reads the head; the patterns here only say whether its bytes keep to the grammar, or what is wrong with them.
Whatever RFC 9112 lets a recipient refuse is refused. Two leniencies, both read alike by everybody: one empty line
before a request line, and `[` `]` in a query, which well-known clients send.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, ClassVar, Final

import httptools

from ...config.snapshot import Listener
from ...filters.api import Failure, Headers, Reason
from .fields import CARRIED, INTERNAL, NOTED, PASS, REQUEST, RESPONSE, SINGLE, Kinds, without

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELDS = rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
_PATH_CHAR = rb"!$&'()*+,\-./0-9:;=@A-Z_a-z~\[\]"
_ESCAPE = rb"%[0-9A-Fa-f]{2}"
_URI = rb"(?:[" + _PATH_CHAR + rb"]|" + _ESCAPE + rb")*+(?:\?(?:[?" + _PATH_CHAR + rb"]|" + _ESCAPE + rb")*+)?+"
# Constant patterns of our own with possessive repeats only: they cannot backtrack.
_REQUEST_HEAD = re.compile(_TOKEN + rb"{1,32}+ (?=[^ ])" + _URI + rb" HTTP/1\.[01]\r\n" + _FIELDS)  # noqa: TID251
_RESPONSE_HEAD = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2} [\t\x20-\x7e\x80-\xff]*+\r\n" + _FIELDS)  # noqa: TID251
_REQUEST_LINE = re.compile(_TOKEN + rb"++ [\x21-\x7e]++ HTTP/([0-9]\.[0-9])\r\n")  # noqa: TID251
_HOST = re.compile(  # noqa: TID251
    rb"(?:(?:[!$&'()*+,\-.0-9;=A-Z_a-z~]|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]{2,45}+\])(?::[0-9]{0,5}+)?+"
)
_DOT_SEGMENT = re.compile(  # noqa: TID251
    rb"(?:/|\\|%2[fF]|%5[cC])(?:\.|%2[eE]){1,2}(?:/|\\|%2[fF]|%5[cC]|;|$)"
)

# With a tab behind the coding, llhttp reads an answer to the end of its connection.
_PLAINLY_CHUNKED = re.compile(rb"(?i:\r\ntransfer-encoding: *+chunked *+\r\n)")  # noqa: TID251
STRAY_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")  # noqa: TID251
"""A bare LF or CR: an unfinished head that holds one is refused at once, since its end might never come."""

BEGINNING = re.compile(rb"(?:\r\n)?(?:\r?\Z|" + _TOKEN + rb")")  # noqa: TID251
"""How a request begins. Bytes that do not, a TLS hello for one, are refused at once: they may never hold a line."""

CHUNKED: Final = -1
"""A body whose size its sender did not declare, framed by chunks."""

UNTIL_CLOSE: Final = -2
"""A response body that ends with its connection."""

_NOTHING: Final[frozenset[bytes]] = frozenset()
_SPACE: Final = 0x20
_ZERO: Final = 0x30
_VERSION_AT: Final = len(b"HTTP/1.")
_OPENING: Final = ord("[")
_CLOSING: Final = ord("]")
_LINE_FEED: Final = ord("\n")
_DOT: Final = ord(".")
_PERCENT: Final = ord("%")
_MAX_NOMINATIONS = 10
_LONGEST_AUTHORITY = 1024
_REMEMBERED_AUTHORITIES = 256
_good_authorities: set[bytes] = set()
_NOT_SERVED = (b"h2c", b"http/", b"tls/")
_NEVER_NOMINATED = frozenset({b"host", b"traceparent", b"content-length"})


class Head:
    """What llhttp calls back with for one message: first its fields, then, of a chunked body, the content.

    Fields are sorted as they come: `headers` go on, `fields` concern this hop alone (repeated ones joined), `carried`
    are of traces. `repeated` names a field that stood twice and must not.
    """

    __slots__ = (
        "_kinds", "_trusted", "carried", "checked", "chunks", "content", "count", "ended", "fields", "headers",
        "keep_alive", "length", "minor", "nominated", "parser", "repeated",
    )  # fmt: skip

    # httptools asks for each callback by name; one that is missing costs it an exception a message.
    on_message_begin: ClassVar[None] = None
    on_status: ClassVar[None] = None
    on_headers_complete: ClassVar[None] = None
    on_chunk_complete: ClassVar[None] = None

    def __init__(self, minor: int, kinds: Kinds, trusted: bool) -> None:
        self.headers: Headers = []
        self.fields: dict[bytes, bytes] = {}
        self.carried: Headers | None = None
        self.count = 0  # of field lines
        self.repeated: bytes | None = None
        self.checked = False  # the head is over: what llhttp calls a field from now on is a trailer
        self.length = 0  # of the body in bytes, CHUNKED or UNTIL_CLOSE
        self.minor = minor  # of the version
        self.keep_alive = True
        self.nominated = _NOTHING  # by Connection, beyond close and keep-alive
        self.content: list[bytes] | None = None
        self.chunks = 0
        self.ended = False
        self.parser: Any = None  # kept for a chunked body only: it refers back to the head
        self._kinds = kinds
        self._trusted = trusted

    def on_header(self, name: bytes, value: bytes) -> None:
        self.count += 1
        if value and (value[-1] <= _SPACE or value[0] <= _SPACE):
            value = value.strip(b" \t")  # llhttp leaves some of the optional whitespace (RFC 9112 section 5.1)
        judged = self._kinds.known.get(name)
        if judged is None:
            judged = self._kinds.judge(name)
        name, kind = judged
        if kind == PASS:
            if not self.checked:
                self.headers.append((name, value))
        elif kind == NOTED:
            self._note(name, value)
        elif kind == CARRIED:
            self.carried = [*(self.carried or ()), (name, value)]
        elif kind == INTERNAL and self._trusted:
            self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        if self.content is None:
            self.content = []
        self.content.append(data)

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_message_complete(self) -> None:
        self.ended = True

    def _note(self, name: bytes, value: bytes) -> None:
        if name not in self.fields:
            self.fields[name] = value
        elif name in SINGLE:
            self.repeated = name
        else:
            self.fields[name] += b", " + value

    def check_fields(self, max_fields: int, reason: Reason, whose: str) -> None:
        """Raises Failure when there are too many, or one that must stand alone is repeated."""
        self.checked = True
        if self.count > max_fields:
            reason = "head_too_large" if reason == "bad_request" else reason
            raise Failure(reason, f"{whose} more than {max_fields} header fields")
        if self.repeated is not None:
            raise Failure(reason, f"{whose} more than one {self.repeated.decode()} field")


class RequestHead(Head):
    """A checked request head."""

    __slots__ = ("authority", "expects_continue", "method", "target", "upgrade")

    def __init__(self, minor: int, trusted: bool) -> None:
        super().__init__(minor, REQUEST, trusted)
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

    def __init__(self, minor: int) -> None:
        super().__init__(minor, RESPONSE, False)
        self.status = 0


def read_request_head(raw: bytes, listener: Listener, trusted: bool) -> RequestHead:
    """Check and read one head, blank line included. Raises Failure with what the client should read."""
    if len(raw) > listener.max_head:
        raise Failure("head_too_large", f"the request head is larger than {listener.max_head} bytes")
    if _REQUEST_HEAD.fullmatch(raw) is None:
        raise _request_mistake(raw, listener)
    head = RequestHead(0 if raw[raw.find(b"\r\n") - 1] == _ZERO else 1, trusted)
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise Failure("bad_request", f"malformed request: {error}") from None
    head.check_fields(listener.max_fields, "bad_request", "the request has")
    if len(head.target) > listener.max_target:
        raise Failure("target_too_long", f"the request target is longer than {listener.max_target} bytes")
    head.method = parser.get_method()
    declared = head.fields.get(b"content-length")
    if declared is not None:
        head.length = _content_length(declared, "bad_request")
    if head.minor == 0 or len(head.fields) > 2 or (len(head.fields) == 2 and declared is None):
        _check_unusual(head)
    _check_target(head)
    if head.length == CHUNKED:
        head.parser = parser
    return head


def check_beginning(data: bytes, searched: int, listener: Listener) -> None:
    """Refuse the beginning of a head that no more bytes can make good; the first `searched` were looked at before."""
    if STRAY_LINE_END.search(data, max(searched - 1, 0)):
        raise Failure("bad_request", "a line of the head does not end in CRLF")
    if not BEGINNING.match(data):
        raise Failure("bad_request", "these bytes do not begin an HTTP/1.1 request; is TLS spoken to a plain port?")
    if len(data) > listener.max_head:
        raise Failure("head_too_large", f"the request head is larger than {listener.max_head} bytes")
    if _LINE_FEED not in data and len(data) > listener.max_target + 64:
        raise Failure("target_too_long", f"the request target is longer than {listener.max_target} bytes")


def read_response_head(raw: bytes, method: bytes, max_fields: int) -> ResponseHead:
    """Check and read one response head to a request of this method. Raises Failure("upstream_protocol")."""
    if _RESPONSE_HEAD.fullmatch(raw) is None:
        raise Failure("upstream_protocol", "the backend's answer is not HTTP/1.1")
    head = ResponseHead(0 if raw[_VERSION_AT] == _ZERO else 1)
    parser = httptools.HttpResponseParser(head)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise Failure("upstream_protocol", f"the backend's answer is malformed: {error}") from None
    head.check_fields(max_fields, "upstream_protocol", "the backend's answer has")
    head.status = parser.get_status_code()
    if head.minor == 0 or b"connection" in head.fields:
        head.keep_alive, head.nominated = _connection_options(head.fields, head.minor, "upstream_protocol")
        if head.nominated:
            head.headers = without(head.headers, head.nominated)
    head.length = _response_length(head.fields, head.status, method, head.minor)
    if head.length == CHUNKED:
        if _PLAINLY_CHUNKED.search(raw) is None:
            raise Failure("upstream_protocol", "the backend's answer has a transfer coding other than chunked")
        head.parser = parser
    return head


def _request_mistake(raw: bytes, listener: Listener) -> Failure:
    line = raw[: raw.find(b"\r\n") + 2]
    if len(line) > listener.max_target + 64:
        return Failure("target_too_long", f"the request target is longer than {listener.max_target} bytes")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return Failure("bad_request", "malformed request line")
    if match[1] not in (b"1.0", b"1.1"):
        version = match[1].decode()
        return Failure("bad_request", f"HTTP/{version} is not served here, only HTTP/1.1 and 1.0", status=505)
    if not _REQUEST_HEAD.fullmatch(line + b"\r\n"):
        return Failure("bad_request", "the request target is not a valid URI reference")
    return Failure("bad_request", "malformed header field")


def _content_length(value: bytes, reason: Reason) -> int:
    if not value.isdigit() or len(value) > 18:
        raise Failure(reason, "content-length is not a decimal number")
    return int(value)


def _check_unusual(head: RequestHead) -> None:
    """What most requests do not have: a field of this hop beyond Host and Content-Length, or an old version."""
    fields, minor = head.fields, head.minor
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if b"content-length" in fields:
            raise Failure("bad_request", "both content-length and transfer-encoding")
        if minor == 0:
            raise Failure("bad_request", "transfer-encoding in an HTTP/1.0 request")
        if coding.lower() != b"chunked":
            raise Failure("bad_request", "the only transfer coding served here is chunked", status=501)
        head.length = CHUNKED
    head.keep_alive, head.nominated = _connection_options(fields, minor, "bad_request")
    if head.nominated:
        head.headers = without(head.headers, head.nominated)
    head.upgrade = _upgrade(head)
    head.expects_continue = _expects_continue(fields, minor)


def _response_length(fields: dict[bytes, bytes], status: int, method: bytes, minor: int) -> int:
    coding = fields.get(b"transfer-encoding")
    declared = fields.get(b"content-length")
    if coding is not None and declared is not None:
        raise Failure("upstream_protocol", "the backend's answer has both content-length and transfer-encoding")
    if declared is not None:
        length = _content_length(declared, "upstream_protocol")
    elif coding is None:
        length = UNTIL_CLOSE
    elif minor == 1 and coding.lower() == b"chunked":
        length = CHUNKED
    else:
        raise Failure("upstream_protocol", "the backend's answer has a transfer coding other than chunked")
    return 0 if method == b"HEAD" or status < 200 or status in (204, 304) else length


def _connection_options(fields: dict[bytes, bytes], minor: int, reason: Reason) -> tuple[bool, frozenset[bytes]]:
    """Whether the connection persists (RFC 9112 section 9.3), and the fields it nominates as hop-by-hop."""
    value = fields.get(b"connection")
    if value is None:
        return minor == 1, _NOTHING
    if value == b"keep-alive":
        return True, _NOTHING
    options = frozenset(option.strip(b" \t") for option in value.lower().split(b","))
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    nominated = options - {b"close", b"keep-alive", b""}
    if nominated:
        if len(nominated) > _MAX_NOMINATIONS:
            raise Failure(reason, f"Connection nominates more than {_MAX_NOMINATIONS} fields")
        for name in nominated:
            if name in _NEVER_NOMINATED or name.startswith(b"x-forwarded-"):
                raise Failure(reason, f"Connection must not nominate {name.decode('latin-1')}")
    return keep_alive, nominated


def _check_target(head: RequestHead) -> None:
    """Reduce the target to origin-form (or `*`) and settle the authority, RFC 9112 section 3.2."""
    target, host = head.target, head.fields.get(b"host")
    if host is None:
        if head.minor == 1:
            raise Failure("bad_request", "no Host field")
    elif not _is_authority(host):
        raise Failure("bad_request", "invalid Host field")
    if head.method == b"CONNECT":
        raise Failure("bad_request", "CONNECT is not served here", status=501)
    if target[:1] != b"/":
        target, host = _other_form(head.method, target, host)
        head.target = target
    border = target.find(b"?")
    path = target if border < 0 else target[:border]
    # A number is looked for at once; a bytes object would first be tried as one, which costs an exception each time.
    if _OPENING in path or _CLOSING in path:
        raise Failure("bad_request", "the request target is not a valid URI reference")
    if (_DOT in path or _PERCENT in path) and _DOT_SEGMENT.search(path):
        raise Failure("bad_request", "dot segments in the request target")
    head.authority = host or b""


def _is_authority(text: bytes) -> bool:
    """Whether it is a host and perhaps a port (RFC 9110 section 7.2). The good ones of late are remembered."""
    if text in _good_authorities:
        return True
    if not _reads_as_authority(text):
        return False
    if len(_good_authorities) >= _REMEMBERED_AUTHORITIES:
        _good_authorities.clear()
    _good_authorities.add(text)
    return True


def _reads_as_authority(text: bytes) -> bool:
    """Brackets hold an IPv6 address."""
    if len(text) > _LONGEST_AUTHORITY or _HOST.fullmatch(text) is None:
        return False
    if text[:1] == b"[":
        try:
            ipaddress.IPv6Address(text[1 : text.index(b"]")].decode())
        except ValueError:
            return False
    return True


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
    if not _is_authority(authority):
        raise Failure("bad_request", "invalid authority in the request target")
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    return (path if path[:1] != b"?" else b"/" + path), authority


def _upgrade(head: RequestHead) -> bytes | None:
    """The protocols that a request offers to switch to. Ignored, as RFC 9110 section 7.8 allows, where we could not
    follow: in HTTP/1.0, beside a body, and for HTTP/2 in clear text."""
    value = head.fields.get(b"upgrade")
    if value is None or b"upgrade" not in head.nominated or head.minor == 0 or head.length != 0:
        return None
    offers = [each.strip(b" \t") for each in value.split(b",")]
    return b", ".join([each for each in offers if each and not each.lower().startswith(_NOT_SERVED)]) or None


def _expects_continue(fields: dict[bytes, bytes], minor: int) -> bool:
    value = fields.get(b"expect")
    if value is None or minor == 0:
        return False
    if value.lower() != b"100-continue":
        raise Failure("bad_request", "the only expectation met here is 100-continue", status=417)
    return True
