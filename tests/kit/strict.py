"""A strict HTTP/1.1 reader written from RFC 9112: the independent judge of what a byte stream says.

It shares nothing with the proxy or its parser. It reads complete messages from bytes and says where each ends, or that
a recipient must or may refuse (both are `Refusal`: strict is strict), or that more bytes are needed (`Incomplete`).
The one tolerance is RFC 9112 2.2's empty line before a request line. What the RFC leaves to the recipient's taste
while the meaning is certain (leading zeros of a length, say) is noted in `doubts`: serving and refusing are both right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from . import strict_grammar as grammar
from .strict_framing import frame_interim, frame_request, frame_response, read_body, take_fields, take_line
from .strict_message import Broken, Incomplete, Message, Refusal, Request, Response, Short

__all__ = [
    "Broken",
    "Incomplete",
    "Message",
    "Refusal",
    "Request",
    "Response",
    "read_request",
    "read_requests",
    "read_response",
    "read_responses",
    "split_absolute",
    "whole_requests",
]

Policy: TypeAlias = Callable[[Request], None]
"""Called with each request's head before its body is read; raises `Broken` for what a contract refuses on top."""


def read_request(data: bytes, at: int = 0, policy: Policy | None = None) -> Request | Incomplete | Refusal:
    """Read one request that begins at the offset."""
    head: Request | None = None
    try:
        head = _request_head(data, at)
        if policy is not None:
            policy(head)
        frame_request(head)
        read_body(data, head)
    except Broken as broken:
        return Refusal(at, str(broken), broken.statuses)
    except Short:
        return Incomplete(at, head)
    return head


def read_requests(data: bytes, policy: Policy | None = None) -> tuple[list[Request], Refusal | Incomplete | None]:
    """Read a whole client stream: its complete requests, and what ended the reading (None: the bytes ended cleanly)."""
    messages: list[Request] = []
    at = 0
    while at < len(data):
        message = read_request(data, at, policy)
        if not isinstance(message, Request):
            return messages, message
        messages.append(message)
        at = message.end
    return messages, None


def whole_requests(streams: Iterable[bytes | bytearray]) -> list[Request]:
    """All complete requests of these client streams, which may end anywhere. AssertionError for one to refuse."""
    found = []
    for stream in streams:
        requests, rest = read_requests(bytes(stream))
        assert rest is None or isinstance(rest, Incomplete), rest
        found += requests
    return found


def read_response(
    data: bytes, at: int = 0, *, method: bytes = b"GET", closed: bool = False
) -> Response | Incomplete | Refusal:
    """Read one final response to a request of this method, with its interim ones.

    `closed`: the sender has ended the stream, so that a body without a length ends with the bytes.
    """
    head: Response | None = None
    interim: list[Response] = []
    start = at
    try:
        while True:
            head = None
            head = _response_head(data, at)
            if 100 <= head.status < 200 and head.status != 101:
                frame_interim(head)
                interim.append(head)
                at = head.end
                continue
            head.interim = interim
            head.doubts.extend(doubt for each in interim for doubt in each.doubts)
            frame_response(head, method)
            read_body(data, head, closed)
            return head
    except Broken as broken:
        return Refusal(start, str(broken), frozenset({502}))
    except Short:
        return Incomplete(start, head)


def read_responses(
    data: bytes, methods: Sequence[bytes], *, closed: bool = False
) -> tuple[list[Response], Refusal | Incomplete | None]:
    """Read a server's stream that answers requests of these methods in order.

    What ends the reading: None when the bytes ended with a message; a `Refusal` also for bytes that no request asked
    for. A 101 ends the reading: what follows is not HTTP.
    """
    messages: list[Response] = []
    at = 0
    while at < len(data):
        if len(messages) == len(methods):
            return messages, Refusal(at, "RFC 9112 6.3: bytes after the last answer", frozenset({502}))
        message = read_response(data, at, method=methods[len(messages)], closed=closed)
        if not isinstance(message, Response):
            return messages, message
        messages.append(message)
        at = message.end
        if message.status == 101:
            break
    return messages, None


