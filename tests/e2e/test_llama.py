"""llama.cpp over OpenAI's API: whole answers and streamed ones, with and without the proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from demo.lineup import Server
from tests.e2e.conftest import Served
from tests.e2e.exchange import Ask, Event, ask, events

pytestmark = pytest.mark.e2e

Serve = Callable[[Server], Served]

VARIES = [
    (rb'"id":"chatcmpl-\w+"', b'"id":"..."'),
    (rb'"created":\d+', b'"created":0'),
    (rb'"timings":\{[^}]*\}', b'"timings":{}'),
]
"""What differs between any two answers of llama.cpp, proxied or not."""


def chat(*, stream: bool, tokens: int = 24, text: str = "Who is next on stage?", **more: Any) -> Ask:
    body = {
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": tokens,
        "cache_prompt": False,
        "stream": stream,
        **more,
    }
    return Ask("POST", "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})


def steady(data: bytes) -> bytes:
    for pattern, replacement in VARIES:
        data = re.sub(pattern, replacement, data)
    return data


def words(stream: Iterator[Event] | list[Event]) -> list[str]:
    chunks = [json.loads(event.data.removeprefix(b"data: ")) for event in stream if b"[DONE]" not in event.data]
    return [text for chunk in chunks if (text := chunk["choices"][0]["delta"].get("content"))]


ASKED = {
    "health": Ask("GET", "/health"),
    "properties": Ask("GET", "/props"),
    "an unknown path": Ask("GET", "/v1/nothing"),
    "broken JSON": Ask("POST", "/v1/chat/completions", b"{", {"Content-Type": "application/json"}),
    "a preflight": Ask("OPTIONS", "/v1/chat/completions", headers={"Origin": "http://a.example"}),
    "tokens": Ask("POST", "/tokenize", b'{"content": "the stage"}', {"Content-Type": "application/json"}),
}


@pytest.mark.parametrize("what", ASKED)
def test_the_same_answer_with_and_without_the_proxy(serve: Serve, what: str) -> None:
    served = serve("llama")

    assert ask(served.proxied, ASKED[what]) == ask(served.direct, ASKED[what])


def test_a_whole_completion_is_the_same(serve: Serve) -> None:
    served = serve("llama")

    proxied, direct = (ask(address, chat(stream=False)) for address in (served.proxied, served.direct))

    assert steady(proxied.body) == steady(direct.body)
    assert json.loads(proxied.body)["choices"][0]["message"]["content"].split()
    assert {name for name, _ in proxied.headers} == {name for name, _ in direct.headers}


def test_a_stream_has_the_same_events(serve: Serve) -> None:
    served = serve("llama")

    proxied, direct = (list(events(address, chat(stream=True))) for address in (served.proxied, served.direct))

    assert [steady(event.data) for event in proxied] == [steady(event.data) for event in direct]
    assert proxied[-1].data == b"data: [DONE]"
    assert len(words(proxied)) == 24


def test_events_arrive_as_they_are_made(serve: Serve) -> None:
    """A proxy that collected the answer would deliver all events at once, after the last was made."""
    served = serve("llama")
    each = chat(stream=True, tokens=1000)

    direct, proxied = (list(events(address, each)) for address in (served.direct, served.proxied))

    def spread(stream: list[Event]) -> float:
        return stream[-1].at_s - stream[0].at_s

    assert len(proxied) == len(direct) > 900
    assert spread(proxied) > 0.5 * spread(direct)
    assert len({event.at_s for event in proxied}) > 0.2 * len({event.at_s for event in direct})


def test_many_streams_at_once_keep_to_themselves(serve: Serve, full: bool) -> None:
    served = serve("llama")
    asked = [
        chat(stream=True, tokens=40, text=f"Act {number}, scene {number}.") for number in range(160 if full else 16)
    ]
    expected = [words(events(served.direct, each)) for each in asked]

    with ThreadPoolExecutor(16) as pool:
        streams = list(pool.map(lambda each: words(events(served.proxied, each)), asked))

    assert streams == expected
    assert len({"".join(each) for each in streams}) > 1


def test_stream_after_stream_is_answered(serve: Serve) -> None:
    """llama.cpp closes a connection after a stream without having said so; the next POST must not run into that."""
    served = serve("llama")
    asked = chat(stream=True, tokens=2)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(served.proxied, asked), range(200)))

    assert [answer.status for answer in answers] == [200] * 200
