"""Host: exactly one, valid, in HTTP/1.1 (RFC 9112 3.2, RFC 9110 4.2.1 and 7.2)."""

from __future__ import annotations

from .case import Case, either, get, raw, refuse, serve

LINE = "GET /t HTTP/1.1"

CASES: list[Case] = [
    refuse("missing", raw(LINE), "RFC 9112 3.2"),
    refuse("missing beside others", raw(LINE, "X-A: b"), "RFC 9112 3.2"),
    refuse("empty", raw(LINE, "Host:"), "RFC 9110 4.2.1: a host is never empty"),
    refuse("blank", raw(LINE, "Host:  \t"), "RFC 9110 4.2.1: a host is never empty"),
    refuse("twice", raw(LINE, "Host: a.test", "Host: b.test"), "RFC 9112 3.2"),
    refuse("twice the same", raw(LINE, "Host: a.test", "Host: a.test"), "RFC 9112 3.2"),
    refuse("twice, one in capitals", raw(LINE, "Host: a.test", "HOST: a.test"), "RFC 9112 3.2"),
    refuse("twice, one empty", raw(LINE, "Host: a.test", "Host:"), "RFC 9112 3.2"),
    refuse("twice, apart", raw(LINE, "Host: a.test", "X-A: b", "host: b.test"), "RFC 9112 3.2"),
    refuse("twice in HTTP/1.0", raw("GET /t HTTP/1.0", "Host: a.test", "Host: b.test"), "RFC 9112 3.2"),
    refuse("bad in HTTP/1.0", raw("GET /t HTTP/1.0", "Host: a b"), "RFC 9112 3.2"),
    refuse("folded", raw(LINE, "Host: a", " .test"), "RFC 9112 5.2"),
    refuse("in the first line's place", raw("Host: a.test", LINE), "RFC 9112 3"),
    *(
        refuse(f"{host!r}", get(host=host), "RFC 9110 7.2")
        for host in (
            *("a b", "a,b c", "a/b", "a.test/", "http://a.test", "a?b", "a#b", "u@a.test", "u:p@a.test", "a\\b"),
            *('a"b', "a<b", "a|b", "a^b", "a`b", "{a}", "a%", "a%2", "a%zz", "a:b", "a:80:80", "a:-1", "a:+80"),
            *("a: 80", "a :80", "a:80 ,b", ":80", ":", "[", "]", "[]", "[::1", "::1", "::1]", "[::zz]", "[::1]80"),
            *("[::1]:x", "[1.2.3.4]", "[::1%25lo]", "[a]", "\xe9.test", "a\x01b", "a\x7fb", "a\tb", "a;b c"),
            *("a.test\x00", "[::1]]", "a[::1]"),
        )
    ),
    *(
        serve(f"host {host}", get(host=host), "RFC 9110 7.2", has={"host": host})
        for host in (
            *("a", "a.test.", "A.Test", "a-b", "model_server", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80"),
            *("[2001:db8::1]:443", "a.test:80", "a.test:65535", "1", "xn--nxasmq6b.test"),
        )
    ),
    *(
        either(f"host {host}", get(host=host), "RFC 3986 3.2.2: a reg-name that no resolver knows; RFC 3986 3.2.3")
        for host in ("a,b", "a;b", "a!b", "a*b", "(a)", "a=b", "%61.test", "a.test:", "a:65536", "a:000080", "a:999999")
    ),
    serve("spaces around", raw(LINE, "Host: \t a.test \t "), "RFC 9110 5.5", has={"host": "a.test"}),
    serve("in lower case, last", raw(LINE, "X-A: b", "host:a.test"), "RFC 9110 5.1", has={"host": "a.test"}),
    either("differs from the target", get(target="http://a.test/t", host="b.test"), "RFC 9112 3.2.2: replaced"),
    refuse("bad beside an absolute target", get(target="http://a.test/t", host="b/c"), "RFC 9112 3.2"),
    refuse("empty beside an absolute target", get(target="http://a.test/t", host=""), "RFC 9110 4.2.1"),
]
