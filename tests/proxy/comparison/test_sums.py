"""What a comparison keeps of its pairs, and that two states added up are one that saw all."""

from __future__ import annotations

from copy import deepcopy
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.comparison.state import SeriesState, State, add_state, state_of
from understudy.proxy.comparison.sums import CLIP, MOST_STATUSES, Book, Series, Sums
from understudy.proxy.comparison.view import comparison_of
from understudy.proxy.telemetry.records import Pair, StreamTimes

from tests.kit.pairs import cut, dropped, pair, streamed, talks, told

MS = st.none() | st.floats(0, 1e6)
STREAM = st.none() | st.builds(streamed, MS, MS, st.integers(1, 500)) | st.just(streamed(None, None, 0))
OUTCOMES = st.sampled_from(["complete", "shadow_error", "shadow_timeout", "client_gone"])
KNOWN_MS = st.floats(0, 1e6)
WILD = st.builds(
    pair, live_status=st.sampled_from([0, 200, 204, 404, 500]), shadow_status=st.sampled_from([0, 200, 503]),
    live_outcome=OUTCOMES, shadow_outcome=OUTCOMES, live_total_ms=MS, shadow_total_ms=MS, live_first_byte_ms=MS,
    shadow_first_byte_ms=MS, live_gap_ms=MS, shadow_gap_ms=MS, sent=st.booleans(), censored=st.booleans(),
    tainted=st.booleans(), live_stream=STREAM, shadow_stream=STREAM,
)  # fmt: skip
COMPARABLE = st.builds(
    pair, live_total_ms=KNOWN_MS, shadow_total_ms=KNOWN_MS, live_first_byte_ms=MS, shadow_first_byte_ms=MS,
    live_gap_ms=KNOWN_MS, shadow_gap_ms=MS, censored=st.booleans(), live_stream=STREAM, shadow_stream=STREAM,
)  # fmt: skip
PAIRS = st.one_of(WILD, COMPARABLE)
MEASURES = ("total", "first_byte", "gap", "first_token", "per_chunk")


def sums_over(*pairs: Pair) -> Sums:
    sums = Sums()
    for each in told(pairs):
        sums.add(each)
    return sums


