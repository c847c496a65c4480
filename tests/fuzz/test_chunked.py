"""Chunked bodies in every cut: the proxy's reader and the strict reader find the same content and the same end."""

from __future__ import annotations

from random import Random

import pytest
from understudy.filters.api import Failure
from understudy.proxy.http1.body import ChunkedBody

from tests.kit.strict import Request, read_request
from tests.wire.policy import read_front

from .mutate import mutant, split

HEAD = b"POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
GOOD_EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b';a="\\";\xff"', b";a=b;c")
BAD_EXTENSIONS = (b";", b";;a", b";=b", b";a=", b";a=;b", b';a="', b";a=b;", b";a b")


def _read(segments: list[bytes]) -> tuple[bytes, bytes] | None:
    """Content and what is behind it; None when the body did not end. Raises Failure."""
    body = ChunkedBody("bad_request")
    content = b""
    for number, segment in enumerate(segments, 1):
        piece, rest = body.feed(segment)
        content += piece
        if rest is not None:
            return content, rest + b"".join(segments[number:])
    return None


def _body(rng: Random, extensions: tuple[bytes, ...]) -> bytes:
    body = b""
    for _ in range(rng.randrange(4)):
        data = bytes(rng.choice(b'\r\n;=a" 0') for _ in range(rng.randrange(1, 12)))
        body += b"%x%s\r\n%s\r\n" % (len(data), rng.choice(extensions), data)
    trailers = rng.choice((b"", b"", b"X-Sum: y;z\r\n"))
    return body + b"0" + rng.choice(extensions) + b"\r\n" + trailers + b"\r\n" + rng.choice((b"", b"GET / x\r\n\r\n;"))


def _cut(rng: Random, data: bytes) -> list[bytes]:
    if rng.random() < 0.2:
        return [bytes([byte]) for byte in data]
    return [segment for segment in split(rng, data, 6) if segment]


@pytest.mark.parametrize("seed", range(5))
def test_good_bodies_in_every_cut(seed: int) -> None:
    rng = Random(seed)
    for _ in range(1000):
        body = _body(rng, GOOD_EXTENSIONS)
        wanted = read_request(HEAD + body)
        assert isinstance(wanted, Request)
        segments = _cut(rng, body)
        assert _read(segments) == (wanted.body, body[wanted.end - len(HEAD) :]), segments


@pytest.mark.parametrize("seed", range(5))
def test_bad_bodies_in_every_cut(seed: int) -> None:
    rng = Random(seed)
    refused = 0
    for _ in range(1000):
        body = b"".join(mutant(rng, [_body(rng, (*GOOD_EXTENSIONS, *BAD_EXTENSIONS))]))
        wanted = read_front(HEAD + body)
        segments = _cut(rng, body)
        try:
            got = _read(segments)
        except Failure:
            refused += 1
            assert not isinstance(wanted, Request) or wanted.doubts, segments
        else:
            expected = (wanted.body, body[wanted.end - len(HEAD) :]) if isinstance(wanted, Request) else None
            assert got == expected, segments
    assert refused > 200


def test_a_long_line_of_semicolons_is_content() -> None:
    data = b";" * 40_000 + b"\r"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    for size in (1000, 16_384, 40_007, 40_008):
        segments = [body[at : at + size] for at in range(0, len(body), size)]
        assert _read(segments) == (data, b"")
