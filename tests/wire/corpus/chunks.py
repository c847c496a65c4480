"""Chunk sizes, data, extensions and trailers (RFC 9112 7.1)."""

from __future__ import annotations

from .case import Case, Seen, chunked, either, get, refuse, serve

END = "0\r\n\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"

SIZES: list[Case] = [
    serve("nothing", chunked(END), "RFC 9112 7.1", method="POST"),
    serve("hexadecimal", chunked("A\r\n0123456789\r\na\r\n0123456789\r\n" + END), "RFC 9112 7.1", method="POST",
          body="01234567890123456789"),
    serve("two digits", chunked("1f\r\n" + "x" * 31 + "\r\n1F\r\n" + "y" * 31 + "\r\n" + END), "RFC 9112 7.1",
          method="POST", body="x" * 31 + "y" * 31),
    serve("many small", chunked("1\r\nx\r\n" * 500 + END), "RFC 9112 7.1", method="POST", body="x" * 500),
    serve("leading zeros", chunked("0005\r\nhello\r\n000\r\n\r\n"), "RFC 9112 7.1", method="POST", body="hello"),
    serve("CRLF in the data", chunked("7\r\n\r\n0\r\n\r\n\r\n" + END), "RFC 9112 7.1", method="POST",
          body="\r\n0\r\n\r\n"),
    serve("a request in the data", chunked(f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n{END}"), "RFC 9112 7.1", method="POST",
          body=SMUGGLED),
    serve("64 KiB", chunked("10000\r\n" + "x" * 65536 + "\r\n" + END), "RFC 9112 7.1", method="POST", body="x" * 65536),
    either("a thousand leading zeros", chunked("0" * 1000 + "5\r\nhello\r\n" + END), "RFC 9112 7.1"),
    *(
        refuse(f"size {size!r}", chunked(f"{size}\r\nhello\r\n{END}"), "RFC 9112 7.1", 400, 413)
        for size in (
            *("", " ", "+5", "-5", "0x5", "0X5", "x5", "5x", "5h"),
            *("g", "5.0", "5_", "5,", "5 5", "5\t", "5 ", " 5", "\t5"),
            *("5\x00", "\x005", "5\x0b", "\x0c5", '"5"', "5:", "five"),
            *("#5", "5\xa0", "\xa05", "-0", "+0", "5\r", "\r5"),
            *("5\\", "(5)", "5=a", "5/", "$5", "\xb2", "\xd9\xa5", "5\n", "5\x7f", "\x1f5", "5\x85"),
            *("10000000000000005", "fffffffffffffffff", "f" * 32, "f" * 1000, "100000000000000000000000000000005"),
        )
    ),
    refuse("a size in decimal of 16", chunked("16\r\n0123456789abcdef\r\n" + END), "RFC 9112 7.1"),
    refuse("a minus zero at the end", chunked("5\r\nhello\r\n-0\r\n\r\n"), "RFC 9112 7.1"),
    refuse("an empty size at the end", chunked("5\r\nhello\r\n\r\n\r\n"), "RFC 9112 7.1"),
    refuse("0x0 at the end", chunked("5\r\nhello\r\n0x0\r\n\r\n"), "RFC 9112 7.1"),
    refuse("a zero and a space at the end", chunked("5\r\nhello\r\n0 \r\n\r\n"), "RFC 9112 7.1"),
]  # fmt: skip

LINES: list[Case] = [
    refuse("a bare LF after the size", chunked("5\nhello\r\n" + END), "RFC 9112 7.1"),
    refuse("a bare CR after the size", chunked("5\rhello\r\n" + END), "RFC 9112 7.1"),
    refuse("a bare LF after the data", chunked("5\r\nhello\n" + END), "RFC 9112 7.1"),
    refuse("a bare CR after the data", chunked("5\r\nhello\r" + END), "RFC 9112 7.1"),
    refuse("LF CR after the data", chunked("5\r\nhello\n\r" + END), "RFC 9112 7.1"),
    refuse("nothing after the data", chunked("5\r\nhello" + END), "RFC 9112 7.1"),
    refuse("two bytes too many", chunked("5\r\nhello!!\r\n" + END), "RFC 9112 7.1"),
    refuse("one byte too many", chunked("5\r\nhello!\r\n" + END), "RFC 9112 7.1"),
    refuse("two other bytes for the CRLF", chunked("5\r\nhelloXX" + END), "RFC 9112 7.1"),
    refuse("one byte too few", chunked("6\r\nhello\r\n" + END), "RFC 9112 7.1"),
    refuse("a bare LF after the last size", chunked("5\r\nhello\r\n0\n\r\n"), "RFC 9112 7.1"),
    refuse("a bare LF at the end", chunked("5\r\nhello\r\n0\r\n\n"), "RFC 9112 7.1"),
    refuse("LF LF at the end", chunked("5\r\nhello\r\n0\n\n"), "RFC 9112 7.1"),
    refuse("CR CR LF after the size", chunked("5\r\r\nhello\r\n" + END), "RFC 9112 7.1"),
    refuse("CR CR LF after the data", chunked("5\r\nhello\r\r\n" + END), "RFC 9112 7.1"),
    refuse("an empty line before the size", chunked("\r\n5\r\nhello\r\n" + END), "RFC 9112 7.1"),
    refuse("an empty line between chunks", chunked("5\r\nhello\r\n\r\n5\r\nhello\r\n" + END), "RFC 9112 7.1"),
    refuse("no chunks at all", chunked("hello world\r\n\r\n"), "RFC 9112 7.1"),
    refuse("a request for a chunk", chunked(SMUGGLED), "RFC 9112 7.1"),
    refuse("bad after a good chunk", chunked("5\r\nhello\r\nzz\r\n\r\n"), "RFC 9112 7.1"),
]

EXTENSIONS: list[Case] = [
    *(
        serve(f"extension {text!r}", chunked(f"5{text}\r\nhello\r\n0\r\n\r\n"), "RFC 9112 7.1.1", method="POST",
              body="hello")
        for text in (";a", ";a=b", ";a=b;c=d", ';a="b"', ';a="b c;d"', ';a="b\\"c"', ';a=""', ";a=1", ";a;b;c")
    ),
    serve("an extension of the last chunk", chunked("5\r\nhello\r\n0;a=b\r\n\r\n"), "RFC 9112 7.1.1", method="POST",
          body="hello"),
    *(
        either(f"extension {text!r}", chunked(f"5{text}\r\nhello\r\n0\r\n\r\n"), "RFC 9112 7.1.1: bad whitespace")
        for text in (" ;a", "\t;a=b", " ; a", ";a =b" ,";a= b", "; a=b")
    ),
    *(
        refuse(f"extension {text!r}", chunked(f"5{text}\r\nhello\r\n{END}"), "RFC 9112 7.1.1")
        for text in (
            *(";", ";;a", ";=b", ";a=", ";a=b;", ';a="b'),
            *(';a=b"', ";a=b=c", ";a b", ";a=b c", ";\x00", ";a=\x00", ";a\x01"),
            *(";a\nb", ";a\rb", ";a\n", ';a="\n"', ';a="\r"'),
            *(';a="\r\n"', ';a="b\\', ";a=(b)", ";a=b,c", ";\xe9", ";a=\x7f"),
            *(";a=b\r\r", ';a="\x00"', ';a="b"c', ";a=[b]", "; ", ";a ", "; ;"),
        )
    ),
    refuse("a CRLF in a quoted extension", chunked('5;a="b\r\nhello\r\n0\r\n\r\n"\r\n' + END), "RFC 9112 7.1.1"),
    refuse("a bare LF ends an extension", chunked("2;\nxx\r\n4c\r\n0\r\n\r\n" + SMUGGLED), "RFC 9112 7.1.1"),
    either("an extension of 300 bytes", chunked("5;a=" + "b" * 300 + "\r\nhello\r\n" + END), "RFC 9112 7.1.1"),
    refuse("an extension of 70 KiB", chunked("5;a=" + "b" * 70_000 + "\r\nhello\r\n" + END), "RFC 9112 7.1.1: a limit",
           400, 413, 431),
    refuse("extensions of 100 KiB in all", chunked(("1;a=" + "b" * 200 + "\r\nx\r\n") * 500 + END),
           "RFC 9112 7.1.1: a limit on the total", 400, 413, 431),
]  # fmt: skip

TRAILERS: list[Case] = [
    serve("a trailer", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "Trailer: X-Sum"),
          "contract: trailers are dropped", method="POST", body="hello", lacks=["x-sum", "trailer"]),
    serve("an unannounced trailer", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
          "contract: trailers are dropped", method="POST", body="hello", lacks=["x-sum", "x-more"]),
    *(
        serve(f"trailer {line}", chunked(f"5\r\nhello\r\n0\r\n{line}\r\n\r\n"), "contract: trailers are dropped",
              method="POST", body="hello", lacks=["x-understudy-backend"])
        for line in ("X-Forwarded-For: 10.0.0.1", "X-Understudy-Backend: b", "X_Understudy_Backend: b")
    ),
    *(
        either(f"trailer {line}", chunked(f"5\r\nhello\r\n0\r\n{line}\r\n\r\n"), "RFC 9110 6.5.1: never merged")
        for line in (
            *("Content-Length: 0", "Transfer-Encoding: chunked"),
            *("Host: b.test", "Authorization: x", "Connection: close"),
            *("Content-Type: x", "Trailer: X", "Expect: 100-continue"),
        )
    ),
    *(
        refuse(f"trailer {line!r}", chunked(f"5\r\nhello\r\n0\r\n{line}\r\n\r\n"), "RFC 9112 5, 7.1.2")
        for line in (
            *("X-Sum", "X-Sum : 1", " X-Sum: 1", ": 1"),
            *("X Sum: 1", "X-Sum: 1\x00", "X-Sum: a\rb", "X-Sum: a\nb", "\x00"),
            *("X-Sum: 1\r\n X-Fold: 2", "X-Sum: a\x01", "X\xe9: 1", "GET /smuggled HTTP/1.1"),
        )
    ),
    refuse("trailers of 100 KiB", chunked("0\r\nX-Sum: " + "1" * 100_000 + "\r\n\r\n"), "contract: 64 KiB",
           400, 413, 431),
    either("200 trailers", chunked("0\r\n" + "X-Sum: 1\r\n" * 200 + "\r\n"), "RFC 9112 7.1.2: a limit on trailers"),
    refuse("10,000 trailers", chunked("0\r\n" + "X-Sum: 1\r\n" * 10_000 + "\r\n"), "contract: 64 KiB",
           400, 413, 431),
]  # fmt: skip

BEHIND: list[Case] = [
    serve(
        "a request behind the last chunk",
        chunked("5\r\nhello\r\n" + END) + get(target="/u"),
        "RFC 9112 9.3.2",
        Seen(b"POST", b"/t", b"hello"),
        Seen(b"GET", b"/u"),
    ),
    refuse(
        "chunks behind the last chunk",
        chunked("5\r\nhello\r\n" + END + "5\r\nhello\r\n" + END),
        "RFC 9112 3",
        seen=[Seen(b"POST", b"/t", b"hello")],
    ),
]

CASES = [*SIZES, *LINES, *EXTENSIONS, *TRAILERS, *BEHIND]