def plain(sums: Sums) -> dict[str, Any]:
    """What may be compared: sums of floats to twelve digits, as their order of addition may differ."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return pytest.approx(value, rel=1e-12, abs=1e-9)
        return value

    state = state_of(sums)
    series = {
        (measure, name): rounded(getattr(getattr(state, measure), name))
        for measure in MEASURES
        for name in state.total.__struct_fields__
    }
    return {name: getattr(state, name) for name in State.__struct_fields__ if name not in MEASURES} | {"series": series}


def sums_of(state: State) -> Sums:
    sums = Sums()
    add_state(sums, state)
    return sums


def added(*parts: Sums) -> Sums:
    total = Sums()
    for each in parts:
        add_state(total, state_of(each))
    return total


def test_a_pair_is_the_logarithm_of_its_ratio() -> None:
    sums = sums_over(pair(live_total_ms=10.0, shadow_total_ms=13.0), pair(live_total_ms=20.0, shadow_total_ms=10.0))
    total = sums.total
    assert total.low == total.high == pytest.approx(log(1.3) + log(0.5))
    assert total.low_squares == total.high_squares == pytest.approx(log(1.3) ** 2 + log(0.5) ** 2)
    assert (total.pairs, total.censored, sums.selected, sums.sent, sums.complete) == (2, 0, 2, 2, 2)


def test_a_copy_that_was_cut_counts_as_slow_as_seen_and_as_slow_as_can_be() -> None:
    total = sums_over(cut(24.0, live_total_ms=12.0)).total
    assert (total.low, total.high, total.censored) == (pytest.approx(log(2)), CLIP, 1)
    assert (sum(total.cut.values()), total.shadow) == (1, {})


def test_a_ratio_is_clipped_at_a_hundred_on_both_sides() -> None:
    assert sums_over(pair(live_total_ms=1.0, shadow_total_ms=5000.0)).total.low == CLIP
    assert sums_over(pair(live_total_ms=5000.0, shadow_total_ms=0.0)).total.low == -CLIP


def test_the_first_byte_of_a_copy_cut_in_its_body_is_known() -> None:
    sums = sums_over(cut(24.0), pair(censored=True, shadow_outcome="slow_shadow", shadow_first_byte_ms=20.0))
    assert (sums.total.censored, sums.first_byte.censored, sums.first_byte.pairs) == (2, 1, 2)


def test_first_token_and_the_time_between_two_are_measures_of_their_own() -> None:
    sums = sums_over(
        pair(live_stream=streamed(100.0, 10.0), shadow_stream=streamed(200.0, 5.0)),
        pair(live_stream=streamed(100.0, None, 1), shadow_stream=streamed(50.0, 20.0)),
        pair(live_stream=streamed(100.0, 10.0), shadow_stream=streamed(100.0, None, 1)),
    )
    assert (sums.first_token.pairs, sums.per_chunk.pairs) == (3, 1)
    assert sums.first_token.low == pytest.approx(log(2) + log(0.5))
    assert sums.per_chunk.low == pytest.approx(log(0.5))


SILENT = streamed(None, None, 0)


@pytest.mark.parametrize(
    ("shadow", "first_byte_ms", "first_token", "per_chunk"),
    [
        (None, None, (1, 1), (0, 0)),  # no head yet: the first token would have come later than the cut
        (SILENT, 50.0, (1, 1), (0, 0)),  # a head, and no token
        (None, 50.0, (0, 0), (0, 0)),  # a head that announced no stream
        (streamed(100.0, None, 1), 50.0, (1, 0), (1, 1)),  # one token, and none for 900 ms
        (streamed(100.0, 20.0, 10), 50.0, (1, 0), (1, 0)),
    ],
)
def test_a_copy_cut_before_its_first_token_counts_as_at_least_that_late(
    shadow: StreamTimes | None, first_byte_ms: float | None, first_token: tuple[int, int], per_chunk: tuple[int, int]
) -> None:
    sums = sums_over(
        pair(censored=True, shadow_outcome="shadow_timeout", live_stream=streamed(100.0, 10.0), shadow_stream=shadow,
             shadow_first_byte_ms=first_byte_ms, shadow_total_ms=1000.0)
    )  # fmt: skip
    assert (sums.first_token.pairs, sums.first_token.censored) == first_token
    assert (sums.per_chunk.pairs, sums.per_chunk.censored) == per_chunk
    if first_token == (1, 1):
        assert (sums.first_token.low, sums.first_token.high) == (pytest.approx(log(10)), CLIP)


def test_the_silence_before_a_cut_is_time_between_tokens_too() -> None:
    """Ten tokens in 180 ms, then nothing for 720: 90 ms a token at least."""
    sums = sums_over(
        pair(censored=True, shadow_outcome="slow_shadow", live_stream=streamed(100.0, 10.0),
             shadow_stream=streamed(100.0, 20.0, 10), shadow_total_ms=1000.0)
    )  # fmt: skip
    assert sums.per_chunk.low == sums.per_chunk.high == pytest.approx(log(9))


@pytest.mark.parametrize("shadow", [None, SILENT])
def test_a_whole_answer_without_a_token_is_no_measure_of_tokens(shadow: StreamTimes | None) -> None:
    sums = sums_over(
        pair(live_stream=streamed(), shadow_stream=shadow), pair(live_stream=shadow, shadow_stream=streamed())
    )
    assert (sums.total.pairs, sums.first_token.pairs, sums.per_chunk.pairs) == (2, 0, 0)


@pytest.mark.parametrize("cut_ms", [None, 300.0])
def test_what_was_done_to_a_stream_is_found_again(cut_ms: float | None) -> None:
    """The shadow begins 1.3 times as late and goes on 1.1 times as slowly; some copies are cut before they begin."""
    found = comparison_of(
        ("", "", "", "", ""), sums_over(*talks(1, 800, first=1.3, between=1.1, cut_ms=cut_ms)), 0, 0.0
    )
    first, between = found.latency_ms.time_to_first_token, found.latency_ms.time_per_output_chunk
    assert first is not None
    assert between is not None
    for ratio, true in ((first.ratio, 1.3), (between.ratio, 1.1)):
        assert ratio.low is not None
        assert ratio.high is not None
        assert 1 < ratio.low < true < ratio.high
    assert first.ratio.censored == (0 if cut_ms is None else first.ratio.pairs - between.ratio.pairs)
    assert first.ratio.estimate_is_lower_bound == (cut_ms is not None)
    assert first.live.p50 == pytest.approx(200, rel=0.1)
    assert first.shadow.p99_is_lower_bound == (cut_ms is not None)


@pytest.mark.parametrize(
    ("left_out", "counted"),
    [
        (dropped("budget_bytes"), {"dropped": {"budget_bytes": 1}, "sent": 0}),
        (pair(shadow_outcome="shadow_error", shadow_status=0), {"failed": {"shadow_error": 1}, "complete": 0}),
        (pair(tainted=True), {"tainted": 1, "complete": 1}),
        (pair(live_outcome="truncated"), {"live_failed": 1, "complete": 1}),
        (pair(live_total_ms=None), {"live_failed": 1, "complete": 1}),
        (pair(shadow_status=500), {"other_class": 1, "complete": 1}),
        (cut(1.0, tainted=True), {"tainted": 1, "censored": 1}),
    ],
)
def test_what_cannot_be_compared_is_counted_by_its_reason(left_out: Pair, counted: dict[str, Any]) -> None:
    sums = sums_over(left_out)
    assert {name: getattr(sums, name) for name in counted} == counted
    assert sums.total.pairs == 0


def test_a_status_of_the_same_class_is_compared() -> None:
    assert sums_over(pair(shadow_status=204)).total.pairs == 1


def test_statuses_are_of_copies_that_answered_or_failed_by_their_own_fault() -> None:
    sums = sums_over(
        pair(), pair(shadow_status=500), pair(shadow_outcome="shadow_error", shadow_status=0), cut(1.0),
        dropped("budget_requests"), pair(shadow_outcome="client_gone", shadow_status=0),
    )  # fmt: skip
    assert sums.statuses == {200_200: 1, 200_500: 1, 200_000: 1}


def test_a_shadow_of_countless_statuses_fills_no_memory() -> None:
    sums = sums_over(*(pair(shadow_status=status) for status in range(100, 1000)))
    assert sum(sums.statuses.values()) == 900
    assert len(sums.statuses) <= MOST_STATUSES + 9


@given(st.lists(PAIRS))
def test_the_counts_add_up(pairs: list[Pair]) -> None:
    sums = sums_over(*pairs)
    assert sums.selected == len(pairs) == sums.sent + sum(sums.dropped.values())
    assert sums.sent == sums.complete + sums.censored + sum(sums.failed.values())
    left_out = sums.tainted + sums.live_failed + sums.other_class
    assert sums.complete + sums.censored == sums.total.pairs + left_out
    for series in (getattr(sums, measure) for measure in MEASURES):
        assert series.pairs == sum(series.live.values())
        assert series.pairs == sum(series.shadow.values()) + sum(series.cut.values())
        assert series.censored == sum(series.cut.values())
        assert series.low <= series.high + 1e-9


@given(st.lists(PAIRS), st.lists(PAIRS), st.lists(PAIRS))
def test_states_added_up_are_one_that_saw_all_in_whatever_order(a: list[Pair], b: list[Pair], c: list[Pair]) -> None:
    whole = plain(sums_over(*a, *b, *c))
    parts = [sums_over(*a), sums_over(*b), sums_over(*c)]
    assert plain(added(*parts)) == whole
    assert plain(added(*reversed(parts))) == whole
    assert plain(added(parts[0], added(parts[1], parts[2]))) == whole


def test_sums_and_states_have_the_same_fields() -> None:
    for sums, state in ((Sums(), State), (Series(), SeriesState)):
        public = {name for name in dir(sums) if not name.startswith("_")}
        assert {name for name in public if not callable(getattr(sums, name))} == set(state.__struct_fields__)


@given(st.lists(PAIRS))
def test_a_state_is_a_copy_and_gives_its_sums_back(pairs: list[Pair]) -> None:
    sums = sums_over(*pairs)
    state = state_of(sums)
    before = deepcopy(plain(sums))
    assert plain(sums_of(state)) == before
    for each in told([pair()]):
        sums.add(each)
        sums_of(state).add(each)
    assert plain(sums_of(state)) == before


def test_a_book_keeps_its_comparisons_apart() -> None:
    book = Book(10, 1)
    book.take(told([pair(), pair(shadow="other"), pair(live_version="8"), pair()]))
    assert {key: sums.selected for key, sums in book.comparisons.items()} == {
        ("iris", "stable", "7", "next", "9"): 2,
        ("iris", "stable", "7", "other", "9"): 1,
        ("iris", "stable", "8", "next", "9"): 1,
    }


def test_a_full_book_counts_what_it_refuses_and_an_old_configuration_comes_late() -> None:
    book = Book(2, 5)
    book.take(told([pair(config=5, shadow=name) for name in ("a", "b", "c", "a", "d")]))
    book.take(told([pair(config=4, shadow="a")]))
    assert sorted(key[3] for key in book.comparisons) == ["a", "b"]
    assert (book.refused, book.late) == (2, 1)
    assert book.comparisons["iris", "stable", "7", "a", "9"].selected == 2
