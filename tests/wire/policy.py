"""What the proxy's contract refuses on top of RFC 9112, as a policy of the strict reader."""

from __future__ import annotations

from tests.kit import strict_grammar as grammar
from tests.kit.strict import Broken, Incomplete, Refusal, Request, read_request, split_absolute

MAX_HEAD = 64 * 1024
MAX_FIELDS = 100
MAX_TARGET = 8 * 1024
MAX_NOMINATIONS = 10

# RFC 9110 15.6.2: 501 is right for a method that a server does not recognize; others than these are a matter of taste.
COMMON_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")


def contract(request: Request) -> None:
    """Raises `Broken` for a head that the contract refuses; adds to `doubts` what it leaves open."""
    _limits(request)
    _dot_segments(request)
    _nominations(request)
    if request.method not in COMMON_METHODS:
        request.doubts.append("RFC 9110 9.1: a method outside the common ones")
    if any(each != b"100-continue" for each in request.tokens(b"expect")):
        request.doubts.append("RFC 9110 10.1.1: an unknown expectation may be answered by 417")
    if any(spelled_with_underscore(name) for name, _ in request.fields):
        request.doubts.append("a framing or forwarding name spelled with underscores: refused or dropped, both safe")
    if len(request.all(b"upgrade")) > 1 or len(request.all(b"expect")) > 1:
        request.doubts.append("RFC 9110 5.3: a repeated Upgrade or Expect, which nobody sends")
    if request.all(b"upgrade") and (request.all(b"transfer-encoding") or request.all(b"content-length")):
        request.doubts.append("RFC 9110 7.8: an upgrade with content")


def spelled_with_underscore(name: bytes) -> bool:
    """Whether a gateway that maps `-` and `_` to one would take this name for a framing or forwarding field."""
    spelling = name.lower().replace(b"_", b"-")
    return b"_" in name and (
        spelling in (b"content-length", b"transfer-encoding", b"host", b"connection") or is_claim(name)
    )


def is_claim(name: bytes) -> bool:
    """What a peer that nobody trusts says of its client, in any spelling."""
    return name.lower().replace(b"_", b"-").startswith((b"x-forwarded-", b"x-real-ip"))


def _tabs_around_framing(head: bytes) -> bool:
    lines = [line for line in head.split(b"\r\n") if b"\t" in line]
    return any(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines)


def read_front(data: bytes, at: int = 0) -> Request | Incomplete | Refusal:
    """Read one request as RFC 9112 and the contract together say."""
    message = read_request(data, at, contract)
    begin = data[at : at + 3].removeprefix(b"\r\n")[:1]
    if isinstance(message, Incomplete) and begin not in (b"", b"\r") and not grammar.is_token(begin):
        return Refusal(at, "RFC 9112 2.1: not the beginning of a request")
    if isinstance(message, Request):
        if _tabs_around_framing(data[at : message.head_end]):
            message.doubts.append("RFC 9110 5.6.3: tabs around the value of a framing field")
        if message.framing == "chunked":
            return _chunked(message)
    if isinstance(message, Incomplete) and message.head is None and len(data) - at > MAX_HEAD + 1024:
        return Refusal(at, "contract: the head is larger than 64 KiB", frozenset({431, 414}))
    return message


def _chunked(message: Request) -> Request | Refusal:
    """Limits behind the head: both are the recipient's (RFC 9112 7.1.1, 7.1.2), so the grey zones are wide."""
    if message.trailer_bytes > MAX_HEAD:
        return Refusal(message.at, "contract: the trailers are larger than a head may be", frozenset({400, 413, 431}))
    if message.extension_bytes > MAX_HEAD:
        return Refusal(message.at, "RFC 9112 7.1.1: a limit on chunk extensions", frozenset({400, 413, 431}))
    if message.trailer_bytes > 4096 or len(message.trailers) > MAX_FIELDS or message.extension_bytes > 256:
        message.doubts.append("RFC 9112 7.1.1: long chunk extensions or trailers")
    return message


def _limits(request: Request) -> None:
    if len(request.target) > MAX_TARGET:
        raise Broken("contract: the target is longer than 8 KiB", 414, 431)
    if request.head_end - request.at > MAX_HEAD:
        raise Broken("contract: the head is larger than 64 KiB", 431)
    if len(request.fields) > MAX_FIELDS:
        raise Broken("contract: more than 100 fields", 431)


def _dot_segments(request: Request) -> None:
    if request.target == b"*":
        return
    target = request.target if request.target.startswith(b"/") else split_absolute(request.target)[1]
    path = target.partition(b"?")[0].lower().replace(b"%2e", b".")
    if {b".", b".."} & set(path.split(b"/")):
        raise Broken("contract: a dot-segment in the path")
    for hidden in (b"%2f", b"%5c", b";"):
        path = path.replace(hidden, b"/")
    if {b".", b".."} & set(path.split(b"/")):
        request.doubts.append("contract: a dot-segment for who decodes slashes or drops parameters; 400 is right too")


def _nominations(request: Request) -> None:
    elements = grammar.list_elements(request.all(b"connection"))
    names = [element.lower() for element in elements if element]
    for name in names:
        if name in (b"host", b"traceparent") or name.startswith(b"x-forwarded-"):
            raise Broken("contract: Connection nominates " + name.decode("latin-1"))
    if len(names) > MAX_NOMINATIONS:
        # Whether close, keep-alive and repetitions count is left open.
        if len(set(names) - {b"close", b"keep-alive"}) > MAX_NOMINATIONS:
            raise Broken("contract: Connection nominates more than ten fields")
        request.doubts.append("contract: ten nominations, and options or repetitions beside them")
    if not all(grammar.is_token(name) for name in names) or len(elements) > MAX_NOMINATIONS:
        request.doubts.append("RFC 9110 7.6.1: connection options are tokens")
    if {b"content-length", b"transfer-encoding"} & set(names):
        request.doubts.append("RFC 9110 7.6.1: a framing field nominated by Connection")
    if any(spelled_with_underscore(name) for name in names):
        request.doubts.append("contract: a protected name nominated in another spelling")
