"""Who takes the next call, drawn with a seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.balance import least_request, round_robin, without


@dataclass(eq=False)
class Load:
    name: int
    in_flight: int = 0


def test_two_different_targets_are_drawn_each_pair_as_often() -> None:
    targets = [Load(n, in_flight=n) for n in range(4)]
    below = Random(7).randrange
    taken = Counter(least_request(targets, below).name for _ in range(12_000))
    # Of 12 ordered pairs the less loaded wins: 6, 4, 2 and 0 of them.
    for name, share in enumerate((1 / 2, 1 / 3, 1 / 6, 0)):
        assert abs(taken[name] / 12_000 - share) < 0.02


def test_equal_targets_share_alike() -> None:
    targets = [Load(n) for n in range(5)]
    below = Random(8).randrange
    taken = Counter(least_request(targets, below).name for _ in range(10_000))
    assert all(abs(count / 10_000 - 1 / 5) < 0.02 for count in taken.values())


def test_two_choices_keep_the_longest_queue_short() -> None:
    """1,000 calls on 100 targets, none of which ends: at random one would get about 20, by two choices about 12."""
    below = Random(9).randrange
    targets = [Load(n) for n in range(100)]
    for _ in range(1_000):
        least_request(targets, below).in_flight += 1
    assert max(target.in_flight for target in targets) <= 13


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6), st.integers(0, 2**32))
def test_the_busiest_is_never_taken_alone(loads: list[int], seed: int) -> None:
    targets = [Load(n, load) for n, load in enumerate(loads)]
    chosen = least_request(targets, Random(seed).randrange)
    assert sum(each.in_flight >= chosen.in_flight for each in targets) >= 2


def test_one_target_needs_no_draw() -> None:
    only = Load(0, in_flight=99)
    assert least_request([only], lambda below: 1 // 0) is only


def test_round_robin_takes_each_in_turn() -> None:
    targets = [Load(n) for n in range(3)]
    assert [round_robin(targets, turn).name for turn in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_without_leaves_out_by_identity() -> None:
    targets = [Load(0), Load(0), Load(0)]
    assert without(targets, [targets[1]]) == [targets[0], targets[2]]
    assert without(targets, []) is targets
    assert without(targets, targets) == []
