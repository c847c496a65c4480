"""Content-Length and Transfer-Encoding in all their quarrels (RFC 9112 6.1 to 6.3, RFC 9110 8.6)."""

from __future__ import annotations

from .case import Case, Seen, chunked, either, get, post, raw, refuse, serve, sized

WHOLE = "5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"

TABS = "RFC 9110 5.6.3: OWS should be one space; other tricks of the trade begin with a tab here, so 400 is no loss"

LENGTHS: list[Case] = [
    serve("sized", sized("hello"), "RFC 9112 6.2", method="POST", body="hello"),
    serve("zero", sized(""), "RFC 9112 6.2", method="POST"),
    serve("without any", post(""), "RFC 9112 6.3", method="POST"),
    serve("a GET with content", get("Content-Length: 2") + b"hi", "RFC 9110 9.3.1", body="hi"),
    serve("a DELETE with content", get("Content-Length: 2", method="DELETE") + b"hi", "RFC 9110 9.3.5", method="DELETE",
          body="hi"),
    serve("content that looks like a request", sized(SMUGGLED), "RFC 9112 6.2", method="POST", body=SMUGGLED),
    serve("spaces around", post("hello", "Content-Length:  5  "), "RFC 9110 5.5", method="POST", body="hello"),
    either("tabs around a length", post("hello", "Content-Length: \t5\t"), TABS),
    either("tabs around a coding", post(WHOLE, "Transfer-Encoding:\tchunked\t"), TABS),
    serve("64 KiB", sized("x" * 65536), "RFC 9112 6.2", method="POST", body="x" * 65536),
    *(either(f"length {n}", post("hello", f"Content-Length: {n}"), "RFC 9110 8.6") for n in ("05", "0000000000000005")),
    *(
        refuse(f"length {value!r}", post("hello", f"Content-Length: {value}"), "RFC 9110 8.6, RFC 9112 6.3", 400, 413)
        for value in (
            *("", "+5", "-5", "-0", "+0", "0x5", "0X5", "5.0", "5e0", "5_0", "0o5", "five", "5a", "a5", "5 5", "5\t5"),
            *("5,5", "5, 5", "5,", ",5", "5, 6", "5;5", "5;q=1", '"5"', "'5'", "(5)", "5 ;", "5\x0b", "\x0b5", "5\xa0"),
            *("\xa05", "\xb2", "\xd9\xa5", "5\x00", "\x005", "1" * 5 + "L"),
            *("0b101", "NaN", "Infinity", "%35", "$5", "*"),
            *("18446744073709551616", "18446744073709551621", "99999999999999999999", "9" * 100, "9" * 5000),
            *("9223372036854775808", "36893488147419103237", "340282366920938463463374607431768211461"),
        )
    ),
]  # fmt: skip

DOUBLED: list[Case] = [
    refuse("twice the same", post("hello", "Content-Length: 5", "Content-Length: 5"), "RFC 9112 6.3"),
    refuse("twice, different", post("hello", "Content-Length: 5", "Content-Length: 6"), "RFC 9112 6.3"),
    refuse("twice, shorter last", post("hello", "Content-Length: 5", "Content-Length: 0"), "RFC 9112 6.3"),
    refuse("twice, one in capitals", post("hello", "Content-Length: 5", "CONTENT-LENGTH: 5"), "RFC 9112 6.3"),
    refuse("twice, one empty", post("hello", "Content-Length: 5", "Content-Length:"), "RFC 9112 6.3"),
    refuse("twice, one zero", post("hello", "Content-Length: 0", "Content-Length: 5"), "RFC 9112 6.3"),
    refuse("twice, apart", post("hello", "Content-Length: 5", "X-A: b", "Content-Length: 5"), "RFC 9112 6.3"),
    refuse("thrice", post("hello", *["Content-Length: 5"] * 3), "RFC 9112 6.3"),
]

