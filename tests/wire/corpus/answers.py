"""Hostile and odd answers of a backend (RFC 9112 4 to 7, RFC 9110 15, contract: 502, a cut, or the answer).

bad     the client is told 502, and no byte of the answer
cut     what was promised never becomes whole: 502, or a stream that ends without its end
passed  the client gets this status and content, and nothing else
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .case import Text, get, octets, raw
from .framing import TABS

OK = "HTTP/1.1 200 OK"
CHUNKED = "Transfer-Encoding: chunked"
SIZED = "Content-Length: 5"
POST = raw("POST /t HTTP/1.1", "Host: a.test", SIZED, body="hello")
OTHER = raw(OK, "Content-Length: 9", "X-Saw: evil", body="evil evil")


@dataclass(frozen=True, slots=True)
class Hostile:
    """What a backend answers to one request, and what the client must be told."""

    name: str
    answer: bytes
    verdict: Literal["bad", "cut", "passed", "either"]
    rule: str
    then: Literal["keep", "close", "reset"] = "close"
    sent: bytes = field(default_factory=get)
    status: int = 200
    body: bytes = b""
    dropped: bool = False  # the next request must not travel on this backend connection
    has: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    interim: tuple[int, ...] = ()
    apart: bool = False  # the content comes when the head has been read

    @property
    def segments(self) -> tuple[bytes, ...]:
        """The answer as it is sent."""
        border = self.answer.find(b"\r\n\r\n") + 4
        return (self.answer[:border], self.answer[border:]) if self.apart else (self.answer,)


def bad(
    name: str,
    answer: Text,
    rule: str,
    then: Literal["keep", "close", "reset"] = "close",
    sent: bytes | None = None,
) -> Hostile:
    """The client is told 502."""
    return Hostile(name, octets(answer), "bad", rule, then, sent or get(), dropped=True)


def cut(name: str, answer: Text, rule: str, then: Literal["close", "reset"] = "close") -> Hostile:
    """502 or a cut, and never a whole answer."""
    return Hostile(name, octets(answer), "cut", rule, then, dropped=True)


def either(name: str, answer: Text, rule: str) -> Hostile:
    """The answer or 502, and the next request gets its own."""
    return Hostile(name, octets(answer), "either", rule)


def passed(
    name: str,
    answer: Text,
    rule: str,
    body: Text = "hello",
    status: int = 200,
    then: Literal["keep", "close"] = "keep",
    *,
    sent: bytes | None = None,
    dropped: bool = False,
    has: Mapping[str, str] | None = None,
    lacks: tuple[str, ...] = (),
    interim: tuple[int, ...] = (),
) -> Hostile:
    """The client gets the answer, behind interim ones with these statuses."""
    return Hostile(
        name,
        octets(answer),
        "passed",
        rule,
        then,
        sent or get(),
        status,
        octets(body),
        dropped,
        has or {},
        lacks,
        interim,
    )


def sized(*lines: Text, body: Text = "hello", first: Text = OK) -> bytes:
    """An answer with these lines and a Content-Length of five."""
    return raw(first, *lines, SIZED, body=body)


def chunked(body: Text, *lines: Text) -> bytes:
    """A chunked answer, its body written out."""
    return raw(OK, *lines, CHUNKED, body=body)


STATUS_LINES: list[Hostile] = [
    *(
        bad(f"status line {line!r}", sized(first=line), "RFC 9112 4, RFC 9110 15")
        for line in (
            *("HTTP/1.1 99 X", "HTTP/1.1 099 X", "HTTP/1.1 000 X"),
            *("HTTP/1.1 600 X", "HTTP/1.1 999 X", "HTTP/1.1 abc X"),
            *("HTTP/1.1 20 X", "HTTP/1.1 2000 X", "HTTP/1.1 -20 X"),
            *("HTTP/1.1 +20 X", "HTTP/1.1 2 0 X", "HTTP/1.1 0x2 X"),
            *("HTTP/1.1  200 OK", "HTTP/1.1 200\tOK", "HTTP/1.1\t200 OK", "HTTP/1.1200 OK", "HTTP/1.1", "HTTP/1.1 "),
            *("HTTP/2.0 200 OK", "HTTP/2 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "HTTP/1 200 OK", "200 OK"),
            *("http/1.1 200 OK", "ICY 200 OK", "SIP/2.0 200 OK"),
            *(" HTTP/1.1 200 OK", "HTTP/1.1 200 O\x00K", "GET / HTTP/1.1"),
            *("HTTP/1.1 200 O\rK", "HTTP/1.1 200 O\x01K"),
            *("HTTP/1.1 200 O\x7fK", "HTTP/1.1 200 OK\r", "HTTP/1.1 2\xb20 OK"),
            *("\r\nHTTP/1.1 200 OK", "\nHTTP/1.1 200 OK"),
            *("HTTP/1.1 200 OK\nX: y", "HTTP/1.1 20a OK", "HTTP/1.10 200 OK"),
        )
    ),
    either("no space after the code", sized(first="HTTP/1.1 200"), "RFC 9112 4"),
    passed("an empty reason", sized(first="HTTP/1.1 200 "), "RFC 9112 4"),
    passed("a long reason", sized(first="HTTP/1.1 200 " + "very " * 100 + "fine"), "RFC 9112 4"),
    passed("a reason beyond ASCII", sized(first="HTTP/1.1 200 \xe9\t!"), "RFC 9112 4"),
    passed("status 599", sized(first="HTTP/1.1 599 X"), "RFC 9110 15", status=599),
    passed("status 299", sized(first="HTTP/1.1 299 X"), "RFC 9110 15", status=299),
    passed("HTTP/1.0", sized(first="HTTP/1.0 200 OK"), "RFC 9112 9.3", then="close"),
    passed("HTTP/1.0 that stays", sized("Connection: keep-alive", first="HTTP/1.0 200 OK"), "RFC 9112 9.3"),
    bad("garbage", b"\x00\x01\x02\xff" * 50 + b"\r\n\r\n", "RFC 9112 4"),
    bad("a banner", b"SSH-2.0-OpenSSH_9.2\r\n", "RFC 9112 4"),
    bad("a page without a head", b"<html>hello</html>\r\n\r\n", "RFC 9112 4"),
    bad("nothing at all", b"", "contract: a POST is never resent", sent=POST),
    bad("a reset", b"", "contract: a POST is never resent", then="reset", sent=POST),
    Hostile("nothing for a GET", b"", "either", "contract: a safe method on a reused connection is sent once more"),
    bad("half a status line", b"HTTP/1.1 20", "contract: upstream_closed"),
    bad("half a head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A", "contract: upstream_closed"),
    bad("a head without its blank line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "contract: upstream_closed"),
]

FIELDS: list[Hostile] = [
    *(
        bad(f"field {line!r}", sized(line), "RFC 9112 5, RFC 9110 5.5")
        for line in (
            *("X-A : b", "X-A\t: b", "X A: b", ": b", "X-A"),
            *(" X-A: b", "X-A: b\r\n c", "X-A: b\r\n\tc", "X\xe9: b", "X-A: \x00"),
            *("X-A: b\rSet-Cookie: c", "X-A: b\nSet-Cookie: c", "X-A: b\r"),
            *("X-A: \x01", "X-A: \x7f", "X-A: b\x0bc", "(X): b"),
            *("X-A: b\x00\r\nX-B: c", "\x00X-A: b", "X-A\x00: b"),
            *("HTTP/1.1 200 OK", "X-A: b\r\r", "X\x80: b", "X-A:\x1b[2J"),
        )
    ),
    bad("folded before any field", raw(OK, " X-A: b", SIZED, body="hello"), "RFC 9112 5.2"),
    bad("bare LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "contract, RFC 9112 2.2"),
    bad("a bare LF ends the head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello", "contract, RFC 9112 2.2"),
    bad("a head of 1 MiB", sized("X-A: " + "b" * 1_048_576), "fault 13"),
    bad("10,000 fields", sized(*["X-A: b"] * 10_000), "fault 13"),
    bad("a head that never ends", b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 300_000, "fault 13"),
    passed("fifty fields", sized(*(f"X-{n}: {n}" for n in range(50))), "RFC 9110 5", has={"x-49": "49"}),
    passed("whitespace around", sized("X-A: \t b \t"), "RFC 9110 5.5", has={"x-a": "b"}),
    passed("bytes beyond ASCII", sized("X-A: \xe9\xff"), "RFC 9110 5.5", has={"x-a": "\xe9\xff"}),
    passed("cookies stay apart", sized("Set-Cookie: a=b", "Set-Cookie: c=d"), "RFC 9110 5.3",
           has={"set-cookie": "a=b|c=d"}),
    passed("nominated", sized("Connection: X-A", "X-A: b", "X-B: c"), "RFC 9110 7.6.1", has={"x-b": "c"},
           lacks=("x-a",)),
    passed("hop by hop", sized("Keep-Alive: timeout=5", "Proxy-Connection: x", "Upgrade: websocket", "TE: x",
           "Trailer: x"), "RFC 9110 7.6.1", lacks=("keep-alive", "proxy-connection", "upgrade", "te", "trailer")),
    passed("its Date", sized("Date: Sun, 06 Nov 1994 08:49:37 GMT"), "RFC 9110 6.6.1",
           has={"date": "Sun, 06 Nov 1994 08:49:37 GMT"}),
    passed("its Server and Via", sized("Server: x", "Via: 1.1 y"), "RFC 9110 7.6.3", has={"server": "x"}),
    passed("close", sized("Connection: close"), "RFC 9112 9.6", then="close"),
]  # fmt: skip

FRAMING: list[Hostile] = [
    *(
        bad(f"length {value!r}", raw(OK, f"Content-Length: {value}", body="hello"), "RFC 9112 6.3, RFC 9110 8.6")
        for value in (
            *("", "+5", "-5", "0x5", "5.0", "5 5", "5,5", "5, 5", "5, 6", "five", "5a", "5_", "\xb2", "5;", '"5"'),
            *("18446744073709551621", "99999999999999999999", "9" * 100, "-1", "5\x00"),
        )
    ),
    bad("length twice, different", raw(OK, SIZED, "Content-Length: 6", body="hello"), "RFC 9112 6.3"),
    bad("length twice, the same", raw(OK, SIZED, SIZED, body="hello"), "RFC 9112 6.3"),
    *(
        either(f"{first} and {second}", raw(OK, first, second, body="5\r\nhello\r\n0\r\n\r\n"), "fault 15")
        for first, second in ((SIZED, CHUNKED), (CHUNKED, SIZED), (CHUNKED, "Content-Length: 0"))
    ),
    *(
        bad(f"coding {value!r}", raw(OK, f"Transfer-Encoding: {value}", body="5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 6.3")
        for value in (
            *("identity", "gzip", "xchunked", "chunked, gzip"),
            *("gzip, chunked", "chunked, chunked", "chunked;a", '"chunked"'),
            *("chunked\x00", "\x0bchunked", "", "chunkedchunked"),
        )
    ),
    bad("chunked twice", raw(OK, CHUNKED, CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 6.1"),
    either("chunked in HTTP/1.0", raw("HTTP/1.0 200 OK", CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 6.1"),
    cut("shorter than its length", raw(OK, "Content-Length: 50", body="hello"), "fault 6"),
    cut("shorter than its length, reset", raw(OK, "Content-Length: 50", body="hello"), "fault 6", then="reset"),
    cut("nothing of its length", raw(OK, "Content-Length: 50"), "fault 6"),
    passed("until close", raw(OK, body="hello"), "RFC 9112 6.3", then="close"),
    passed("until close, empty", raw(OK), "RFC 9112 6.3", body="", then="close"),
    passed("until close, HTTP/1.0", raw("HTTP/1.0 200 OK", body="hello"), "RFC 9112 6.3", then="close"),
    passed("until close, looks like an answer", raw(OK, body=OTHER), "RFC 9112 6.3", body=OTHER, then="close"),
    passed("length zero", raw(OK, "Content-Length: 0"), "RFC 9112 6.3", body=""),
]  # fmt: skip

CHUNKS: list[Hostile] = [
    passed("spaces around the coding", raw(OK, "Transfer-Encoding:  chunked  ", body="5\r\nhello\r\n0\r\n\r\n"),
           "RFC 9112 5.1"),
    Hostile("a tab behind the coding", raw(OK, "Transfer-Encoding: chunked\t", body="5\r\nhello\r\n0\r\n\r\n"),
            "either", TABS, then="keep"),
    either("a tab before the coding", raw(OK, "Transfer-Encoding:\tchunked", body="5\r\nhello\r\n0\r\n\r\n"), TABS),
    either("tabs around the length", raw(OK, "Content-Length:\t5\t", body="hello"), TABS),
    passed("chunked", chunked("5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 7.1"),
    passed("chunked, with an extension", chunked('5;a="b"\r\nhello\r\n0\r\n\r\n'), "RFC 9112 7.1.1"),
    passed("trailers", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "Trailer: X-Sum"), "contract", lacks=("x-sum",)),
    passed("many chunks", chunked("1\r\nx\r\n" * 300 + "0\r\n\r\n"), "RFC 9112 7.1", body="x" * 300),
    *(
        cut(f"chunks {body!r}", chunked(body), "RFC 9112 7.1, fault 6")
        for body in (
            *("", "5", "5\r\n", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "5\r\nhello\r\n0", "5\r\nhello\r\n0\r\n"),
            *("zz\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
            *("0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n"),
            *("5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n"),
            *("5 \r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n\r\n0\r\n\r\n"),
            *("\r\n5\r\nhello\r\n0\r\n\r\n", "5\r\r\nhello\r\n0\r\n\r\n"),
            *("fffffffffffffffff\r\nhello\r\n0\r\n\r\n", "5;\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
            *("5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\n\n"),
            *("5\r\nhello\r\n0\r\n\n", "hello", "<html></html>\r\n\r\n"),
            '5;a="\x00"\r\nhello\r\n0\r\n\r\n',
            *("5\r\nhello\r\n0\r\nX-Sum: 1\r\n", "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n"),
        )
    ),
    cut("a huge extension", chunked("5;a=" + "b" * 100_000 + "\r\nhello\r\n0\r\n\r\n"), "RFC 9112 7.1.1"),
    cut("huge trailers", chunked("5\r\nhello\r\n0\r\nX-Sum: " + "1" * 100_000 + "\r\n\r\n"), "contract: bounded"),
    Hostile("cut for HTTP/1.0", chunked("5\r\nhello\r\n"), "cut", "fault 6: an end is no cut",
            sent=raw("GET /t HTTP/1.0", "Host: a.test")),
    Hostile("cut inside a chunk for HTTP/1.0", chunked("5\r\nhel"), "cut", "fault 6: an end is no cut",
            sent=raw("GET /t HTTP/1.0", "Host: a.test")),
    cut("a reset between chunks", chunked("5\r\nhello\r\n"), "fault 6", then="reset"),
]  # fmt: skip

EXTRA: list[Hostile] = [
    passed("two answers", sized() + OTHER, "fault 8", dropped=True),
    passed("two answers, then closed", sized() + OTHER, "fault 8", then="close"),
    passed("a byte too many", sized(body="hello!"), "fault 8", dropped=True),
    passed("CRLF too many", sized(body="hello\r\n"), "fault 8", dropped=True),
    passed("a chunked answer and another", chunked("5\r\nhello\r\n0\r\n\r\n") + OTHER, "fault 8", dropped=True),
    passed("a chunked answer and a byte", chunked("5\r\nhello\r\n0\r\n\r\nx"), "fault 8", dropped=True),
    passed("an empty answer and another", raw(OK, "Content-Length: 0") + OTHER, "fault 8", body="", dropped=True),
    passed("an answer and a 100", sized() + raw("HTTP/1.1 100 Continue"), "fault 8", dropped=True),
    passed("HEAD with content", sized(), "fault 16", body="", sent=get(method="HEAD"), dropped=True),
    passed(
        "HEAD with another answer", raw(OK, SIZED) + OTHER, "fault 8", body="", sent=get(method="HEAD"), dropped=True
    ),
    passed(
        "HEAD with chunks",
        chunked("5\r\nhello\r\n0\r\n\r\n"),
        "fault 16",
        body="",
        sent=get(method="HEAD"),
        dropped=True,
    ),
    passed("HEAD", raw(OK, SIZED), "RFC 9110 9.3.2", body="", sent=get(method="HEAD"), has={"content-length": "5"}),
    passed("HEAD of chunks", raw(OK, CHUNKED), "RFC 9110 9.3.2", body="", sent=get(method="HEAD")),
    passed("204", raw("HTTP/1.1 204 No Content"), "RFC 9110 15.3.5", body="", status=204),
    passed("204 with content", sized(first="HTTP/1.1 204 No Content"), "fault 16", body="", status=204, dropped=True),
    passed(
        "204 with another answer", raw("HTTP/1.1 204 No Content") + OTHER, "fault 8", body="", status=204, dropped=True
    ),
    either("204 with chunks", raw("HTTP/1.1 204 No Content", CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"), "fault 16"),
    passed("304", raw("HTTP/1.1 304 Not Modified", SIZED), "RFC 9110 15.4.5", body="", status=304),
    passed("304 with content", sized(first="HTTP/1.1 304 Not Modified"), "fault 16", body="", status=304, dropped=True),
    passed(
        "304 with another answer",
        raw("HTTP/1.1 304 Not Modified") + OTHER,
        "fault 8",
        body="",
        status=304,
        dropped=True,
    ),
]

# Here the head says truly or plausibly that nothing follows, so what comes later looks like the next answer to anybody.
UNFORESEEABLE = (
    "an empty answer and another",
    "204 with another answer",
    "304 with content",
    "304 with another answer",
)
APART: list[Hostile] = [
    replace(case, name=f"{case.name}, apart", apart=True)
    for case in (*EXTRA, *FRAMING, *CHUNKS)
    if case.answer.find(b"\r\n\r\n") + 4 < len(case.answer) < 2000 and case.name not in UNFORESEEABLE
]

INTERIM: list[Hostile] = [
    passed("100 first", raw("HTTP/1.1 100 Continue") + sized(), "RFC 9110 15.2", interim=(100,)),
    passed("103 first", raw("HTTP/1.1 103 Early Hints", "Link: </a>") + sized(), "fault 10", interim=(103,)),
    passed("three interim", raw("HTTP/1.1 100 Continue") + raw("HTTP/1.1 102 X") + raw("HTTP/1.1 103 Y") + sized(),
           "fault 10", interim=(100, 102, 103)),
    passed("an unknown interim", raw("HTTP/1.1 199 X") + sized(), "RFC 9110 15.2", interim=(199,)),
    passed("interim for HTTP/1.0", raw("HTTP/1.1 103 Early Hints") + sized(), "RFC 9110 15.2: never to HTTP/1.0",
           sent=raw("GET /t HTTP/1.0", "Host: a.test")),
    passed("chunks for HTTP/1.0", chunked("5\r\nhello\r\n0\r\n\r\n"), "RFC 9112 7.1: never to HTTP/1.0",
           sent=raw("GET /t HTTP/1.0", "Host: a.test"), lacks=("transfer-encoding",)),
    either("interim with a length", raw("HTTP/1.1 103 X", "Content-Length: 5") + sized(), "RFC 9110 8.6"),
    either("interim with content", raw("HTTP/1.1 103 X", SIZED, body="hello") + sized(), "RFC 9110 15.2"),
    either("a thousand interim", raw("HTTP/1.1 103 X") * 1000 + sized(), "a limit is the recipient's"),
    bad("interim only", raw("HTTP/1.1 103 Early Hints"), "fault 10"),
    bad("100 only", raw("HTTP/1.1 100 Continue"), "fault 10"),
    bad("101 unasked", raw("HTTP/1.1 101 Switching", "Connection: upgrade", "Upgrade: websocket"), "fault 10"),
    bad("101 unasked, an answer behind", raw("HTTP/1.1 101 Switching Protocols", "Upgrade: x") + OTHER, "fault 10"),
    bad("interim, then garbage", raw("HTTP/1.1 103 Early Hints") + b"hello\r\n\r\n", "RFC 9112 4"),
    bad("interim with a bad field", raw("HTTP/1.1 103 Early Hints", "X : y") + sized(), "RFC 9112 5.1"),
]  # fmt: skip

ANSWERS: dict[str, list[Hostile]] = {
    "status line": STATUS_LINES,
    "answer fields": FIELDS,
    "answer framing": FRAMING,
    "answer chunks": CHUNKS,
    "extra bytes": EXTRA,
    "content apart": APART,
    "interim": INTERIM,
}
