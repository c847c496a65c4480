"""Field lines: names, colons, values, control bytes, line ends, folding, how many (RFC 9112 5, RFC 9110 5)."""

from __future__ import annotations

from .case import Case, either, get, raw, refuse, serve

CONTROLS = [byte for byte in range(0x20) if byte not in (0x09, 0x0A, 0x0D)] + [0x7F]
NOT_IN_A_NAME = [*map(chr, CONTROLS), *' "(),/;<=>?@[\\]{}', "\t", "\x80", "\xa0", "\xe9", "\xff"]
HEAD = b"GET /t HTTP/1.1\r\nHost: a.test\r\n"

NAMES: list[Case] = [
    *(refuse(f"{byte!r} in a name", get(f"X{byte}A: b"), "RFC 9112 5, RFC 9110 5.1") for byte in NOT_IN_A_NAME),
    refuse("a space before the colon", get("X-A : b"), "RFC 9112 5.1"),
    refuse("a tab before the colon", get("X-A\t: b"), "RFC 9112 5.1"),
    refuse("a space before Host's colon", raw("GET /t HTTP/1.1", "Host : a.test"), "RFC 9112 5.1"),
    refuse("an empty name", get(": b"), "RFC 9112 5"),
    refuse("only a colon", get(":"), "RFC 9112 5"),
    refuse("a leading colon", get(":authority: b"), "RFC 9112 5"),
    refuse("a blank name", get(" : b"), "RFC 9112 5"),
    refuse("no colon", get("X-A"), "RFC 9112 5"),
    refuse("no colon, a space", get("X-A b"), "RFC 9112 5"),
    refuse("no colon in the first", raw("GET /t HTTP/1.1", "X-A", "Host: a.test"), "RFC 9112 5"),
    refuse("an equals sign for the colon", get("X-A= b"), "RFC 9112 5"),
    refuse("a second request line", get("GET /u HTTP/1.1"), "RFC 9112 5"),
    serve(
        "every byte of a token", get("!#$%&'*+-.^_`|~09azAZ: b"), "RFC 9110 5.6.2", has={"!#$%&'*+-.^_`|~09azaz": "b"}
    ),
    serve("a long name", get("X" * 3000 + ": b"), "RFC 9110 5.1", has={"x" * 3000: "b"}),
]

VALUES: list[Case] = [
    *(refuse(f"{byte:#04x} in a value", get(f"X-A: b{chr(byte)}c"), "RFC 9110 5.5") for byte in CONTROLS),
    refuse("a NUL at the end of a value", get("X-A: b\x00"), "RFC 9110 5.5"),
    refuse("a NUL alone", get("X-A: \x00"), "RFC 9110 5.5"),
    serve("a tab in a value", get("X-A: b\tc"), "RFC 9110 5.5", has={"x-a": "b\tc"}),
    serve("an empty value", get("X-A:"), "RFC 9110 5.5", has={"x-a": ""}),
    serve("a blank value", get("X-A: \t "), "RFC 9110 5.5", has={"x-a": ""}),
    serve("whitespace around a value", get("X-A:\t b c \t"), "RFC 9110 5.5", has={"x-a": "b c"}),
    serve("colons in a value", get("X-A:: b: c"), "RFC 9110 5.5", has={"x-a": ": b: c"}),
    serve("bytes beyond ASCII", get("X-A: caf\xc3\xa9 \xff\x80"), "RFC 9110 5.5", has={"x-a": "caf\xc3\xa9 \xff\x80"}),
    serve("repeated lines", get("X-A: 1", "X-B: 2", "x-a: 3"), "RFC 9110 5.3", has={"x-a": "1|3", "x-b": "2"}),
    serve("a long value", get("X-A: " + "b" * 60_000), "contract: 64 KiB", has={"x-a": "b" * 60_000}),
]

