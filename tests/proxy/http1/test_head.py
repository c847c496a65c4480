"""Answers' heads that were read of late are remembered: nothing but time may tell."""

from __future__ import annotations

import pytest
from understudy.filters.api import Exchange, Failure, Response
from understudy.proxy.http1 import head as heads
from understudy.proxy.http1.head import CHUNKED, read_response_head

from tests.kit.acting import Does
from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Model: iris\r\n\r\n"


def test_the_same_bytes_answer_head_and_get_differently_whichever_came_first() -> None:
    for method, length in ((b"GET", 2), (b"HEAD", 0), (b"GET", 2), (b"HEAD", 0)):
        assert read_response_head(OK, method, 10).length == length


def test_what_is_wrong_stays_wrong_and_an_interim_answer_is_read_anew() -> None:
    both = OK.replace(b"X-Model: iris", b"Transfer-Encoding: chunked")
    for _ in range(3):
        with pytest.raises(Failure):
            read_response_head(both, b"GET", 10)
    interim = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n"
    first, second = (read_response_head(interim, b"GET", 10) for _ in range(2))
    assert first is not second
    assert (
        read_response_head(OK.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"), b"GET", 10).length
        == CHUNKED
    )


def test_so_many_are_remembered_and_only_short_ones() -> None:
    for number in range(1000):
        read_response_head(OK.replace(b"iris", b"%d" % number), b"GET", 10)
        assert len(heads._read_heads) <= 64
    long = OK.replace(b"iris", b"x" * 1024)
    read_response_head(long, b"GET", 10)
    assert long not in heads._read_heads


def writes(exchange: Exchange, response: Response) -> Response:
    """As a careless filter might."""
    response.headers.append((b"x-secret", exchange.request.fields[b"x-user"]))
    return response


@on_the_loop
async def test_what_is_written_to_one_answer_does_not_show_in_the_next() -> None:
    async with upstream() as backend:
        text = document([backend.url], backend={"keep_alive": "0s"})
        async with configured(text, lambda _: [Does(on_response=writes)]) as proxy:
            client = await proxy.connect()
            for user in b"a", b"b":
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-User: %b\r\n\r\n" % user)
                call, _ = await backend.call()
                call.send(OK + b"ok")
                answer = await client.message()
                assert answer.all(b"x-secret") == [user]
                assert answer.all(b"x-model") == [b"iris"]
