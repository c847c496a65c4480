"""When a failing shadow is left alone, and when it is tried again; time is handed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.breaker import (
    CLOSED,
    FAILURES_TO_OPEN,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    OPEN,
    PROBE_S,
    PROBING,
    Breaker,
)


def opened(now: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        assert breaker.admits(now)
        breaker.failed(now)
    return breaker


def test_so_many_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed(0.0)
    assert breaker.admits(0.0)
    breaker.failed(0.0)
    assert breaker.state == OPEN
    assert not breaker.admits(0.0)


def test_an_answer_between_failures_begins_the_row_anew() -> None:
    breaker = Breaker()
    for _ in range(3 * FAILURES_TO_OPEN):
        for _ in range(FAILURES_TO_OPEN - 1):
            breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.state == CLOSED


def test_after_the_pause_one_copy_probes_and_an_answer_closes_it() -> None:
    breaker = opened(10.0)
    assert not breaker.admits(10.0 + FIRST_PAUSE_S - 0.001)
    assert breaker.admits(10.0 + FIRST_PAUSE_S)
    assert breaker.state == PROBING
    began = 10.0 + FIRST_PAUSE_S
    assert not breaker.admits(began + PROBE_S - 0.001), "one at a time"
    assert breaker.admits(began + PROBE_S), "an upload of ten minutes must not keep all others waiting"
    breaker.succeeded()
    assert breaker.state == CLOSED
    assert breaker.admits(10.0 + FIRST_PAUSE_S)


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = opened(0.0), 0.0, [FIRST_PAUSE_S]
    for _ in range(8):
        now += pauses[-1]
        assert breaker.admits(now)
        breaker.failed(now)
        pauses.append(min(LONGEST_PAUSE_S, 2 * pauses[-1]))
        assert not breaker.admits(now + pauses[-1] - 0.001)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_what_recovered_begins_with_the_first_pause_again() -> None:
    breaker = opened(0.0)
    for now in (1.0, 3.0):  # a pause of 1 s, and one of 2 s
        assert breaker.admits(now)
        breaker.failed(now)
    assert breaker.admits(7.0)
    breaker.succeeded()
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(7.0)
    assert breaker.admits(7.0 + FIRST_PAUSE_S)


@pytest.mark.parametrize("now", [0.0, 5.0])
def test_a_probe_that_says_nothing_leaves_the_next_copy_to_probe(now: float) -> None:
    breaker = opened(now)
    assert breaker.admits(now + FIRST_PAUSE_S)
    breaker.undecided(now + FIRST_PAUSE_S)
    assert breaker.state == OPEN
    assert breaker.admits(now + FIRST_PAUSE_S)
    assert breaker.state == PROBING


def test_what_says_nothing_changes_nothing_outside_a_probe() -> None:
    closed, waiting = Breaker(), opened(0.0)
    closed.undecided(0.0)
    waiting.undecided(0.0)
    assert closed.state == CLOSED
    assert not waiting.admits(FIRST_PAUSE_S / 2)


@given(st.lists(st.tuples(st.sampled_from(["succeeded", "failed", "undecided"]), st.floats(0.0, 2.0))))
def test_whatever_becomes_of_copies_it_admits_again_in_time(ends: list[tuple[str, float]]) -> None:
    """One copy after the other, each with its end: no history keeps the mirror off beyond the longest pause."""
    breaker, now = Breaker(), 0.0
    for end, passed_s in ends:
        now += passed_s
        if breaker.admits(now):
            breaker.succeeded() if end == "succeeded" else getattr(breaker, end)(now)
        assert breaker.state != PROBING
    assert breaker.admits(now + LONGEST_PAUSE_S)