LINE_ENDS: list[Case] = [
    refuse("a bare CR in a value", get("X-A: b\rc"), "RFC 9112 2.2"),
    refuse("a bare CR and a field in a value", get("X-A: b\rX-B: c"), "RFC 9112 2.2"),
    refuse("a bare LF in a value", get("X-A: b\nX-B: c"), "contract, RFC 9112 2.2"),
    refuse("a bare LF hides a framing field", get("X-A: b\nTransfer-Encoding: chunked"), "contract, RFC 9112 2.2"),
    refuse("a bare CR hides a framing field", get("X-A: b\rTransfer-Encoding: chunked"), "RFC 9112 2.2"),
    refuse("a bare CR before the colon", get("X-A\r: b"), "RFC 9112 2.2"),
    refuse("CR CR LF", HEAD + b"X-A: b\r\r\n\r\n", "RFC 9112 2.2"),
    refuse("LF CR", HEAD + b"X-A: b\n\rX-B: c\r\n\r\n", "RFC 9112 2.2"),
    refuse("CR CR LF ends the head", HEAD + b"\r\r\n", "RFC 9112 2.2"),
    refuse("a bare CR ends the head", HEAD + b"X-A: b\r\n\rX-B: c\r\n\r\n", "RFC 9112 2.2"),
    refuse("LF LF ends the head", HEAD + b"X-A: b\n\n", "contract, RFC 9112 2.2"),
    refuse("CRLF LF ends the head", HEAD + b"X-A: b\r\n\n", "contract, RFC 9112 2.2"),
    refuse("a bare CR line", HEAD + b"\rX-A: b\r\n\r\n", "RFC 9112 2.2"),
]

FOLDS: list[Case] = [
    refuse("folded by a space", get("X-A: b", " c"), "RFC 9112 5.2"),
    refuse("folded by a tab", get("X-A: b", "\tc"), "RFC 9112 5.2"),
    refuse("folded by many", get("X-A: b", "  \t c", " d"), "RFC 9112 5.2"),
    refuse("folded with a colon", get("X-A: b", " X-B: c"), "RFC 9112 5.2"),
    refuse("folded to nothing", get("X-A: b", " "), "RFC 9112 5.2"),
    refuse("folded from nothing", get("X-A:", " b"), "RFC 9112 5.2"),
    refuse("a space before the first field", raw("GET /t HTTP/1.1", " Host: a.test"), "RFC 9112 2.2"),
    refuse("a tab before the first field", raw("GET /t HTTP/1.1", "\tX-A: b", "Host: a.test"), "RFC 9112 2.2"),
    refuse("a blank first line", raw("GET /t HTTP/1.1", " ", "Host: a.test"), "RFC 9112 2.2"),
    refuse("a folded Transfer-Encoding", get("Transfer-Encoding:", " chunked") + b"0\r\n\r\n", "RFC 9112 5.2"),
    refuse("a folded Content-Length", get("Content-Length:", " 5") + b"hello", "RFC 9112 5.2"),
    refuse("a fold ended by LF", get("X-A: b\n c"), "RFC 9112 5.2"),
]

HOW_MANY: list[Case] = [
    serve("100 fields", get(*(f"X-{n}: {n}" for n in range(99))), "contract: 100 fields", has={"x-98": "98"}),
    refuse("101 fields", get(*(f"X-{n}: {n}" for n in range(100))), "contract: 100 fields", 431),
    refuse("1,000 fields", get(*(f"X-{n}: {n}" for n in range(999))), "contract: 100 fields", 431),
    refuse("10,000 empty fields", get(*["A:"] * 10_000), "contract: 100 fields", 431),
    refuse("a head over 64 KiB", get("X-A: " + "b" * 65_600), "contract: 64 KiB", 431),
    refuse(
        "a head over 64 KiB in many fields", get(*("X-A: " + "b" * 1000 for _ in range(70))), "contract: 64 KiB", 431
    ),
    refuse("a head of 1 MiB", get("X-A: " + "b" * 1_048_576), "contract: 64 KiB", 431),
    refuse("a name of 70 KiB", get("X" * 70_000 + ": b"), "contract: 64 KiB", 431),
    refuse("a head that never ends", HEAD + b"X-A: " + b"b" * 200_000, "contract: 64 KiB", 431),
]

UNDERSCORES: list[Case] = [
    either(f"{name} with underscores", get(f"{name}: {value}"), "a gateway may map _ to -: refused or dropped")
    for name, value in (
        *(
            ("Content_Length", "5"),
            ("content_length", "0"),
            ("Transfer_Encoding", "chunked"),
            ("transfer_encoding", "x"),
        ),
        *(("X_Forwarded_For", "10.0.0.1"), ("X-Forwarded_For", "10.0.0.1"), ("X_Forwarded_Proto", "https")),
    )
]

CASES = [*NAMES, *VALUES, *LINE_ENDS, *FOLDS, *HOW_MANY, *UNDERSCORES]
