"""What a worker counts: one exchange in, the right numbers out, and the quantiles within their promised error."""

from itertools import accumulate
from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.telemetry import sketch
from understudy.proxy.telemetry.count import MOST_STATUSES, NEVER
from understudy.proxy.telemetry.stats import OVERFLOW, CallKey, CallStats, Stats, told

durations_s = st.floats(min_value=1e-4, max_value=3500.0)


def test_record_counts_status_reason_sizes_and_both_latencies() -> None:
    call = Stats().call("iris", "stable", "7")
    call.record(200, None, 0.010, 0.020, 100, 1000)
    call.record(503, "overloaded", NEVER, 0.001, 50, 10)
    seen = told(call)
    assert seen.statuses == {200: 1, 503: 1}
    assert seen.reasons == {"overloaded": 1}
    assert (seen.request_bytes, seen.response_bytes) == (150, 1010)
    assert (sum(seen.first_byte.sketch.values()), sum(seen.total_sketch().values())) == (1, 2)
    assert {digit: timed.sum_s for digit, timed in seen.total.items()} == {2: 0.020, 5: 0.001}
    assert seen.client == {}


def test_durations_are_kept_by_the_class_of_the_status() -> None:
    call = Stats().call("iris", "stable", "7")
    for status in (0, 101, 200, 204, 302, 404, 500, 503, 599, 600, 999):
        call.record(status, None, NEVER, 0.5, 0, 0, 0.25)
    seen = told(call)
    expected = {0: 1, 1: 1, 2: 2, 3: 1, 4: 1, 5: 5}  # above 599 is 5xx: RFC 9110 section 15
    assert {digit: sum(timed.sketch.values()) for digit, timed in seen.total.items()} == expected
    assert {digit: timed.sum_s for digit, timed in seen.client.items()} == {d: n / 4 for d, n in expected.items()}
    assert sum(seen.statuses.values()) == sum(seen.total_sketch().values()) == 11
    assert len(seen.statuses) == 11


def test_only_a_call_that_was_made_has_a_duration_of_its_own() -> None:
    call = Stats().call("iris", "stable", "7")
    call.record(200, None, 0.01, 0.02, 0, 0, 0.015)
    call.record(200, None, NEVER, 0.02, 0, 0)
    seen = told(call)
    assert seen.client[2].sum_s == 0.015
    assert (sum(seen.client[2].sketch.values()), sum(seen.total[2].sketch.values())) == (1, 2)


def test_statuses_that_a_backend_invents_are_bounded() -> None:
    call = Stats().call("iris", "stable", "7")
    for status in range(200, 1000):
        call.record(status, None, NEVER, 0.5, 0, 0)
    call.record(0, "client_gone", NEVER, 0.5, 0, 0)
    assert len(call.statuses) <= MOST_STATUSES + 5
    assert sum(call.statuses.values()) == 801
    assert call.statuses[200] == call.statuses[0] == 1
    assert call.statuses[599] > 400
    assert {digit: sum(timed.sketch.values()) for digit, timed in told(call).total.items()} == {
        0: 1, 2: 100, 3: 100, 4: 100, 5: 500
    }  # fmt: skip


def test_what_is_told_in_a_later_turn_is_all_of_that_turn() -> None:
    stats = Stats()
    stats.call("r", "b", "1").record(200, None, 0.01, 0.02, 0, 0)
    (changed,) = stats.changed()
    stats.call("r", "b", "1").record(200, None, 0.01, 0.02, 0, 0)
    seen = told(changed)
    assert (seen.statuses[200], sum(seen.total_sketch().values()), seen.first_byte.sum_s) == (2, 2, 0.02)
    assert [each.key for each in stats.changed()] == [changed.key], "it changed after it was taken"
    assert stats.changed() == []


def test_names_past_the_bound_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.proxy.telemetry.stats.MOST_KEYS", 2)
    stats = Stats()
    calls = [stats.call("r", "b", str(version)) for version in range(4)]
    assert [each.key.version for each in calls] == ["0", "1", "", ""]
    assert calls[2] is calls[3]
    assert calls[2].key == CallKey(OVERFLOW, OVERFLOW, "")
    assert stats.call("r", "b", "5", "shadow").key == CallKey(OVERFLOW, OVERFLOW, "", "shadow")
    assert stats.call("r", "b", "1") is calls[1]
    copies = [stats.copies_of("r", str(shadow)) for shadow in range(4)]
    assert [(each.route, each.shadow) for each in copies[1:]] == [
        ("r", "1"),
        (OVERFLOW, OVERFLOW),
        (OVERFLOW, OVERFLOW),
    ]
    keys = [stats.key_use(str(experiment)) for experiment in range(3)]
    assert [each.experiment for each in keys] == ["0", "1", OVERFLOW]
    assert stats.counters == {"metrics_overflow": 6}


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 3600.0, 3e7])
def test_no_duration_is_lost_at_the_borders(seconds: float) -> None:
    call = Stats().call("r", "b", "1")
    call.record(200, None, seconds, seconds, 0, 0)
    counted: sketch.Sketch = {}
    sketch.insert(counted, seconds)
    seen = told(call)
    assert seen.total_sketch() == seen.first_byte.sketch == counted
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
def test_counts_are_exact_but_for_the_bucket_of_the_bound(values_s: list[float]) -> None:
    counted: sketch.Sketch = {}
    for value_s in values_s:
        sketch.insert(counted, value_s)
    bounds_s = [0.001, 0.1, 10.0]
    counts = sketch.counts(counted, sketch.between(bounds_s))
    assert sum(counts) == len(values_s)
    for bound_s, count in zip(bounds_s, accumulate(counts[:-1]), strict=True):
        assert sum(v <= bound_s * 0.97 for v in values_s) <= count <= sum(v <= bound_s * 1.031 for v in values_s)


def test_the_same_names_give_the_same_object_and_others_their_own_numbers() -> None:
    stats = Stats()
    stats.call("r", "b", "1").record(200, None, NEVER, 0.0, 0, 0)
    assert told(stats.call("r", "b", "1")).statuses == {200: 1}
    assert told(stats.call("r", "b", "2")).statuses == {}
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
