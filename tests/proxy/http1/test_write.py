"""What we write is read back as it was meant, by the strict reader of the kit and by our own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy.config.snapshot import Listener
from understudy.filters.api import Headers
from understudy.proxy.http1 import write
from understudy.proxy.http1.body import ChunkedBody, CountedBody
from understudy.proxy.http1.head import CHUNKED, read_request_head, read_response_head

from tests.kit.strict import read_request

LISTENER = Listener("ingress", "127.0.0.1:0", max_fields=10_000)
NAME = b"abcdefghijklmnopqrstuvwxyz0123456789-"
names = st.binary(min_size=1, max_size=12).map(lambda raw: b"x-" + bytes(NAME[byte % len(NAME)] for byte in raw))
VALUE = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)
words = st.binary(min_size=1, max_size=20).map(lambda raw: bytes(VALUE[byte % len(VALUE)] for byte in raw))
fields = st.lists(st.tuples(names, st.lists(words, max_size=3).map(b" ".join)), max_size=8)


@given(fields, st.binary(max_size=300), st.booleans())
def test_a_request_is_read_as_it_was_meant(headers: Headers, content: bytes, counted: bool) -> None:
    tail = write.framing(len(content) if counted else None)
    lines = write.field_lines(headers[:3])
    head = write.request_head(b"POST", b"/a?b", b"model.local", lines, headers[3:], tail)
    body = content if counted else write.chunk(content) + write.LAST_CHUNK
    request = read_request(head + body + b"next")
    assert (request.method, request.target, request.body) == (b"POST", b"/a?b", content)
    assert head[: request.end - len(body)] == head, "it ends where we ended it"
    read = read_request_head(head, LISTENER, True)
    assert (read.method, read.target, read.authority) == (b"POST", b"/a?b", b"model.local")
    assert read.headers == headers
    assert read.length == (len(content) if counted else CHUNKED)


@given(fields, st.integers(200, 599), st.integers(0, 10_000) | st.none())
def test_an_answer_is_read_as_it_was_meant(headers: Headers, status: int, length: int | None) -> None:
    raw = write.response_head(status, headers, write.framing(length))
    head = read_response_head(raw, b"GET", 10_000)
    assert (head.status, head.headers) == (status, headers)
    empty = status in (204, 304)
    assert head.length == (0 if empty else CHUNKED if length is None else length)
    assert raw.startswith(b"HTTP/1.1 %d " % status) and raw.endswith(b"\r\n\r\n")


def test_framing_of_every_size() -> None:
    for length in 0, 1, 4095, 4096, 1 << 40:
        assert write.framing(length) == b"content-length: %d\r\n" % length
    assert write.framing(None) == b"transfer-encoding: chunked\r\n"
    assert write.chunk(b"") == b"", "an empty chunk would end the body"
    assert write.chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    st.binary(max_size=30),
    st.lists(st.integers(1, 40), min_size=1, max_size=40),
)
def test_chunks_are_read_back_wherever_they_are_torn(chunks: list[bytes], behind: bytes, cuts: list[int]) -> None:
    wire = b"".join(map(write.chunk, chunks)) + write.LAST_CHUNK + behind
    reader, content, at, turn = ChunkedBody("bad_request"), b"", 0, 0
    while True:
        size = cuts[turn % len(cuts)]
        turn += 1
        piece, at = wire[at : at + size], at + size
        got, rest = reader.feed(piece)
        content += got
        if rest is not None:
            break
        assert at < len(wire), "its end was overlooked"
    assert content == b"".join(chunks)
    assert rest + wire[at:] == behind, "not a byte of what stands behind was taken"


@given(st.binary(max_size=80), st.integers(1, 60), st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_a_counted_body_ends_at_its_last_byte(wire: bytes, length: int, cuts: list[int]) -> None:
    reader, content, at, rest, turn = CountedBody(length), b"", 0, None, 0
    while rest is None and at < len(wire):
        size = cuts[turn % len(cuts)]
        turn += 1
        got, rest = reader.feed(wire[at : at + size])
        content, at = content + got, at + size
    assert content == wire[: min(length, at)]
    assert (rest is not None) == (at >= length and len(wire) >= length)
    if rest is not None:
        assert rest + wire[at:] == wire[length:]
