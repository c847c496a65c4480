"""Sums over workers that come, report in parts, and die; and what of them is recent."""

from __future__ import annotations

import pytest
from understudy.filters.api import Exchange, Request
from understudy.filters.keytally import MOST_HOT
from understudy.filters.keyuse import KeyUse
from understudy.proxy.giving_way import whole
from understudy.proxy.messages import Records, Report
from understudy.proxy.telemetry.count import CallTally
from understudy.proxy.telemetry.failures import MOST_KEPT, Failures
from understudy.proxy.telemetry.recent import RATE_TICKS, WINDOW_TICKS, Recent
from understudy.proxy.telemetry.record_sheet import MOST_WAITING
from understudy.proxy.telemetry.records import FailedExchange
from understudy.proxy.telemetry.stats import (
    OVERFLOW,
    CallKey,
    CallStats,
    CopyStats,
    Gauges,
    ListenerGauge,
    PoolGauge,
    Stats,
    told,
)
from understudy.proxy.telemetry.totals import Totals, by_backend, summed

from tests.kit.endings import ending, target

KEY = CallKey("r", "b", "1")
REQUEST = Request(b"GET", b"/", b"a", [])


def call(count: int, *, status: int = 200, seconds: float = 0.01, in_flight: int = 0) -> CallStats:
    each = CallTally(KEY)
    each.in_flight = in_flight
    for _ in range(count):
        each.record(status, None if status < 500 else "overloaded", seconds, seconds, 10, 100)
    return told(each)


def report(*calls: CallStats, gauges: Gauges | None = None, **counters: int) -> Report:
    return Report(list(calls), counters, gauges, 0.0)


def test_two_workers_are_summed() -> None:
    totals = Totals()
    totals.update(0, report(call(3, in_flight=2), retries=1))
    totals.update(1, report(call(4, status=503, in_flight=1), retries=5, rare=1))
    (total,) = totals.calls().values()
    assert total.statuses == {200: 3, 503: 4}
    assert total.reasons == {"overloaded": 4}
    assert (total.in_flight, total.request_bytes, total.response_bytes) == (3, 70, 700)
    assert sum(total.total_sketch().values()) == sum(total.first_byte.sketch.values()) == 7
    assert sum(timed.sum_s for timed in total.total.values()) == pytest.approx(0.07)
    assert totals.counters() == {"rare": 1, "retries": 6}
    assert whole(totals.requests()) == {KEY: 7}


def test_a_later_report_replaces_the_earlier_and_leaves_alone_what_it_does_not_name() -> None:
    totals = Totals()
    other = CallStats(CallKey("r", "other", "1"), statuses={200: 9})
    totals.update(0, report(call(3), other))
    totals.update(0, report(call(5)))
    assert whole(totals.requests()) == {KEY: 5, CallKey("r", "other", "1"): 9}


def test_a_dead_worker_leaves_its_sums_but_nothing_in_flight() -> None:
    totals = Totals()
    gauges = Gauges([PoolGauge("b", "h:1", active=1, idle=2)], [ListenerGauge("in", open=3, accepted=7, refused=1)])
    totals.update(0, report(call(3, in_flight=2), gauges=gauges, retries=1))
    totals.retire(0)
    (total,) = totals.calls().values()
    assert (total.statuses, total.in_flight) == ({200: 3}, 0)
    assert totals.pools() == []
    assert totals.listeners() == [ListenerGauge("in", open=0, accepted=7, refused=1)]
    totals.update(0, report(call(2, in_flight=1), gauges=gauges, retries=1))
    assert whole(totals.requests()) == {KEY: 5}
    assert totals.counters() == {"retries": 2}
    assert totals.listeners() == [ListenerGauge("in", open=3, accepted=14, refused=2)]
    totals.retire(0)
    totals.retire(0)
    assert whole(totals.requests()) == {KEY: 5}


def test_reading_sums_does_not_change_them() -> None:
    totals = Totals()
    totals.update(0, report(call(3)))
    totals.retire(0)
    totals.update(1, report(call(2)))
    first = totals.calls()[KEY]
    first.statuses[200] = 1000
    first.total[2].sketch[0] = 1000
    first.first_byte.sketch[0] = 1000
    assert totals.calls()[KEY].statuses == {200: 5}
    assert sum(totals.calls()[KEY].total_sketch().values()) == 5
    assert sum(totals.calls()[KEY].first_byte.sketch.values()) == 5


