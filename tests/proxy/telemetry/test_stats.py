"""What a worker counts: one exchange in, the right numbers out, and the quantiles within their promised error."""

from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.telemetry import sketch
from understudy.proxy.telemetry.count import NEVER
from understudy.proxy.telemetry.stats import CallStats, Stats, told

durations_s = st.floats(min_value=1e-4, max_value=3500.0)


def test_record_counts_status_reason_sizes_and_both_latencies() -> None:
    call = Stats().call("iris", "stable", "7")
    call.record(200, None, 0.010, 0.020, 100, 1000)
    call.record(503, "overloaded", NEVER, 0.001, 50, 10)
    assert call.statuses == {200: 1, 503: 1}
    assert call.reasons == {"overloaded": 1}
    assert (call.request_bytes, call.response_bytes) == (150, 1010)
    assert (sum(call.first_byte.values()), sum(call.total.values())) == (1, 2)
    assert call.total_s == pytest.approx(0.021)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 3600.0, 3e7])
def test_no_duration_is_lost_at_the_borders(seconds: float) -> None:
    call = Stats().call("r", "b", "1")
    call.record(200, None, seconds, seconds, 0, 0)
    counted: sketch.Sketch = {}
    sketch.insert(counted, seconds)
    assert call.total == call.first_byte == counted
    (index,) = counted
    assert 0 <= index < sketch.SIZE


@given(st.lists(durations_s, min_size=1, max_size=200), st.floats(min_value=0.0, max_value=1.0))
def test_a_quantile_is_within_two_percent_of_the_exact_one(values_s: list[float], q: float) -> None:
    counted: sketch.Sketch = {}
    for value_s in values_s:
        sketch.insert(counted, value_s)
    ordered = sorted(values_s)
    exact = [ordered[max(0, ceil(share * len(ordered)) - 1)] for share in (q, 1.0)]
    assert sketch.quantiles(counted, q, 1.0) == pytest.approx(exact, rel=0.02)


def test_nothing_counted_has_no_quantiles() -> None:
    assert sketch.quantiles({}, 0.5, 0.99) == [None, None]


@given(st.lists(durations_s), st.lists(durations_s))
def test_adding_two_sketches_is_counting_in_one(ours_s: list[float], theirs_s: list[float]) -> None:
    ours: sketch.Sketch = {}
    theirs: sketch.Sketch = {}
    both: sketch.Sketch = {}
    for value_s in ours_s:
        sketch.insert(ours, value_s)
        sketch.insert(both, value_s)
    for value_s in theirs_s:
        sketch.insert(theirs, value_s)
        sketch.insert(both, value_s)
    before = dict(ours)
    sketch.add(ours, theirs)
    assert ours == both
    assert sketch.subtract(ours, theirs) == before


@given(st.lists(durations_s, min_size=1))
def test_cumulative_counts_are_exact_but_for_the_bucket_of_the_bound(values_s: list[float]) -> None:
    counted: sketch.Sketch = {}
    for value_s in values_s:
        sketch.insert(counted, value_s)
    bounds_s = [0.001, 0.1, 10.0]
    for bound_s, count in zip(bounds_s, sketch.cumulative(counted, sketch.edges(bounds_s)), strict=True):
        assert sum(v <= bound_s * 0.97 for v in values_s) <= count <= sum(v <= bound_s * 1.031 for v in values_s)


def test_the_same_names_give_the_same_object_and_others_their_own_numbers() -> None:
    stats = Stats()
    stats.call("r", "b", "1").record(200, None, NEVER, 0.0, 0, 0)
    assert stats.call("r", "b", "1").statuses == {200: 1}
    assert stats.call("r", "b", "2").statuses == {}
    assert len(list(stats.calls())) == 2


def test_only_what_changed_since_it_was_last_taken_is_taken() -> None:
    stats = Stats()
    calls = [stats.call("r", "b", str(version)) for version in range(3)]
    assert stats.take_changed() == [told(each) for each in calls]
    assert stats.take_changed() == []
    calls[1].in_flight += 1
    assert stats.take_changed() == [told(calls[1])]
    calls[2].record(200, None, NEVER, 0.0, 0, 0)
    assert stats.take_changed() == [told(calls[2])]


def test_a_call_survives_the_wire() -> None:
    call = Stats().call("r", "b", "1")
    call.record(404, "no_route", 0.5, 0.5, 1, 2)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told(call)), type=CallStats) == told(call)
    assert told(call).reasons == {"no_route": 1}