def _request_head(data: bytes, at: int) -> Request:
    start = at
    line, at = take_line(data, at)
    if not line:
        line, at = take_line(data, at)
        if not line:
            raise Broken("RFC 9112 2.2: more than one empty line before a request line")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise Broken("RFC 9112 3: a request line is three words with single spaces between them")
    method, target, version = parts
    if not grammar.is_token(method):
        raise Broken("RFC 9110 9.1: a method is a token")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Broken("RFC 9112 2.3: not HTTP/1.1 or HTTP/1.0", 400, 505)
    request = Request(start, version, [], method=method, target=target)
    _check_target(request)
    request.fields, request.head_end = take_fields(data, at)
    _check_host(request)
    return request


def _check_target(request: Request) -> None:
    """The four forms of RFC 9112 3.2; authority-form is CONNECT's and CONNECT is no business of a reverse proxy."""
    method, target = request.method, request.target
    if method == b"CONNECT":
        raise Broken("RFC 9110 9.3.6: CONNECT to a server that makes no tunnels", 400, 405, 501)
    if target == b"*":
        if method != b"OPTIONS":
            raise Broken("RFC 9112 3.2.4: asterisk-form is for OPTIONS alone")
        return
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
    else:
        scheme, separator, _ = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise Broken("RFC 9112 3.2: a target of no known form")
        if scheme.lower() == b"https":
            request.doubts.append("RFC 9110 7.4: an https target over plain TCP may be refused as misdirected")
        authority, path, query = split_absolute(target)
        if b"@" in authority:
            raise Broken("RFC 9110 4.2.4: userinfo in an http URI")
        if problem := grammar.problem_of_host(authority):
            raise Broken(problem)
        path = path or b"/"
    if problem := grammar.problem_of_path(path) or grammar.problem_of_query(query):
        raise Broken(problem)


def split_absolute(target: bytes) -> tuple[bytes, bytes, bytes]:
    """Authority, path and query of an absolute-form target."""
    rest = target.partition(b"://")[2]
    before, _, query = rest.partition(b"?")
    authority, slash, path = before.partition(b"/")
    return authority, slash + path, query


def _check_host(request: Request) -> None:
    """RFC 9112 3.2: exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0."""
    hosts = request.all(b"host")
    if len(hosts) > 1:
        raise Broken("RFC 9112 3.2: more than one Host")
    if not hosts:
        if request.version == b"HTTP/1.1":
            raise Broken("RFC 9112 3.2: HTTP/1.1 without Host")
        return
    if problem := grammar.problem_of_host(hosts[0]):
        raise Broken(problem)
    port = hosts[0].rpartition(b":")[2] if hosts[0][-1:] != b"]" and b":" in hosts[0] else b"80"
    if not port or int(port) > 65535 or len(port) > 5:
        request.doubts.append("RFC 3986 3.2.3: a port that no socket has")
    elif not grammar.consists_of(hosts[0], grammar.UNRESERVED + b":[]"):
        request.doubts.append("RFC 3986 3.2.2: a reg-name that DNS does not know")
    if request.target[:1] not in b"/*" and hosts[0].lower() != split_absolute(request.target)[0].lower():
        request.doubts.append("RFC 9112 3.2: Host differs from the authority of the target")


def _response_head(data: bytes, at: int) -> Response:
    start = at
    line, at = take_line(data, at)
    version, space, rest = line.partition(b" ")
    code, second, reason = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not space:
        raise Broken("RFC 9112 4: a status line begins with HTTP/1.1 or HTTP/1.0 and a space")
    if len(code) != 3 or not grammar.is_digits(code) or not 100 <= int(code) <= 599:
        raise Broken("RFC 9110 15: a status code is three digits from 100 to 599")
    if not grammar.consists_of(reason, grammar.FIELD_VALUE):
        raise Broken("RFC 9112 4: a control byte in the reason phrase")
    response = Response(start, version, [], status=int(code), reason=reason)
    if not second:
        response.doubts.append("RFC 9112 4: no space after the status code")
    response.fields, response.head_end = take_fields(data, at)
    response.end = response.head_end
    return response
