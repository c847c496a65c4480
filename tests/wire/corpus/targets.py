"""Request targets: the four forms, URI characters, escapes, dot-segments, length (RFC 9112 3.2, RFC 3986, contract)."""

from __future__ import annotations

from .case import Case, either, get, raw, refuse, serve

NOT_IN_A_PATH = [*map(chr, range(0x01, 0x21)), *'"<>\\^`{|}[]', "\x7f", "\x80", "\xa0", "\xe9", "\xff"]

ORIGIN: list[Case] = [
    *(
        serve(f"target {target}", get(target=target), "RFC 9112 3.2.1", target=target)
        for target in (
            *("/", "/a", "/a/", "//", "//a//b", "/a;p=1,2/b", "/-._~!$&'()*+,;=:@", "/%41%7a", "/%00"),
            *("/a?", "/a?b=c&d", "/?", "/a?b/c?d", "/a?b[]=1&c[d]=2", "/a?u=http://b/c", "/a?%20+%ff", "/a?x=../.."),
            *("/a%2Fb", "/a%2fb", "/a%5Cb", "/%2f", "/a%252e%252e/b", "/...", "/..a", "/a..", "/.a/.b.", "/a/.../b"),
            *("/%2e%2e%2e", "/a/%2ehidden", "/v2/models/iris/infer", "/a@b:c", "/http://b/", "/*", "/a%3Fb", "/a%23b"),
        )
    ),
    *(
        refuse(f"{character!r} in the path", get(target=f"/a{character}b"), "RFC 3986 3.3")
        for character in NOT_IN_A_PATH
        if character not in "\r\n"
    ),
    *(
        refuse(f"{character!r} in the query", get(target=f"/a?b{character}c"), "RFC 3986 3.4")
        for character in NOT_IN_A_PATH
        if character not in "\r\n[]"
    ),
    *(
        refuse(f"escape {escape!r}", get(target=f"/a{escape}"), "RFC 3986 2.1")
        for escape in ("%", "%2", "%zz", "%2g", "%g2", "%%41", "%u0041", "% 41", "%-1", "?%", "?a=%4", "?%xy", "%2\xb2")
    ),
    refuse("a fragment", get(target="/a#b"), "RFC 9112 3.2"),
    refuse("an empty fragment", get(target="/a#"), "RFC 9112 3.2"),
    refuse("a fragment behind a query", get(target="/a?b#c"), "RFC 9112 3.2"),
    refuse("a relative path", get(target="a/b"), "RFC 9112 3.2.1"),
    refuse("only a query", get(target="?a=b"), "RFC 9112 3.2.1"),
    refuse("a backslash first", get(target="\\a"), "RFC 9112 3.2.1"),
    refuse("an escape first", get(target="%2Fa"), "RFC 9112 3.2.1"),
    refuse("an authority without CONNECT", get(target="a.test:80"), "RFC 9112 3.2.3"),
]

DOTS: list[Case] = [
    *(
        refuse(f"dot-segment {target}", get(target=target), "contract: dot-segments, encoded or not, are 400")
        for target in (
            *(
                "/.",
                "/..",
                "/./",
                "/../",
                "/a/./b",
                "/a/../b",
                "/a/..",
                "/a/.",
                "/../../etc/passwd",
                "//..",
                "/a//../b",
            ),
            *("/%2e", "/%2E%2e", "/%2e./a", "/.%2e/a", "/a/%2e%2e/b", "/a/%2E", "/a/.%2E", "/a/%2e?x", "/a/..?x=1"),
            *("http://a.test/..", "http://a.test/a/%2e%2e/b"),
        )
    ),
    *(
        either(f"hidden dots {target}", get(target=target), "contract: %2F is never decoded")
        for target in ("/a%2f..%2fb", "/a/..%2Fb", "/a%5c..%5cb", "/..%5cb", "/a%2f%2e%2e", "/%2e%2e%2fa", "/..;a/b")
    ),
]

