"""Pieces of the screens."""

from __future__ import annotations

import pytest
from understudy.proxy.text import milliseconds


@pytest.mark.parametrize(
    ("p50", "p99", "said"),
    [
        (None, 1.0, "-"),
        (3.04, 9.96, "3.0/10.0 ms"),
        (12.2, 9_999.0, "12/9999 ms"),
        (1_000.0, 10_000.0, "1.0/10.0 s"),
        (999.4, 10_000.0, "999 ms/10.0 s"),
        (5.2, 10_700.0, "5.2 ms/10.7 s"),
    ],
)
def test_a_time_that_is_small_beside_the_other_is_still_told(p50: float | None, p99: float, said: str) -> None:
    assert milliseconds(p50, p99) == said


def test_bounds_are_marked_each_for_itself() -> None:
    assert milliseconds(5.0, 10_700.0, at_least=(False, True)) == "5.0 ms/≥10.7 s"
