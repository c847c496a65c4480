"""Streams of events over real sockets: what is told of their tokens, and of which answers nothing is."""

from __future__ import annotations

import pytest
from understudy.proxy.shadow import Copy
from understudy.proxy.telemetry.records import Pair
from understudy.proxy.telemetry.sketch import quantiles

from tests.kit.conversation import Peer, on_the_loop
from tests.kit.hearing import Told, traces
from tests.kit.shadows import Stage, mirroring, ok, post
from tests.kit.talking import DONE, HEAD, ROLE, WORD, chunk

LAST = chunk(DONE) + chunk(b"")


def only_copy(stage: Stage) -> Copy:
    (copy,) = stage.lane.copies
    return copy


async def seen(stage: Stage, copy: Copy, chunks: int) -> None:
    """Wait until so many events with content came from the shadow."""
    await stage.proxy.settled(lambda: copy.tokens is not None and copy.tokens.chunks == chunks, 5.0)


async def begun(stage: Stage) -> tuple[Peer, Peer, Peer, Copy]:
    """Both have said who speaks, and nothing more."""
    client, live, _, shadow, _ = await stage.asked(post(b"hello"))
    copy = only_copy(stage)
    live.send(HEAD + chunk(ROLE))
    assert (await client.head()).status == 200
    assert await client.chunk() == ROLE
    shadow.send(HEAD + chunk(ROLE))
    await seen(stage, copy, 0)
    return client, live, shadow, copy


@on_the_loop
async def test_the_first_token_is_that_of_the_first_event_with_content() -> None:
    async with mirroring(telemetry=traces()) as stage:
        told = Told(stage.proxy)
        client, live, shadow, copy = await begun(stage)
        shadow.send(chunk(WORD))
        await seen(stage, copy, 1)
        live.send(chunk(WORD))
        assert await client.chunk() == WORD
        shadow.send(chunk(WORD) + LAST)
        for _ in range(2):
            live.send(chunk(WORD))
            assert await client.chunk() == WORD
        live.send(LAST)
        assert await client.chunk() == DONE
        pair = await stage.pair()
        live_stream, shadow_stream = pair.live_stream, pair.shadow_stream
        assert live_stream is not None
        assert shadow_stream is not None
        assert (live_stream.chunks, shadow_stream.chunks) == (3, 2)
        assert pair.live_first_byte_ms is not None
        assert pair.shadow_first_byte_ms is not None
        assert live_stream.first_token_ms is not None
        assert shadow_stream.first_token_ms is not None
        assert pair.live_first_byte_ms < pair.shadow_first_byte_ms < shadow_stream.first_token_ms
        assert shadow_stream.first_token_ms < live_stream.first_token_ms
        assert live_stream.per_chunk_ms is not None
        assert pair.live_total_ms is not None
        assert live_stream.first_token_ms + 2 * live_stream.per_chunk_ms <= pair.live_total_ms
        exchange = await told.only()
        assert [each.stream for each in exchange.calls] == [live_stream, shadow_stream]
        tallies = {each.key.role: each for each in stage.proxy.plane.stats.calls()}
        (first_s,) = quantiles(tallies["shadow"].first_token.sketch, 0.5)
        assert first_s == pytest.approx(shadow_stream.first_token_ms / 1000, rel=0.02)
        assert tallies["live"].per_chunk.sum_s == pytest.approx(live_stream.per_chunk_ms / 1000)


@on_the_loop
async def test_a_copy_cut_before_its_first_token_has_none_and_one_cut_behind_it_keeps_it() -> None:
    async with mirroring() as stage:
        for words in (0, 1):
            client, live, shadow, copy = await begun(stage)
            if words:
                shadow.send(chunk(WORD))
                await seen(stage, copy, 1)
            copy.abandon("shadow_timeout")
            live.send(chunk(WORD) + LAST)
            assert await client.chunk() == WORD + DONE
            pair = await stage.pair(words + 1)
            assert pair.censored
            assert pair.live_stream is not None
            assert pair.shadow_stream is not None
            assert pair.shadow_stream.chunks == words
            assert (pair.shadow_stream.first_token_ms is None) == (words == 0)


@on_the_loop
async def test_an_answer_that_came_at_once_has_a_first_token_too() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"hello"))
        for each in (shadow, live):
            each.send(HEAD + chunk(ROLE + WORD + WORD) + LAST)
        assert (await client.message()).body == ROLE + WORD + WORD + DONE
        pair = await stage.pair()
        for stream, first_byte_ms in (
            (pair.live_stream, pair.live_first_byte_ms),
            (pair.shadow_stream, pair.shadow_first_byte_ms),
        ):
            assert stream is not None
            assert (stream.first_token_ms, stream.per_chunk_ms, stream.chunks) == (first_byte_ms, None, 2)


TYPE = b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (b"200 OK\r\nContent-Type: Text/Event-Stream ; charset=utf-8\r\n" + CHUNKED, True),
        (b"200 OK\r\nContent-Encoding: identity\r\n" + TYPE + CHUNKED, True),
        (b"200 OK\r\n" + TYPE, True),  # until the connection closes
        (b"200 OK\r\n" + TYPE + b"Content-Encoding: gzip\r\n" + CHUNKED, False),
        (b"200 OK\r\nContent-Type: text/event-streams\r\n" + CHUNKED, False),
        (b"200 OK\r\nContent-Type: application/json\r\n" + CHUNKED, False),
        (b"200 OK\r\n" + CHUNKED, False),
        (b"500 Oh\r\n" + TYPE + CHUNKED, False),
    ],
)
@on_the_loop
async def test_which_answers_are_read(answer: bytes, read: bool) -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"hello"))
        for each in (shadow, live):
            body = chunk(WORD) + chunk(b"") if CHUNKED in answer else WORD
            each.send(b"HTTP/1.1 " + answer + b"\r\n" + body)
            if CHUNKED not in answer:
                each.finish()
        assert (await client.message()).body == WORD
        pair = await stage.pair()
        assert (pair.live_stream is not None, pair.shadow_stream is not None) == (read, read)


@on_the_loop
async def test_a_shadow_that_answers_whole_has_no_tokens_beside_a_stream() -> None:
    async with mirroring() as stage:
        client, live, _, shadow, _ = await stage.asked(post(b"hello"))
        shadow.send(ok(WORD))
        live.send(HEAD + chunk(WORD) + LAST)
        assert (await client.message()).body == WORD + DONE
        pair: Pair = await stage.pair()
        assert (pair.live_stream is not None, pair.shadow_stream) == (True, None)