ABSOLUTE: list[Case] = [
    serve("absolute", get(target="http://a.test/t"), "RFC 9112 3.2.2", has={"host": "a.test"}),
    serve("absolute with a port", get(target="http://a.test:81/t", host="a.test:81"), "RFC 9112 3.2.2"),
    serve("absolute, scheme in capitals", get(target="HTTP://a.test/t"), "RFC 9110 4.2.3"),
    serve("absolute with a query", get(target="http://a.test/t?x=1"), "RFC 9112 3.2.2", target="/t?x=1"),
    serve("absolute without a path", get(target="http://a.test"), "RFC 9112 3.2.1", target="/"),
    serve("absolute, a query without a path", get(target="http://a.test?x=1"), "RFC 9112 3.2.1", target="/?x=1"),
    serve("absolute in HTTP/1.0", raw("GET http://a.test/t HTTP/1.0"), "RFC 9112 3.2.2", has={"host": "a.test"}),
    serve(
        "absolute OPTIONS of the server",
        get(target="http://a.test", method="OPTIONS"),
        "RFC 9112 3.2.4",
        method="OPTIONS",
        target="*",
    ),
    serve(
        "absolute OPTIONS of the root",
        get(target="http://a.test/", method="OPTIONS"),
        "RFC 9112 3.2.4",
        method="OPTIONS",
        target="/",
    ),
    serve("absolute to IPv6", get(target="http://[::1]/t", host="[::1]"), "RFC 9112 3.2.2", has={"host": "[::1]"}),
    either("https in plain text", get(target="https://a.test/t"), "RFC 9110 7.4"),
    refuse("absolute without Host", raw("GET http://a.test/t HTTP/1.1"), "RFC 9112 3.2"),
    *(
        refuse(f"absolute {target!r}", get(target=target), "RFC 9110 4.2, RFC 3986")
        for target in (
            *("ftp://a.test/t", "file:///t", "http:///t", "http://", "http:/t", "http:a.test/t", "://a.test/t"),
            *("http://u@a.test/t", "http://u:p@a.test/t", "http://@a.test/t", "http://a.test:x/t", "http://a test/t"),
            *(
                "http://[::1/t",
                "http://::1]/t",
                "http://[::zz]/t",
                "http://a.test/t#f",
                "http://a\\b/t",
                "http://a<b/t",
            ),
            *("http://a.test/a|b", "http://a.test/%4", "http://:80/t", "http://?x", "javascript://a.test/t"),
            *("urn:a:b", "data:,x", "http+x://a.test/t", "1http://a.test/t", "http://a%zz/t", "http://a.test:80:80/t"),
        )
    ),
]

ASTERISK: list[Case] = [
    serve("OPTIONS *", get(target="*", method="OPTIONS"), "RFC 9112 3.2.4", method="OPTIONS", target="*"),
    *(refuse(f"{method} *", get(target="*", method=method), "RFC 9112 3.2.4") for method in ("GET", "POST", "HEAD")),
    refuse("OPTIONS * with a query", get(target="*?a", method="OPTIONS"), "RFC 9112 3.2.4"),
    refuse("OPTIONS **", get(target="**", method="OPTIONS"), "RFC 9112 3.2.4"),
    refuse("OPTIONS */", get(target="*/", method="OPTIONS"), "RFC 9112 3.2.4"),
]

LENGTH: list[Case] = [
    serve("a target of 8 KiB", get(target="/" + "a" * 8191), "contract", target="/" + "a" * 8191),
    refuse("a target over 8 KiB", get(target="/" + "a" * 8192), "contract", 414),
    refuse("a query over 8 KiB", get(target="/?" + "a" * 8192), "contract", 414),
    refuse("a target of 60 KiB", get(target="/" + "a" * 60 * 1024), "contract", 414),
    refuse("a target of 200 KiB", get(target="/" + "a" * 200 * 1024), "contract", 414, 431),
]

CASES = [*ORIGIN, *DOTS, *ABSOLUTE, *ASTERISK, *LENGTH]
