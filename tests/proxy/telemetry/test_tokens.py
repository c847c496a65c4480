"""Which of the events of a stream have content, and when they came, however the bytes are cut into chunks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from understudy.proxy.telemetry.records import StreamTimes
from understudy.proxy.telemetry.tokens import MOST_EVENT_BYTES, TokenClock, content_field

_LINE_END = re.compile(rb"\r\n|\r|\n")  # noqa: TID251 - over our own bytes


def judged(stream: bytes) -> list[int]:
    """Where the events with content are complete: offsets of the line ends that dispatch them.

    Written from the standard over the whole stream, each event read as JSON: what the clock must agree with.
    """
    found: list[int] = []
    data: list[bytes] = []
    size = start = 0
    for end in _LINE_END.finditer(stream):
        line = stream[start : end.start()]
        length = len(line)
        if not start:
            line = line.removeprefix(b"\xef\xbb\xbf")
        start = end.end()
        name, _, value = line.partition(b":")
        if not line:
            whole = b"\n".join(data)
            if size > MOST_EVENT_BYTES or (whole and content_field(whole) is not None):
                found.append(end.start())
            data, size = [], 0
        elif name == b"data":
            data.append(value.removeprefix(b" "))
            size += length
    return found


def clocked(chunks: Iterable[bytes]) -> TokenClock:
    """The clock after these chunks, of which each came a second after the one before, the first one at 1."""
    clock = TokenClock()
    for second, chunk in enumerate(chunks, 1):
        clock.take(chunk, float(second))
    return clock


def cut(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The stream in pieces, empty ones among them."""
    borders = [0, *sorted(min(each, len(stream)) for each in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(borders)]


def agree(stream: bytes, chunks: list[bytes]) -> None:
    """The clock says what the standard does: how many events, and which chunk completed the first and the last."""
    ends = list(accumulate(map(len, chunks)))
    wanted = [float(next(at for at, end in enumerate(ends, 1) if offset < end)) for offset in judged(stream)]
    clock = clocked(chunks)
    assert clock.chunks == len(wanted)
    assert (clock.first, clock.last) == ((wanted[0], wanted[-1]) if wanted else (0.0, 0.0))


def chat(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "c-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}], **more}


def response(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 1, "item_id": "m", **more}


def block(delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


TEXT = st.text(max_size=12) | st.sampled_from(['say "content":"', '"', "\\", "\r\n", "content", "\u2028"])
USAGE = {"object": "chat.completion.chunk", "choices": [], "usage": {"completion_tokens": 9}}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DIALECTS: dict[str, st.SearchStrategy[Any]] = {
    "chat": st.one_of(
        st.sampled_from([chat({"role": "assistant", "content": None}), chat({"role": "assistant"}), USAGE, FINISH]),
        TEXT.map(lambda text: chat({"content": text})),
        TEXT.map(lambda text: chat({"reasoning_content": text, "content": None})),
        TEXT.map(lambda text: chat({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})),
        st.just(chat({"content": "", "tool_calls": []})),
    ),
    "completions": TEXT.map(lambda text: {"choices": [{"text": text, "logprobs": None}]}) | st.just(USAGE),
    "responses": st.one_of(
        st.sampled_from([response("created"), response("completed", response={"output": [{"text": "all"}]})]),
        TEXT.map(lambda text: response("output_text.delta", delta=text)),
        TEXT.map(lambda text: response("output_text.done", text=text)),
    ),
    "messages": st.one_of(
        st.sampled_from([{"type": "message_start", "message": {"content": []}}, {"type": "ping"}, {"type": "error"}]),
        st.just({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}),
        TEXT.map(lambda text: block({"type": "text_delta", "text": text})),
        TEXT.map(lambda text: block({"type": "input_json_delta", "partial_json": text})),
    ),
    "infer": st.sampled_from([{"outputs": [{"name": "o", "data": ["a"]}]}, {"outputs": []}, {"error": "no"}]),
    "generate": TEXT.map(lambda text: {"model_name": "m", "text_output": text}),
    "llama.cpp": TEXT.map(lambda text: {"content": text, "stop": False}),
    "unknown": TEXT.map(lambda text: {"token": {"text": text}}),
}
SPACED = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a server of one dialect might send: its own events, with the fields and comments that may stand there."""
    events = draw(st.lists(DIALECTS[draw(st.sampled_from(sorted(DIALECTS)))], max_size=12))
    separators, end = draw(SPACED), draw(ENDS)
    stream = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\n", b": ready\n\n"]))
    for event in events:
        before = draw(st.sampled_from([b"", b"", b"event: x" + end, b": still here" + end, b"id: 1" + end]))
        stream += before + b"data:" + draw(st.sampled_from([b" ", b""]))
        stream += json.dumps(event, separators=separators).encode() + end * 2
    return stream + draw(st.sampled_from([b"", b"data: [DONE]" + end * 2, b'data: {"choices"']))


# Fragments of a stream put together at random: most of it is nonsense, as a reader has to bear it.
WILD = st.lists(
    st.sampled_from([
        b"\n", b"\r", b"\r\n", b"\n\n", b"data", b"data:", b"data: ", b"data: x\n\n", b": c\n", b"event: x\n", b" ",
        b"\xef\xbb\xbf", b"[DONE]", b'{"choices":[{"text":"x"}]}', b'{"choices":[]}', b"dat", b"datax: 1\n", b"\0\xff",
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b'data: {"choices":[{"delta":{"content":""}}]}\n\n',
    ])
).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 2000), max_size=30)


@given(streams(), CUTS)
def test_whatever_the_chunks_the_clock_says_what_the_standard_does(stream: bytes, cuts: list[int]) -> None:
    agree(stream, cut(stream, cuts))


@given(streams())
def test_byte_by_byte(stream: bytes) -> None:
    agree(stream, [stream[at : at + 1] for at in range(len(stream))])


@given(streams(), ENDS, st.integers(1, 3))
def test_event_by_event_as_servers_send_them_or_some_at_once(stream: bytes, end: bytes, at_once: int) -> None:
    *whole, rest = stream.split(end * 2)
    events = [each + end * 2 for each in whole]
    agree(stream, [*(b"".join(events[at : at + at_once]) for at in range(0, len(events), at_once)), rest])


@pytest.mark.parametrize("second", [b"data: x\n\n", b": c\n\ndata: x\n\n", b"\n\n", b"data: x\r\r", b"data:\r\n\r\n"])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n\n", b"\r\n\r\n"])
def test_what_begins_as_the_event_before_may_be_more_than_one(second: bytes, end: bytes, last: bytes) -> None:
    event = b"data: " + json.dumps(chat({"content": "a"})).encode()
    agree(event + b"\n\n" + event + end + second + last, [event + b"\n\n", event + end + second + last])


@given(WILD, CUTS)
@example(b"data:\n\ndata: x\n\n", [7])
@example(b"data: x\n\ndata:\n\n", [9])
@example(b"data: x\n\ndata: \n\n", [9])
@example(b"data: x\n\ndata: a\rb\n\n", [9])
@example(b"\xef\xbb\xbfdata: x\r\r", [1, 2, 11])
def test_nonsense_is_borne_alike(stream: bytes, cuts: list[int]) -> None:
    agree(stream, cut(stream, cuts))


@given(
    st.lists(st.integers(-3, 3).map(lambda more: MOST_EVENT_BYTES + more) | st.integers(0, 40), min_size=1, max_size=4),
    st.lists(st.integers(0, 3 * MOST_EVENT_BYTES), max_size=8), st.sampled_from([b"\n", b"\n\n"]), st.booleans(),
)  # fmt: skip
def test_a_larger_event_counts_unread_and_nothing_more_of_it_is_kept(
    sizes: list[int], cuts: list[int], end: bytes, bom: bool
) -> None:
    """An empty chat event is none; beyond the bound nobody looks. `end`: each line is an event, or all are one."""
    stream = b"\xef\xbb\xbf" if bom else b""
    for size in sizes:
        stream += b'data: {"choices":[]}'.ljust(size) + end
    agree(stream + b"\n", cut(stream + b"\n", cuts))
    clock = TokenClock()
    for chunk in cut(stream, cuts):
        clock.take(chunk, 1.0)
        assert len(clock._line) + sum(map(len, clock._data)) <= 2 * MOST_EVENT_BYTES


def test_of_a_line_without_end_only_its_beginning_is_kept() -> None:
    clock = TokenClock()
    clock.take(b"data: ", 1.0)
    for _ in range(1000):
        clock.take(b"x" * 1000, 2.0)
        assert len(clock._line) <= MOST_EVENT_BYTES
    clock.take(b"\n\n", 3.0)
    assert (clock.chunks, clock.first) == (1, 3.0)


def sse(*events: object) -> list[bytes]:
    return [b"data: " + (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n\n" for each in events]


@pytest.mark.parametrize(
    ("events", "first", "last", "chunks"),
    [
        ([chat({"role": "assistant", "content": ""}), chat({"content": "a"}), chat({"content": "b"}), FINISH, USAGE,
          b"[DONE]"], 2.0, 3.0, 2),
        ([chat({"role": "assistant", "content": None}), chat({"reasoning_content": "hm"}), chat({"content": "b"})],
         2.0, 3.0, 2),
        ([chat({"role": "assistant"}), chat({"tool_calls": [{"index": 0}]}), b"[DONE]"], 2.0, 2.0, 1),
        ([{"choices": [{"text": "", "index": 0}]}, {"choices": [{"text": "a", "index": 0}]}], 2.0, 2.0, 1),
        ([response("created"), response("in_progress"), response("output_text.delta", delta="a"),
          response("output_text.delta", delta="b"), response("output_text.done", text="ab")], 3.0, 4.0, 2),
        ([{"type": "message_start"}, {"type": "ping"}, block({"type": "text_delta", "text": "a"}),
          {"type": "content_block_stop"}, {"type": "message_stop"}], 3.0, 3.0, 1),
        ([{"outputs": [{"data": [1]}]}, {"outputs": [{"data": [2]}]}, {"error": "it broke"}], 1.0, 2.0, 2),
        ([{"text_output": "a"}, {"text_output": ""}], 1.0, 1.0, 1),
        ([{"content": "", "stop": False}, {"content": "a", "stop": False}, {"content": "", "stop": True}],
         2.0, 2.0, 1),
        ([b"plain", b"words", b"[DONE]"], 1.0, 2.0, 2),
        ([{"token": {"text": "a"}}, {"token": {"text": "b"}}], 1.0, 2.0, 2),
        ([{"error": {"message": "overloaded"}}], 0.0, 0.0, 0),
        ([b"[DONE]"], 0.0, 0.0, 0),
        ([], 0.0, 0.0, 0),
    ],
)  # fmt: skip
def test_what_has_content(events: list[Any], first: float, last: float, chunks: int) -> None:
    clock = clocked(sse(*events))
    assert (clock.first, clock.last, clock.chunks) == (first, last, chunks)


NAMES = st.sampled_from(["choices", "delta", "content", "text", "type", "outputs", "error", "text_output"])
WORDS = st.sampled_from(["content_block_delta", "response.x.delta", "ping", "", "a"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(st.dictionaries(NAMES, ANYTHING).map(lambda event: json.dumps(event).encode()))
@example(b"{")
@example(b'{"a":"\xff"}')
@example(b'{"a":' * 5000)
@example(b'{"a":1e999}')
@example(b' {"choices":[]}')
def test_nothing_is_raised_whatever_the_data_are(data: bytes) -> None:
    content_field(data)
    clocked(sse(data, data))


def test_what_is_told() -> None:
    clock = clocked(sse(*[chat({"content": "a"})] * 5))
    assert clock.told(0.5) == StreamTimes(500.0, 1000.0, 5)


def test_what_came_at_once_has_no_time_between() -> None:
    assert clocked([b"".join(sse(b"a", b"b", b"c"))]).told(0.0) == StreamTimes(1000.0, None, 3)
    assert clocked(sse(b"a")).told(0.0) == StreamTimes(1000.0, None, 1)
    assert clocked([]).told(0.0) == StreamTimes(None, None, 0)
