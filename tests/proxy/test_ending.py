"""How a live exchange ended: what is worked out of its facts, and what counts as a failure."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.api import Outcome, Reason
from understudy.proxy.ending import is_failure, went_wrong
from understudy.proxy.telemetry.count import NEVER

from tests.kit.endings import ending, target

REASONS = get_args(Reason)


def test_its_times_are_those_of_the_exchange_of_the_first_byte_and_of_the_call_alone() -> None:
    whole = ending()
    assert (whole.total_s, whole.first_byte_s, whole.call_s) == (10.0, 3.0, 5.0)


@pytest.mark.parametrize(
    ("never", "first_byte_s", "call_s"),
    [
        ({"answered": 0.0}, 3.0, 9.0),  # broken off: until the exchange's end
        ({"answered": 0.0, "first_byte": 0.0}, NEVER, 9.0),
        ({"answered": 0.0, "first_byte": 0.0, "asked": 0.0}, NEVER, NEVER),
    ],
)
def test_what_never_came_has_no_time(never: dict[str, float], first_byte_s: float, call_s: float) -> None:
    cut = ending(**never)
    assert (cut.total_s, cut.first_byte_s, cut.call_s) == (10.0, first_byte_s, call_s)


def test_where_it_was_sent_is_not_where_it_could_not_be() -> None:
    sent, tried = target("127.0.0.1", 1), target("127.0.0.1", 2)
    after_a_retry = ending(target=sent, tried=tried)
    assert (after_a_retry.label, after_a_retry.endpoint) == ("127.0.0.1:1", sent.endpoint)
    nobody = ending(tried=tried)
    assert (nobody.label, nobody.endpoint) == (None, tried.endpoint)
    assert (ending().label, ending().endpoint) == (None, None)


def test_filters_hear_of_it_in_milliseconds() -> None:
    expected = Outcome(502, "truncated", "stable", "127.0.0.1:1", 3000.0, 10000.0, 3, 7)
    assert ending(status=502, reason="truncated", target=target("127.0.0.1", 1)).outcome("stable") == expected
    assert ending(status=0, first_byte=0.0).outcome("canary") == Outcome(0, None, "canary", None, None, 10000.0, 3, 7)


@given(st.integers(0, 599), st.none() | st.sampled_from(REASONS))
def test_what_counts_as_a_failure(status: int, reason: Reason | None) -> None:
    assert went_wrong(reason) == (reason not in (None, "client_gone"))
    assert is_failure(status, reason) == (status >= 500 or reason not in (None, "client_gone"))