def test_classes_of_two_workers_are_summed_each() -> None:
    totals = Totals()
    totals.update(0, report(call(3)))
    totals.update(1, report(call(4, status=503)))
    totals.retire(1)
    totals.update(2, report(call(5, status=503)))
    (total,) = totals.calls().values()
    assert {digit: sum(timed.sketch.values()) for digit, timed in total.total.items()} == {2: 3, 5: 9}
    assert total.total[5].sum_s == pytest.approx(0.09)


def test_keys_past_the_bound_are_one_and_never_go_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.proxy.telemetry.totals.MOST_KEYS", 2)
    totals = Totals()
    others = [CallStats(CallKey("r", "b", str(version)), statuses={200: 1}) for version in range(2, 5)]
    totals.update(0, report(call(3), *others))
    totals.update(1, report(*others[1:]))
    shadow = CallStats(CallKey("r", "b", "9", "shadow"), statuses={200: 7})
    totals.update(1, report(shadow))
    rest = CallKey(OVERFLOW, OVERFLOW, "")
    expected = {KEY: 3, others[0].key: 1, rest: 4, rest._replace(role="shadow"): 7}
    assert whole(totals.requests()) == expected
    assert {key: sum(each.statuses.values()) for key, each in totals.calls().items()} == expected
    totals.retire(1)
    assert whole(totals.requests()) == expected


def test_names_that_are_too_many_only_for_all_workers_together_are_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.proxy.telemetry.totals.MOST_KEYS", 2)
    totals = Totals()
    totals.update(0, report(*(CallStats(CallKey("r", "b", str(version))) for version in range(2))))
    assert "metrics_overflow" not in totals.counters()
    totals.retire(0)
    for _ in range(2):  # the next worker of the slot, which knows one name: it is announced once
        totals.update(0, report(CallStats(CallKey("r", "b", "2"), statuses={200: 1})))
    assert totals.counters() == {"metrics_overflow": 1}


def test_what_dead_workers_counted_of_shadows_keys_and_listeners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.proxy.telemetry.totals.MOST_KEYS", 2)
    totals = Totals()

    def sums() -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, int]]:
        return (
            {name: each.selected for name, each in totals.copies().items()},
            {name: each.requests for name, each in totals.keys().items()},
            {each.listener: each.accepted for each in totals.listeners()},
        )

    for number in range(4):  # a worker with a configuration of its own names, for each
        names = [OVERFLOW, f"e{number}"] if number == 3 else [f"e{number}"]  # it refused some itself, and counted that
        told = report(gauges=Gauges([], [ListenerGauge(name, open=1, accepted=7) for name in names]))
        told.copies = [CopyStats(name, name, selected=2, held_bytes=5) for name in names]
        told.keys = [KeyUse(name, requests=3, hot={"k": 3}) for name in names]
        totals.update(0, told)
        totals.update(0, report())  # leaves them out: they are as they were, and refused once
        before = sums()
        totals.retire(0)
        assert sums() == before, "nothing goes backwards as its worker dies"
    assert sums() == (
        {(OVERFLOW, OVERFLOW): 6, ("e0", "e0"): 2, ("e1", "e1"): 2},
        {OVERFLOW: 9, "e0": 3, "e1": 3},
        {OVERFLOW: 21, "e0": 7, "e1": 7},
    )
    assert totals.counters() == {"metrics_overflow": 6}


def test_an_endpoint_is_up_when_every_worker_says_so() -> None:
    totals = Totals()
    totals.update(0, report(gauges=Gauges([PoolGauge("b", "h:1", active=1), PoolGauge("b", "h:2", idle=1)])))
    totals.update(1, report(gauges=Gauges([PoolGauge("b", "h:1", active=2, up=False), PoolGauge("b", "h:2")])))
    assert [(each.endpoint, each.active, each.up) for each in totals.pools()] == [("h:1", 3, False), ("h:2", 0, True)]


