"""Pipelining, segments, Connection, Upgrade, Expect, forwarding fields (RFC 9112 9, RFC 9110 7.6 to 7.8, 10.1.1)."""

from __future__ import annotations

from .case import Case, Seen, chunked, either, get, raw, refuse, serve, sized

ONE, TWO, THREE = get(target="/1"), get(target="/2"), get(target="/3")
SEEN = (Seen(b"GET", b"/1"), Seen(b"GET", b"/2"), Seen(b"GET", b"/3"))
MIXED = sized("hello", target="/1") + chunked("3\r\nabc\r\n0\r\n\r\n", target="/2") + get(target="/3", method="HEAD")
MIXED_SEEN = (Seen(b"POST", b"/1", b"hello"), Seen(b"POST", b"/2", b"abc"), Seen(b"HEAD", b"/3"))
BAD = b"GET /bad HTTP/1.1\r\nHost : a.test\r\n\r\n"


def _split(sent: bytes, at: int) -> list[bytes]:
    return [sent[:at], sent[at:]]


PIPELINES: list[Case] = [
    serve("three", ONE + TWO + THREE, "RFC 9112 9.3.2", *SEEN),
    serve("three, with content", MIXED, "RFC 9112 9.3.2", *MIXED_SEEN),
    serve("twenty", b"".join(get(target=f"/{n}") for n in range(20)), "RFC 9112 9.3.2",
          *(Seen(b"GET", b"/%d" % n) for n in range(20))),
    serve("a hundred", b"".join(sized(f"{n}", target=f"/{n}") for n in range(100)), "RFC 9112 9.3.2",
          *(Seen(b"POST", b"/%d" % n, b"%d" % n) for n in range(100))),
    serve("past the read-ahead", b"".join(get(target=f"/{n}") for n in range(2500)), "RFC 9112 9.3.2",
          *(Seen(b"GET", b"/%d" % n) for n in range(2500))),
    serve("large contents", b"".join(sized(f"{n}" * 200_000, target=f"/{n}") for n in range(5)), "RFC 9112 9.3.2",
          *(Seen(b"POST", b"/%d" % n, b"%d" % n * 200_000) for n in range(5))),
    serve("the same twice", ONE + ONE, "RFC 9112 9.3.2", SEEN[0], SEEN[0]),
    serve("a CRLF between", ONE + b"\r\n" + TWO, "RFC 9112 2.2", *SEEN[:2]),
    refuse("a bad one behind a good one", ONE + BAD + THREE, "RFC 9112 5.1", seen=SEEN[:1]),
    refuse("a bad one first", BAD + TWO + THREE, "RFC 9112 5.1: closed, nothing behind it is read"),
    refuse("a bad one behind content", sized("hello", target="/1") + BAD, "RFC 9112 5.1", seen=MIXED_SEEN[:1]),
    refuse("a bad one behind chunks", MIXED + BAD + TWO, "RFC 9112 5.1", seen=MIXED_SEEN),
    refuse("a bad chunk, then a good request", chunked("zz\r\n\r\n") + TWO, "RFC 9112 7.1"),
    refuse("a quarrel, then a good request", raw("POST /t HTTP/1.1", "Host: a.test", "Content-Length: 4",
           "Transfer-Encoding: chunked", body="0\r\n\r\n") + TWO, "RFC 9112 6.3"),
    serve("nothing behind close", get("Connection: close", target="/1") + TWO, "RFC 9112 9.6", SEEN[0]),
    serve("garbage behind close", get("Connection: close", target="/1") + BAD, "RFC 9112 9.6", SEEN[0]),
    serve("nothing behind HTTP/1.0", raw("GET /1 HTTP/1.0", "Host: a.test") + TWO, "RFC 9112 9.3", SEEN[0]),
    refuse("HTTP/2 in two segments", [b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n"], "contract", 400, 505),
    refuse("HTTP/2 byte by byte", [bytes([byte]) for byte in b"PRI * HTTP/2.0\r\n\r\n"], "contract", 400, 505),
    refuse("HTTP/2 behind a request", ONE + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "contract", 400, 505, seen=SEEN[:1]),
]  # fmt: skip

SEGMENTS: list[Case] = [
    *(serve(f"two, split at {at}", _split(ONE + TWO, at), "RFC 9112 2", *SEEN[:2]) for at in range(1, len(ONE) + 20)),
    *(serve(f"mixed, split at {at}", _split(MIXED, at), "RFC 9112 2", *MIXED_SEEN) for at in range(3, len(MIXED), 5)),
    serve("byte by byte", [bytes([byte]) for byte in MIXED], "RFC 9112 2", *MIXED_SEEN),
    serve("CRLF apart", [get()[:-2], b"\r", b"\n"], "RFC 9112 2"),
    refuse("a bad one, byte by byte", [bytes([byte]) for byte in BAD], "RFC 9112 5.1"),
    refuse("CR, then no LF", [b"GET /t HTTP/1.1\r", b"Host: a.test\r\n\r\n"], "RFC 9112 2.2"),
    refuse("chunk CR, then no LF", [chunked("5\r"), b"hello\r\n0\r\n\r\n"], "RFC 9112 7.1"),
    refuse("a bad chunk in a segment of its own", [chunked("5\r\nhello\r\n"), b"zz\r\n\r\n"], "RFC 9112 7.1"),
]

NOMINATIONS: list[Case] = [
    serve("nominated", get("Connection: X-A, x-b", "X-A: 1", "X-B: 2", "X-C: 3"), "RFC 9110 7.6.1",
          has={"x-c": "3"}, lacks=["x-a", "x-b"]),
    serve("nominated on two lines", get("Connection: X-A", "X-A: 1", "Connection: X-B", "X-B: 2"), "RFC 9110 7.6.1",
          lacks=["x-a", "x-b"]),
    serve("nominated and absent", get("Connection: X-A"), "RFC 9110 7.6.1"),
    *(
        serve(f"nominating {name}", get(f"Connection: {name}", f"{name}: x"), "RFC 9110 7.6.1: the proxy's own stay")
        for name in ("X-Request-Id", "Via", "tracestate", "baggage", "Keep-Alive", "Upgrade", "TE", "Authorization")
    ),
    serve("ten", get("Connection: " + ",".join(f"x-{n}" for n in range(10)), "X-9: 1"), "contract", lacks=["x-9"]),
    refuse("eleven", get("Connection: " + ",".join(f"x-{n}" for n in range(11))), "contract: more than ten"),
    refuse("eleven on eleven lines", get(*(f"Connection: x-{n}" for n in range(11))), "contract: more than ten"),
    refuse("a thousand", get("Connection: " + ",".join(f"x-{n}" for n in range(1000))), "contract: more than ten"),
    *(
        refuse(f"nominating {name}", get(f"Connection: {name}"), "contract: protected names")
        for name in (
            *("Host", "host", "HOST", "close, Host"),
            *("Host, close", "X-Forwarded-For", "x-forwarded-proto", "traceparent"),
            *("X-Forwarded-Host", "TraceParent", "keep-alive,x-forwarded-for"),
            *("X-Forwarded-Port", "\thost", "a, b ,host"),
        )
    ),
    refuse("nominating Host on a second line", get("Connection: close", "Connection: host"), "contract"),
    *(
        either(f"Connection: {value!r}", get(f"Connection: {value}"), "RFC 9110 7.6.1")
        for value in ("content-length", "transfer-encoding", "a b", "a;b", '"close"', "close;", "x_forwarded_for")
    ),
    either("nominating a framing field", sized("hello", "Connection: content-length"), "RFC 9110 7.6.1"),
    either("nominating the other", chunked("0\r\n\r\n", "Connection: transfer-encoding"), "RFC 9110 7.6.1"),
    *(
        serve(f"hop by hop {line}", get(line), "RFC 9110 7.6.1", lacks=[line.partition(":")[0].lower()])
        for line in ("Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X-A")
    ),
]  # fmt: skip

UPGRADES: list[Case] = [
    serve("refused upgrade, a request behind it",
          get("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", target="/1") + TWO,
          "fault 40: framed, never tunnelled", *SEEN[:2]),
    refuse("refused upgrade, garbage behind it", get("Connection: upgrade", "Upgrade: websocket", target="/1") +
           b"\x81\x85abcd\r\n\r\n", "fault 40: framed, never tunnelled", seen=SEEN[:1]),
    serve("h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
          "contract: HTTP/2 is not spoken", lacks=["http2-settings"]),
    serve("h2c, a request behind it", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
          "HTTP2-Settings: AAMAAABkAAQAAP__", target="/1") + TWO, "contract", *SEEN[:2]),
    serve("Upgrade without Connection", get("Upgrade: websocket"), "RFC 9110 7.8", lacks=["upgrade"]),
    either("Upgrade with content", sized("hello", "Connection: upgrade", "Upgrade: websocket"), "RFC 9110 7.8"),
]  # fmt: skip

EXPECTATIONS: list[Case] = [
    serve("100-continue", sized("hello", "Expect: 100-continue"), "RFC 9110 10.1.1", method="POST", body="hello"),
    serve("100-Continue in capitals", sized("hello", "Expect: 100-CONTINUE"), "RFC 9110 10.1.1", method="POST",
          body="hello"),
    serve("100-continue, chunked", chunked("5\r\nhello\r\n0\r\n\r\n", "Expect: 100-continue"), "RFC 9110 10.1.1",
          method="POST", body="hello"),
    serve("100-continue without content", get("Expect: 100-continue"), "RFC 9110 10.1.1"),
    serve("100-continue, a request behind it", sized("hello", "Expect: 100-continue", target="/1") + TWO,
          "RFC 9110 10.1.1", Seen(b"POST", b"/1", b"hello"), SEEN[1]),
    either("another expectation", sized("hello", "Expect: the-unexpected"), "RFC 9110 10.1.1: 417"),
    either("100-continue and more", sized("hello", "Expect: 100-continue, x"), "RFC 9110 10.1.1: 417"),
]  # fmt: skip

FORWARDING: list[Case] = [
    *(
        serve(f"{name} dropped", get(f"{name}: evil", "X-A: b"), "contract: internal fields", has={"x-a": "b"},
              lacks=[name.lower()])
        for name in (
            *("X-Understudy-Backend", "x-understudy-backend", "X_Understudy_Backend", "X-Understudy_Shadow"),
            *("x_understudy-shadow", "X-UNDERSTUDY-ROLE", "X-Understudy-", "X_UNDERSTUDY_EXCHANGE"),
        )
    ),
    serve("X-Forwarded-For replaced", get("X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"),
          "contract: an untrusted peer", has={"x-forwarded-for": "127.0.0.1"}),
    serve("X-Forwarded-Proto replaced", get("X-Forwarded-Proto: https"), "contract", has={"x-forwarded-proto": "http"}),
    serve("X-Forwarded-Host replaced", get("X-Forwarded-Host: evil.test"), "contract",
          has={"x-forwarded-host": "a.test"}),
    serve("X-Request-Id replaced", get("X-Request-Id: evil", "X-Request-Id: evil2"), "contract"),
    serve("traceparent continued", get("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
          "W3C Trace Context"),
    serve("traceparent twice", get(*["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] * 2),
          "W3C Trace Context: begins anew"),
    serve("a malformed traceparent", get("traceparent: x-y"), "W3C Trace Context: begins anew"),
]  # fmt: skip

CASES = [*PIPELINES, *SEGMENTS, *NOMINATIONS, *UPGRADES, *EXPECTATIONS, *FORWARDING]
