"""How the keys of a split are spread: the frequent ones are found, in bounded memory."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.keytally import MOST_HOT, KeyTally


@given(st.lists(st.integers(0, 200), max_size=2_000))
def test_a_count_is_too_low_by_no_more_than_the_bound_and_never_too_high(keys: list[int]) -> None:
    use = KeyTally("ranker")
    for key in keys:
        use.note(key)
    assert use.requests == len(keys)
    assert len(use.hot) <= MOST_HOT
    for key, true in Counter(keys).items():
        assert true - len(keys) / MOST_HOT <= use.hot.get(key, 0) <= true


def test_a_constant_key_among_many_is_seen() -> None:
    use = KeyTally("ranker")
    for number in range(10_000):
        use.note(7 if number % 2 else 1_000 + number)
    assert max(use.hot, key=lambda key: use.hot[key]) == 7
    assert use.hot[7] >= 5_000 - 10_000 / MOST_HOT