def test_gauges_of_a_report_in_parts_are_kept_until_the_next() -> None:
    totals = Totals()
    totals.update(0, report(gauges=Gauges([PoolGauge("b", "h:1", active=1)])))
    totals.update(0, report(call(1), gauges=None))
    assert [each.active for each in totals.pools()] == [1]


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    totals = Totals()
    recent = Recent(totals)
    assert recent.rate(KEY) is None
    for second in range(30):
        totals.update(0, report(call(5 * second)))
        whole(recent.tick(float(second)))
    assert recent.rate(KEY) == 5.0
    for second in range(30, 30 + RATE_TICKS):
        whole(recent.tick(float(second)))
    assert recent.rate(KEY) == 0.0


def test_latencies_and_errors_are_those_of_the_last_minute_at_most() -> None:
    totals = Totals()
    recent = Recent(totals)

    def pass_time(windows: int) -> None:
        for _ in range(WINDOW_TICKS * windows):
            whole(recent.tick(0.0))

    totals.update(0, report(call(100, status=500, seconds=1.0)))
    before = totals.calls()[KEY]
    assert recent.errors(before) == 1.0
    assert recent.total(before).p50 == pytest.approx(1000, rel=0.02)
    pass_time(2)
    assert recent.errors(totals.calls()[KEY]) is None
    assert recent.total(totals.calls()[KEY]).p99 is None
    both = CallTally(KEY)
    for _ in range(100):
        both.record(500, "overloaded", 1.0, 1.0, 10, 100)
    for _ in range(50):
        both.record(200, None, 0.002, 0.004, 0, 0)
    totals.update(0, report(told(both)))
    now = totals.calls()[KEY]
    assert recent.errors(now) == 0.0
    assert recent.first_byte(now).p99 == pytest.approx(2, rel=0.02)
    assert recent.total(now).p99 == pytest.approx(4, rel=0.02)


def test_what_a_backend_did_lately_is_that_of_all_its_arms() -> None:
    totals = Totals()
    recent = Recent(totals)

    def spoke(first_s: float) -> CallStats:
        totals.update(0, report(*(told(arms[name]) for name in arms)))
        for arm in arms.values():
            arm.record_stream(first_s, first_s / 10)
            arm.record(200, None, 0.001, 2 * first_s, 0, 0)
        totals.update(0, report(*(told(arms[name]) for name in arms)))
        return summed(KEY, by_backend(totals.calls().values())[KEY])

    arms = {name: CallTally(KEY._replace(arm=name)) for name in ("", "a", "b")}
    before = spoke(1.0)
    assert recent.first_token(before).p50 == pytest.approx(1000, rel=0.02)
    whole(recent.tick(0.0))
    for _ in range(2 * WINDOW_TICKS):
        whole(recent.tick(0.0))
    assert recent.first_token(before).p50 is recent.per_chunk(before).p50 is recent.total(before).p50 is None
    now = spoke(0.1)
    assert recent.first_token(now).p99 == pytest.approx(100, rel=0.02)
    assert recent.per_chunk(now).p99 == pytest.approx(10, rel=0.02)
    assert recent.total(now).p99 == pytest.approx(200, rel=0.02)
    assert now.first_token.sum_s == pytest.approx(3.3)
    whole(recent.tick(10.0))
    assert recent.rate(KEY) == 0.3


def failed(number: int) -> FailedExchange:
    return FailedExchange("r", "b", "h:1", 502, "upstream_closed", f"id-{number}", 1.0)


def test_the_last_failures_of_all_workers_are_kept_and_losses_counted_beyond_a_death() -> None:
    failures = Failures()
    failures.take(0, Records([failed(number) for number in range(MOST_KEPT)], dropped=3))
    failures.take(1, Records([failed(MOST_KEPT)], dropped=4))
    assert [each.exchange.request_id for each in failures.last][:: MOST_KEPT - 1] == ["id-1", f"id-{MOST_KEPT}"]
    assert failures.dropped == 7
    failures.retire(0)
    failures.take(0, Records([], dropped=1))
    assert failures.dropped == 8


