"""Pairs on their way to control: each arrives with every field, in frames of bounded size, or is counted as lost."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy import messages
from understudy.proxy.telemetry.pairs import MOST_WAITING, PairSheet, count_of, spelled_out
from understudy.proxy.telemetry.records import Pair, PairKind, StreamTimes

from tests.kit.pairs import offer, pair, streamed, told

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)
MS = st.none() | st.floats(0, allow_infinity=False, allow_nan=False)
BYTES = st.integers(0, 2**50)
PAIRS = st.builds(
    Pair, route=NAMES, arm=NAMES, config=st.integers(0, 3), live=NAMES, live_version=NAMES, shadow=NAMES,
    shadow_version=NAMES, live_status=st.integers(0, 599), shadow_status=st.integers(0, 599), live_outcome=NAMES,
    shadow_outcome=NAMES, sent=st.booleans(), censored=st.booleans(), tainted=st.booleans(), calibration=st.booleans(),
    request_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128),
    live_first_byte_ms=MS, live_total_ms=MS, shadow_first_byte_ms=MS, shadow_total_ms=MS, live_gap_ms=MS,
    shadow_gap_ms=MS, request_bytes=BYTES, live_bytes=BYTES, shadow_bytes=BYTES,
)  # fmt: skip
STREAMS = st.builds(StreamTimes, MS, MS, st.integers(0, 2**40))
STREAMING = st.builds(
    lambda each, live, shadow: msgspec.structs.replace(each, live_stream=live, shadow_stream=shadow),
    PAIRS, STREAMS, st.none() | STREAMS,
)  # fmt: skip


@given(st.lists(PAIRS | STREAMING, max_size=10))
def test_every_pair_arrives_with_all_its_fields(pairs: list[Pair]) -> None:
    notice = messages.decode_notice(messages.encode(messages.Records(pairs=told(pairs))))
    assert isinstance(notice, messages.Records)
    arrived = [each for kind in notice.pairs for each in spelled_out(kind)]
    assert sorted(map(msgspec.json.encode, arrived)) == sorted(map(msgspec.json.encode, pairs))
    assert sum(map(count_of, notice.pairs)) == len(pairs)


def test_what_pairs_have_in_common_is_told_once_and_they_keep_their_order() -> None:
    pairs = [pair(request_id=f"r-{number}", live="stable" if number % 3 else "canary") for number in range(100)]
    kinds = told(pairs)
    assert [each.kind.live for each in kinds] == ["canary", "stable"]
    assert [each.request_id for each in spelled_out(kinds[1])] == [f"r-{number}" for number in range(100) if number % 3]


def test_pairs_of_streams_are_told_apart_from_those_of_whole_answers() -> None:
    kinds = told([pair(), pair(live_stream=streamed()), pair(), pair(live_stream=streamed(chunks=0))])
    assert [(count_of(each), bool(each.streams)) for each in kinds] == [(2, False), (2, True)]


def test_so_many_wait_and_no_more() -> None:
    sheet = PairSheet()
    asked = []
    sheet.full = lambda: asked.append(len(asked))
    for _ in range(MOST_WAITING + 5):
        offer(sheet, pair())
    assert (asked, sheet.dropped) == ([0], 5)
    (kind,) = sheet.take()
    assert count_of(kind) == MOST_WAITING
    assert sheet.take() == []
    offer(sheet, pair())
    assert [count_of(each) for each in sheet.take()] == [1]


def test_a_pair_that_cannot_be_packed_leaves_the_others_whole() -> None:
    sheet = PairSheet()
    offer(sheet, pair(request_id="a"))
    with pytest.raises(struct.error):
        offer(sheet, pair(request_id="b", request_bytes=2**63))
    offer(sheet, pair(request_id="c"))
    assert [each.request_id for kind in sheet.take() for each in spelled_out(kind)] == ["a", "c"]


def test_a_pair_is_its_kind_and_what_was_measured() -> None:
    assert Pair.__struct_fields__[: len(PairKind.__struct_fields__)] == PairKind.__struct_fields__
