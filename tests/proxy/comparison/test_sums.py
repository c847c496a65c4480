"""What a comparison keeps of its pairs, and that two states added up are one that saw all."""

from __future__ import annotations

from copy import deepcopy
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.comparison.state import State, state_of, sums_of
from understudy.proxy.comparison.sums import CLIP, MOST_STATUSES, Book, Sums
from understudy.proxy.telemetry.records import Pair

from tests.kit.pairs import cut, dropped, pair, told

MS = st.none() | st.floats(0, 1e6)
OUTCOMES = st.sampled_from(["complete", "shadow_error", "shadow_timeout", "client_gone"])
KNOWN_MS = st.floats(0, 1e6)
WILD = st.builds(
    pair, live_status=st.sampled_from([0, 200, 204, 404, 500]), shadow_status=st.sampled_from([0, 200, 503]),
    live_outcome=OUTCOMES, shadow_outcome=OUTCOMES, live_total_ms=MS, shadow_total_ms=MS, live_first_byte_ms=MS,
    shadow_first_byte_ms=MS, live_gap_ms=MS, shadow_gap_ms=MS, sent=st.booleans(), censored=st.booleans(),
    tainted=st.booleans(),
)  # fmt: skip
COMPARABLE = st.builds(
    pair, live_total_ms=KNOWN_MS, shadow_total_ms=KNOWN_MS, live_first_byte_ms=MS, shadow_first_byte_ms=MS,
    live_gap_ms=KNOWN_MS, shadow_gap_ms=MS, censored=st.booleans(),
)  # fmt: skip
PAIRS = st.one_of(WILD, COMPARABLE)


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
        for measure in ("total", "first_byte", "gap")
        for name in state.total.__struct_fields__
    }
    return {name: getattr(state, name) for name in State.__struct_fields__ if name not in ("total", "first_byte", "gap")
            } | {"series": series}  # fmt: skip


def added(*parts: Sums) -> Sums:
    total = Sums()
    for each in parts:
        total.merge(each)
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
    for series in (sums.total, sums.first_byte, sums.gap):
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
