"""The request line: words, spaces, methods, versions (RFC 9112 2.2, 2.3, 3)."""

from __future__ import annotations

from .case import Case, Seen, either, get, raw, refuse, serve, sized

HOST = "Host: a.test"


def _line(line: str | bytes, *lines: str) -> bytes:
    return raw(line, HOST, *lines)


WORDS: list[Case] = [
    serve("plain", _line("GET /t HTTP/1.1"), "RFC 9112 3"),
    refuse("two spaces before the target", _line("GET  /t HTTP/1.1"), "RFC 9112 3"),
    refuse("two spaces before the version", _line("GET /t  HTTP/1.1"), "RFC 9112 3"),
    refuse("a space at the end", _line("GET /t HTTP/1.1 "), "RFC 9112 3"),
    refuse("a tab at the end", _line("GET /t HTTP/1.1\t"), "RFC 9112 3"),
    refuse("a space first", _line(" GET /t HTTP/1.1"), "RFC 9112 3"),
    refuse("a tab first", _line("\tGET /t HTTP/1.1"), "RFC 9112 3"),
    refuse("a tab before the target", _line("GET\t/t HTTP/1.1"), "RFC 9112 3"),
    refuse("a tab before the version", _line("GET /t\tHTTP/1.1"), "RFC 9112 3"),
    refuse("a vertical tab before the target", _line("GET\x0b/t HTTP/1.1"), "RFC 9112 3"),
    refuse("a form feed before the version", _line("GET /t\x0cHTTP/1.1"), "RFC 9112 3"),
    refuse("a bare CR between words", _line("GET\r/t\rHTTP/1.1"), "RFC 9112 3"),
    refuse("a bare CR at the end", _line("GET /t HTTP/1.1\r"), "RFC 9112 2.2"),
    refuse("a NUL in the target", _line("GET /t\x00 HTTP/1.1"), "RFC 9112 3"),
    refuse("a NUL first", _line("\x00GET /t HTTP/1.1"), "RFC 9112 3"),
    refuse("a space in the target", _line("GET /t u HTTP/1.1"), "RFC 9112 3.2"),
    refuse("no target", _line("GET HTTP/1.1"), "RFC 9112 3"),
    refuse("no target, two spaces", _line("GET  HTTP/1.1"), "RFC 9112 3"),
    refuse("one word", _line("GET"), "RFC 9112 3"),
    refuse("a field line first", raw(HOST, "X-A: b"), "RFC 9112 3"),
    refuse("HTTP/0.9", _line("GET /t"), "RFC 9112 2.3"),
    refuse("a response", raw("HTTP/1.1 200 OK", "Content-Length: 0"), "RFC 9112 2.1"),
    refuse("a TLS hello without any line", bytes.fromhex("16030100c8010000c40303") + b"\xaa" * 32, "contract: at once"),
    refuse("a space and no line", b" ", "contract: at once"),
    refuse("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "RFC 9112 2.1"),
]

METHODS: list[Case] = [
    *(
        serve(f"method {method}", get(method=method), "RFC 9110 9.1", method=method)
        for method in ("HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "POST")
    ),
    *(either(f"method {method}", get(method=method), "RFC 9110 15.6.2") for method in ("TRACE", "QUERY", "PURGE", "X")),
    either("a long method", get(method="M" * 200), "RFC 9110 15.6.2"),
    either("a method in lower case", get(method="get"), "RFC 9110 9.1: case-sensitive, so another method"),
    *(
        refuse(f"a method with {byte!r}", get(method=f"GE{byte}T"), "RFC 9110 9.1")
        for byte in '\x00\x01\x7f"(),/:;<=>?@[\\]{}\xe9'
    ),
    refuse("an empty method", _line(" /t HTTP/1.1"), "RFC 9112 3"),
    refuse("CONNECT", raw("CONNECT a.test:443 HTTP/1.1", "Host: a.test:443"), "RFC 9110 9.3.6", 400, 405, 501),
    refuse("CONNECT with a path", _line("CONNECT /t HTTP/1.1"), "RFC 9112 3.2.3", 400, 405, 501),
]

VERSIONS: list[Case] = [
    *(
        refuse(f"version {version!r}", _line(f"GET /t {version}"), "RFC 9112 2.3", 400, 505)
        for version in (
            *("HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/0.9", "HTTP/1", "HTTP/1.", "HTTP/.1"),
            *("HTTP/11", "HTTP/1.10", "HTTP/1.01", "HTTP/01.1", "HTTP/1.1.1", "HTTP/1,1", "HTTP/-1.1", "HTTP/+1.1"),
            *("http/1.1", "Http/1.1", "HTTP 1.1", "HTTP/1.1a", "HTTP/A.B", "HTTPS/1.1", "HTTP", "HTTP/", "HTP/1.1"),
            *("HTTP\\1.1", "HTTP//1.1", "HTTP/1.1\x00", "HTTP/1.1;", "SIP/2.0", "ICE/1.0", "RTSP/1.0", "HTTP/\xb9.1"),
        )
    ),
    refuse("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "contract: a clear refusal", 400, 505),
    serve("HTTP/1.0", raw("GET /t HTTP/1.0", HOST), "contract"),
    serve("HTTP/1.0 without Host", raw("GET /t HTTP/1.0"), "RFC 9112 3.2"),
    serve("HTTP/1.0 that stays", raw("GET /t HTTP/1.0", HOST, "Connection: keep-alive"), "RFC 9112 9.3"),
    serve(
        "HTTP/1.0 with content",
        raw("POST /t HTTP/1.0", HOST, "Content-Length: 2", body="hi"),
        "RFC 9112 6.2",
        method="POST",
        body="hi",
    ),
    serve(
        "HTTP/1.0 does not wait for 100",
        raw("POST /t HTTP/1.0", HOST, "Expect: 100-continue", "Content-Length: 2", body="hi"),
        "RFC 9110 10.1.1",
        method="POST",
        body="hi",
    ),
    serve(
        "HTTP/1.0 cannot upgrade",
        raw("GET /t HTTP/1.0", HOST, "Connection: upgrade", "Upgrade: websocket"),
        "RFC 9110 7.8",
        lacks=["upgrade"],
    ),
]

LINE_ENDS: list[Case] = [
    serve("one CRLF before", b"\r\n" + get(), "RFC 9112 2.2"),
    refuse("two CRLF before", b"\r\n\r\n" + get(), "contract: one is tolerated"),
    refuse("a bare LF before", b"\n" + get(), "RFC 9112 2.2"),
    refuse("a bare CR before", b"\r" + get(), "RFC 9112 2.2"),
    refuse("a space and CRLF before", b" \r\n" + get(), "RFC 9112 2.2"),
    refuse("a bare LF after the request line", b"GET /t HTTP/1.1\nHost: a.test\r\n\r\n", "contract, RFC 9112 2.2"),
    refuse("bare LF everywhere", b"GET /t HTTP/1.1\nHost: a.test\n\n", "contract, RFC 9112 2.2"),
    refuse("CR CR LF after the request line", b"GET /t HTTP/1.1\r\r\nHost: a.test\r\n\r\n", "RFC 9112 2.2"),
    refuse("LF CR after the request line", b"GET /t HTTP/1.1\n\rHost: a.test\r\n\r\n", "RFC 9112 2.2"),
    refuse("a bare LF at the end of the head", b"GET /t HTTP/1.1\r\nHost: a.test\r\n\n", "contract, RFC 9112 2.2"),
    serve(
        "one CRLF behind a POST's content",
        sized("hi") + b"\r\n" + get(target="/u"),
        "RFC 9112 2.2",
        Seen(b"POST", b"/t", b"hi"),
        Seen(b"GET", b"/u"),
    ),
    refuse(
        "two CRLF behind a POST's content",
        sized("hi") + b"\r\n\r\n" + get(target="/u"),
        "contract: one is tolerated",
        seen=[Seen(b"POST", b"/t", b"hi")],
    ),
    refuse(
        "stray bytes behind a POST's content",
        sized("hi") + b"()" + get(target="/u"),
        "RFC 9112 3",
        400,
        501,
        seen=[Seen(b"POST", b"/t", b"hi")],
    ),
]

CASES = [*WORDS, *METHODS, *VERSIONS, *LINE_ENDS]