CODINGS: list[Case] = [
    serve("chunked", chunked(WHOLE), "RFC 9112 7.1", method="POST", body="hello"),
    serve("a GET, chunked", get("Transfer-Encoding: chunked") + WHOLE.encode(), "RFC 9110 9.3.1", body="hello"),
    *(
        serve(f"coding {value!r}", post(WHOLE, f"Transfer-Encoding:{value}"), "RFC 9112 7", method="POST", body="hello")
        for value in ("chunked", " Chunked", " CHUNKED", "  chunked  ")
    ),
    *(
        either(f"coding {value!r}", post(WHOLE, f"Transfer-Encoding: {value}"), "RFC 9110 5.6.1.2: empty elements")
        for value in (",chunked", "chunked,", ", ,chunked")
    ),
    *(
        refuse(f"coding {value!r}", post(WHOLE, f"Transfer-Encoding: {value}"), "RFC 9112 6.1, 6.3, 7", 400, 501)
        for value in (
            *("", " ", ",", "identity", "gzip"),
            *("x", "xchunked", "chunkedx", "chunke", "chunked chunked", "chunked;q=1"),
            *("chunked;", "chunked;a=b", '"chunked"', "'chunked'", "chunked, chunked", "chunked,chunked", "x, chunked"),
            *("gzip, chunked", "chunked, gzip", "chunked, identity", "identity, chunked", "chunked, x", "deflate"),
            *("chunked\x0b", "\x0bchunked", "\x0cchunked", "chunked\x00", "\x00chunked", "\xa0chunked", "chunked\xa0"),
            *("chunked\x7f", "=chunked", "chunked=", "(chunked)", "[chunked]", "chun ked", "chun\tked", "c\xe7hunked"),
            *("chunk", "Chun\u212aed".encode().decode("latin-1"), "\xefchunked", ":chunked", "chunked:", "true"),
        )
    ),
    refuse("chunked twice", post(WHOLE, *["Transfer-Encoding: chunked"] * 2), "RFC 9112 6.1", 400, 501),
    refuse("chunked, then gzip", post(WHOLE, "Transfer-Encoding: chunked", "Transfer-Encoding: gzip"), "RFC 9112 6.1",
           400, 501),
    refuse("gzip, then chunked", post(WHOLE, "Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), "RFC 9112 6.1",
           400, 501),
    refuse("identity, then chunked", post(WHOLE, "Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
           "RFC 9112 6.1", 400, 501),
    refuse("chunked, then empty", post(WHOLE, "Transfer-Encoding: chunked", "Transfer-Encoding: x"), "RFC 9112 6.1",
           400, 501),
    refuse("chunked in HTTP/1.0", raw("POST /t HTTP/1.0", "Host: a.test", "Transfer-Encoding: chunked", body=WHOLE),
           "RFC 9112 6.1"),
    refuse("identity in HTTP/1.0", raw("POST /t HTTP/1.0", "Host: a.test", "Transfer-Encoding: identity"),
           "RFC 9112 6.1", 400, 501),
]  # fmt: skip

BOTH: list[Case] = [
    refuse(f"{first} and {second}", post(body, first, second), "RFC 9112 6.3", 400, 501)
    for first, second, body in (
        ("Content-Length: 15", "Transfer-Encoding: chunked", WHOLE),
        ("Transfer-Encoding: chunked", "Content-Length: 15", WHOLE),
        ("Transfer-Encoding: chunked", "Content-Length: 5", WHOLE),
        ("Transfer-Encoding: chunked", "Content-Length: 0", WHOLE),
        ("Transfer-Encoding: chunked", "content-length: 0", SMUGGLED),
        ("Content-Length: 49", "Transfer-Encoding: chunked", SMUGGLED),
        ("Content-Length: 5", "Transfer-Encoding: identity", "hello"),
        ("Content-Length: 5", "Transfer-Encoding: xchunked", "hello"),
        ("Content-Length: 5", "Transfer-Encoding:", "hello"),
        ("Content-Length: 5", "Transfer-Encoding: \x0bchunked", "hello"),
        ("Content-Length: 5", "Transfer-Encoding: chunked, identity", "hello"),
        ("Content-Length: 5", "TRANSFER-ENCODING: chunked", WHOLE),
        ("Content-Length: 5", "Transfer-Encoding : chunked", WHOLE),
        ("Content-Length: 5", " Transfer-Encoding: chunked", WHOLE),
        ("Content-Length: 5", "X: y\nTransfer-Encoding: chunked", WHOLE),
        ("Content-Length: 5", "X: y\rTransfer-Encoding: chunked", WHOLE),
        ("Content-Length: 5", "Transfer-Encoding\t: chunked", WHOLE),
        ("Content-Length: 5", "Transfer-\r\n Encoding: chunked", WHOLE),
        ("Content-Length : 5", "Transfer-Encoding: chunked", WHOLE),
        ("Content-Length:", "Transfer-Encoding: chunked", WHOLE),
        ("Content-Length: x", "Transfer-Encoding: chunked", WHOLE),
        ("Content-Length: 5\x00", "Transfer-Encoding: chunked", WHOLE),
    )
]

SPELLINGS: list[Case] = [
    either("content_length beside chunked", chunked(WHOLE, "content_length: 0"), "refused or dropped"),
    either("transfer_encoding beside a length", sized("hello", "transfer_encoding: chunked"), "refused or dropped"),
    either("Content_Length beside a length", sized("hello", "Content_Length: 0"), "refused or dropped"),
    serve("Content-Lengths", get("Content-Lengths: 5"), "RFC 9110 5.1", has={"content-lengths": "5"}),
    serve("X-Transfer-Encoding", get("X-Transfer-Encoding: chunked"), "RFC 9110 5.1"),
    serve("Content-Encoding", sized("hello", "Content-Encoding: gzip"), "RFC 9110 8.4", method="POST", body="hello",
          has={"content-encoding": "gzip"}),
    serve("Transfer-Encoding as a value", get("X-A: Transfer-Encoding: chunked"), "RFC 9110 5.5"),
]  # fmt: skip

SHORT: list[Case] = [
    refuse(
        "more than the length",
        post("hello!!\r\n\r\n", "Content-Length: 5"),
        "RFC 9112 3",
        seen=[Seen(b"POST", b"/t", b"hello")],
    ),
    refuse(
        "content without a length",
        post("hello world and more\r\n\r\n"),
        "RFC 9112 6.3",
        400,
        501,
        seen=[Seen(b"POST", b"/t")],
    ),
    serve("a HEAD with content", get("Content-Length: 2", method="HEAD") + b"hi", "RFC 9110 9.3.2", method="HEAD",
          body="hi"),
]  # fmt: skip

CASES = [*LENGTHS, *DOUBLED, *CODINGS, *BOTH, *SPELLINGS, *SHORT]