def test_a_worker_keeps_so_many_failures_for_control_and_no_more() -> None:
    stats = Stats()
    end = ending(status=502, reason="upstream_closed", ended=100.5, target=target("h", 1))
    for number in range(MOST_WAITING + 5):
        stats.fail(Exchange(REQUEST, "r", "b", b"id-%d" % number, "127.0.0.1", False), end)
    taken, _, _ = stats.records.take()
    assert (len(taken), stats.records.dropped) == (MOST_WAITING, 5)
    assert taken[0] == FailedExchange("r", "b", "h:1", 502, "upstream_closed", "id-0", 500.0)
    assert len(stats.records) == 0


def test_a_failure_names_the_endpoint_that_could_not_be_reached_and_no_backend_where_none_was_asked() -> None:
    stats = Stats()
    exchange = Exchange(REQUEST, "r", "b", b"id", "127.0.0.1", False)
    stats.fail(exchange, ending(status=503, reason="connect_failed", tried=target("h", 1)))
    stats.fail(exchange, ending(status=503, reason="overloaded"))
    stats.fail(exchange, ending(status=400, reason="key_missing", asked=0.0))
    found = [(each.backend, each.endpoint) for each in stats.records.take()[0]]
    assert found == [("b", "h:1"), ("b", ""), ("", "")]


def copies(selected: int, *, sent: int = 0, held_bytes: int = 0, breaker: str = "closed", **dropped: int) -> CopyStats:
    counted = Stats()
    counted.copies_of("r", "next")
    (stats,) = counted.copies()
    stats.exchanges, stats.selected, stats.sent, stats.complete = selected + 1, selected, sent, sent
    stats.selected_by_size[0], stats.compared_by_size[0] = selected, sent
    stats.dropped, stats.held_bytes = dropped, held_bytes
    stats.breaker = breaker  # type: ignore[assignment]
    return stats


def mirrored(*each: CopyStats) -> Report:
    whole = report(gauges=Gauges())
    whole.copies = list(each)
    return whole


def test_copies_are_summed_over_workers_and_the_worst_breaker_shows() -> None:
    totals = Totals()
    totals.update(0, mirrored(copies(5, sent=4, held_bytes=10, budget_bytes=1)))
    totals.update(1, mirrored(copies(7, sent=4, held_bytes=5, breaker="open", budget_bytes=1, breaker_open=2)))
    found = totals.copies()["r", "next"]
    assert (found.exchanges, found.selected, found.sent, found.complete) == (14, 12, 8, 8)
    assert found.dropped == {"budget_bytes": 2, "breaker_open": 2}
    assert (found.selected_by_size[0], found.compared_by_size[0], found.held_bytes, found.breaker) == (
        12,
        8,
        15,
        "open",
    )


def test_copies_of_a_dead_worker_stay_counted_but_hold_nothing() -> None:
    totals = Totals()
    totals.update(0, mirrored(copies(5, sent=4, held_bytes=10, breaker="open", budget_bytes=1)))
    totals.retire(0)
    totals.update(0, mirrored(copies(2, sent=2)))
    found = totals.copies()["r", "next"]
    assert (found.selected, found.sent, found.dropped) == (7, 6, {"budget_bytes": 1})
    assert (found.held_bytes, found.breaker) == (0, "closed")
    totals.retire(0)
    assert totals.copies()["r", "next"].selected_by_size[0] == 7


def test_copies_and_keys_of_a_report_in_parts_are_kept_until_the_next() -> None:
    totals = Totals()
    first = mirrored(copies(5))
    first.keys = [KeyUse("e", 3)]
    totals.update(0, first)
    totals.update(0, report(call(1), gauges=None))
    assert totals.copies()["r", "next"].selected == 5
    assert totals.keys()["e"].requests == 3


def test_keys_are_summed_over_workers_living_and_dead_and_the_hottest_stay() -> None:
    totals = Totals()
    for worker in range(3):
        stats = Stats()
        use = stats.key_use("e")
        for number in range(300):
            use.note(1 if number % 2 else worker * 1000 + number)
        use.missing, use.issued = 4, 2
        whole = report(gauges=Gauges())
        whole.keys = stats.key_uses()
        totals.update(worker, whole)
    totals.retire(2)
    found = totals.keys()["e"]
    assert (found.requests, found.missing, found.issued) == (900, 12, 6)
    assert len(found.hot) <= MOST_HOT
    assert max(found.hot, key=found.hot.__getitem__) == 1
    assert 450 - 900 / MOST_HOT <= found.hot[1] <= 450
