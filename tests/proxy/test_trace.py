"""W3C Trace Context and Baggage, by the rules of their recommendations and of the contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.trace import continued, incoming_trace, onward_state

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"
GOOD = b"00-" + TRACE + b"-" + SPAN + b"-01"

hexadecimal = st.text("0123456789abcdef", min_size=1)


def state(*lines: bytes) -> list[bytes]:
    return [value for _, value in onward_state([(b"tracestate", line) for line in lines], True)]


def test_the_sampled_flag_counts_from_a_trusted_peer_only() -> None:
    assert incoming_trace(GOOD, True) == (TRACE, SPAN, b"01")
    assert incoming_trace(GOOD, False) == (TRACE, SPAN, b"00")
    assert incoming_trace(GOOD[:-2] + b"00", True) == (TRACE, SPAN, b"00")
    assert incoming_trace(GOOD[:-2] + b"02", True) == (TRACE, SPAN, b"00"), "bits nobody has defined are not passed on"
    assert incoming_trace(GOOD[:-2] + b"ff", True) == (TRACE, SPAN, b"01")


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"-00",  # version 00 has four parts
        GOOD.upper(),
        b"ff" + GOOD[2:],
        b"0g" + GOOD[2:],
        GOOD.replace(TRACE, b"0" * 32),
        GOOD.replace(SPAN, b"0" * 16),
        GOOD.replace(b"-", b"_"),
        b" " + GOOD,
        GOOD + b" ",
        GOOD + b"\n",
    ],
)
def test_an_invalid_parent_begins_a_trace(parent: bytes) -> None:
    assert incoming_trace(parent, True) is None


def test_a_later_version_may_say_more() -> None:
    assert incoming_trace(b"01" + GOOD[2:], True) == (TRACE, SPAN, b"01")
    assert incoming_trace(b"cc" + GOOD[2:] + b"-what-comes", True) == (TRACE, SPAN, b"01")
    assert incoming_trace(b"cc" + GOOD[2:] + b"what-comes", True) is None


@given(st.binary(max_size=80))
def test_whatever_is_continued_is_well_formed(parent: bytes) -> None:
    incoming = incoming_trace(parent, True)
    if incoming is not None:
        trace, parent_id, flags = incoming
        assert len(trace) == 32 and len(parent_id) == 16 and flags in (b"00", b"01")
        assert set(trace + parent_id) <= set(b"0123456789abcdef")


def test_lines_of_state_are_joined_and_ours_is_taken_out() -> None:
    assert state(b"a=1, b=2", b"c=3") == [b"a=1,b=2,c=3"]
    assert state(b"us=live,a=1") == [b"a=1"]
    assert state(b"a=1,,\t b=2 ,") == [b"a=1,b=2"], "empty members are allowed"
    assert state(b"us=live") == []
    assert state(b"us2=1,x@us=2") == [b"us2=1,x@us=2"]


@pytest.mark.parametrize(
    "line",
    [
        b"a",
        b"a=",
        b"A=1",
        b"a=b=c",
        b"a=\x7f",
        b"a=\xc3\xa9",
        b"@a=1",
        b"a b=1",
        b"a=1\t2",
        b"a=1;b c,=",
        b"a" * 257 + b"=1",
        b"a=" + b"1" * 257,
        b",".join(b"k%d=1" % n for n in range(33)),
    ],
)
def test_malformed_state_is_dropped_whole(line: bytes) -> None:
    assert state(b"good=1", line) == []


KEY = bytes(range(0x61, 0x7B)) + b"0123456789_-*/"
VALUE = bytes([*range(0x20, 0x2C), *range(0x2D, 0x3D), *range(0x3E, 0x7F)])


@pytest.mark.parametrize(
    "member",
    [
        KEY + b"=" + VALUE,
        KEY + b"@a-z0-9_-*/=" + VALUE,
        b"0=1",
        b"z" * 256 + b"=1",
        b"t" * 241 + b"@" + b"v" * 14 + b"=1",
        b"t" * 242 + b"@v=1",
        b"t@" + b"v" * 15 + b"=1",
        b"a@=1",
        b"a=" + b"1" * 256,
        b"a= 1",
    ],
)
def test_whatever_the_grammar_allows_passes_as_it_came(member: bytes) -> None:
    assert state(b"foo=1", member) == [b"foo=1," + member]


@pytest.mark.parametrize("lines", [(b"",), (b" \t",), (b",",), (b"", b"")])
def test_empty_state_is_none(lines: tuple[bytes, ...]) -> None:
    assert state(*lines) == []
    assert state(b"foo=1", *lines) == state(*lines, b"foo=1") == [b"foo=1"]


@pytest.mark.parametrize(
    "line", [b"foo=1 \t , \t bar=2, \t baz=3", b"foo=1\t \t,\t \tbar=2,\t \tbaz=3 ", b"\t foo=1,bar=2,baz=3"]
)
def test_blanks_around_members_are_none_of_theirs(line: bytes) -> None:
    assert state(line) == [b"foo=1,bar=2,baz=3"]


def test_of_members_with_the_same_key_the_first_passes() -> None:
    assert state(b"foo=1,foo=1") == state(b"foo=1", b"foo=1") == [b"foo=1"]
    assert state(b"foo=1,bar=2,foo=3") == state(b"foo=1", b"bar=2,foo=3") == [b"foo=1,bar=2"]
    assert state(b"us=1,a=1,us=2") == [b"a=1"]
    assert state(b"us@a=1,us/b=2") == [b"us@a=1,us/b=2"], "keys of others that begin like ours"


def test_too_many_members_are_none_however_they_are_spread() -> None:
    lines = [b",".join(b"bar%d=%d" % (at, at) for at in range(start, min(start + 10, 33))) for start in (0, 10, 20, 30)]
    assert state(*lines) == []
    assert state(*lines[:3], b"bar30=30,bar31=31") == [b",".join(b"bar%d=%d" % (at, at) for at in range(32))]


def test_thirty_two_members_pass() -> None:
    line = b",".join(b"k%d=1" % n for n in range(32))
    assert state(line) == [line]


def test_state_without_its_trace_is_dropped_and_baggage_is_not() -> None:
    headers = [(b"tracestate", b"a=1"), (b"baggage", b"user=7;p=1")]
    assert onward_state(headers, False) == [(b"baggage", b"user=7;p=1")]


def test_baggage_passes_as_bytes_without_ours() -> None:
    assert onward_state([(b"baggage", b"a=1, us=x ,b=\xc3\xa9")], True) == [(b"baggage", b"a=1,b=\xc3\xa9")]
    assert onward_state([(b"baggage", b"us=x")], True) == []


def test_two_parents_are_none() -> None:
    parent, own = (b"traceparent", GOOD), (b"t" * 32, b"s" * 16)
    context = continued([parent, parent, (b"tracestate", b"a=1")], *own, True)
    assert (context.trace_id, context.span_id, context.flags, context.carried) == (*own, b"00", [])
    assert context.parent_id == b""
    context = continued([parent, (b"tracestate", b"a=1")], *own, True)
    assert (context.trace_id, context.span_id, context.flags) == (TRACE, b"s" * 16, b"01")
    assert context.parent_id == SPAN
    assert context.carried == [(b"tracestate", b"a=1")]
