"""The sums over all workers, dead ones included: what the program as a whole has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, TypeVar

from ...filters.keytally import MOST_HOT
from ...filters.keyuse import KeyUse
from ..messages import Report
from .sketch import add
from .stats import MOST_KEYS, OVERFLOW, SIZE_CLASSES, CallKey, CallStats, CopyStats, ListenerGauge, PoolGauge, Timed

Key = TypeVar("Key", str, tuple[str, str])
Told = TypeVar("Told")


class Totals:
    """Mutable state: each living worker's last report, and the sums of those that are gone.

    Sums never go backwards: when a worker dies, what it had counted is kept.
    """

    def __init__(self) -> None:
        self._calls: dict[int, dict[CallKey, CallStats]] = {}
        self._reports: dict[int, Report] = {}
        self._retired_calls: dict[CallKey, CallStats] = {}
        self._retired_counters: Counter[str] = Counter()
        self._retired_listeners: dict[str, ListenerGauge] = {}
        self._retired_copies: dict[tuple[str, str], CopyStats] = {}
        self._retired_keys: dict[str, KeyUse] = {}
        self._known: set[CallKey] = set()

    def update(self, worker: int, report: Report) -> None:
        """Take a worker's report; what it leaves out stays as it was."""
        former = self._reports.get(worker)
        if report.gauges is None and former is not None:
            report.gauges, report.copies, report.keys = former.gauges, former.copies, former.keys
        self._reports[worker] = report
        calls = self._calls.setdefault(worker, {})
        for call in report.calls:
            calls[call.key] = call
            if len(self._known) < MOST_KEYS:
                self._known.add(call.key)

    def retire(self, worker: int) -> None:
        """The worker is gone: keep its sums, forget what was in flight and connected."""
        self._merge(self._retired_calls, self._calls.pop(worker, {}).values())
        for call in self._retired_calls.values():
            call.in_flight = 0
        report = self._reports.pop(worker, None)
        if report is None:
            return
        self._retired_counters.update(report.counters)
        for gauge in _listeners(report):
            _add_listener(self._retired_listeners, gauge)
        for total in self._retired_listeners.values():
            total.open = 0
        for copies in report.copies:
            _add_copies(self._retired_copies, copies)
        for gone in self._retired_copies.values():
            gone.held_bytes, gone.breaker = 0, "closed"
        for keys in report.keys:
            _add_keys(self._retired_keys, keys)

    def calls(self) -> dict[CallKey, CallStats]:
        """Fresh sums, the caller's own, in the order of names."""
        sums: dict[CallKey, CallStats] = {}
        self._merge(sums, self._retired_calls.values())
        for calls in self._calls.values():
            self._merge(sums, calls.values())
        return dict(sorted(sums.items()))

    def _merge(self, sums: dict[CallKey, CallStats], calls: Iterable[CallStats]) -> None:
        for call in calls:
            _add_call(sums, self._bounded(call.key), call)

    def _bounded(self, key: CallKey) -> CallKey:
        """The key, or the one for all that came when there were `MOST_KEYS`: several workers know more than one."""
        return key if key in self._known else CallKey(OVERFLOW, OVERFLOW, "", key.role)

    def requests(self) -> Counter[CallKey]:
        """How many exchanges ended, by key: cheaper than `calls`."""
        sums: Counter[CallKey] = Counter()
        for calls in (self._retired_calls, *self._calls.values()):
            for key, call in calls.items():
                sums[self._bounded(key)] += sum(call.statuses.values())
        return sums

    def counters(self) -> dict[str, int]:
        """The named counters' sums."""
        sums = Counter(self._retired_counters)
        for report in self._reports.values():
            sums.update(report.counters)
        return dict(sorted(sums.items()))

    def pools(self) -> list[PoolGauge]:
        """Connections by endpoint, summed over workers; an endpoint is up when every worker that uses it says so."""
        sums: dict[tuple[str, str, str], PoolGauge] = {}
        for report in self._reports.values():
            for gauge in report.gauges.pools if report.gauges else ():
                key = (gauge.backend, gauge.endpoint, gauge.role)
                total = sums.setdefault(key, PoolGauge(*key))
                total.active += gauge.active
                total.idle += gauge.idle
                total.connecting += gauge.connecting
                total.pending += gauge.pending
                total.up &= gauge.up
        return [sums[key] for key in sorted(sums)]

    def listeners(self) -> list[ListenerGauge]:
        """Connections by listener, summed over workers, dead ones included."""
        sums = self._summed(self._retired_listeners, _listeners, _add_listener)
        return list(sums.values())

    def copies(self) -> dict[tuple[str, str], CopyStats]:
        """Fresh sums by route and shadow, in the order of names; the breaker is the one that is worst."""
        return self._summed(self._retired_copies, lambda report: report.copies, _add_copies)

    def keys(self) -> dict[str, KeyUse]:
        """Fresh sums by experiment, in the order of names."""
        return self._summed(self._retired_keys, lambda report: report.keys, _add_keys)

    def _summed(
        self,
        retired: dict[Key, Told],
        told: Callable[[Report], Iterable[Told]],
        add_to: Callable[[dict[Key, Told], Told], None],
    ) -> dict[Key, Told]:
        """What is `told` in the last reports, added to what those told that are gone, in the order of names."""
        sums: dict[Key, Told] = {}
        for each in chain(retired.values(), *map(told, self._reports.values())):
            add_to(sums, each)
        return dict(sorted(sums.items()))


def by_backend(calls: Iterable[CallStats]) -> dict[CallKey, CallStats]:
    """Fresh sums of each backend version and role on a route, whichever arm or flag chose it."""
    sums: dict[CallKey, CallStats] = {}
    for call in calls:
        _add_call(sums, call.key._replace(arm=""), call)
    return sums


def _add_call(sums: dict[CallKey, CallStats], key: CallKey, call: CallStats) -> None:
    total = sums.get(key)
    if total is None:
        total = sums[key] = CallStats(key)
    total.in_flight += call.in_flight
    add(total.statuses, call.statuses)
    add(total.reasons, call.reasons)
    _add_timed(total.first_byte, call.first_byte)
    for digit, timed in call.total.items():
        _add_timed(total.total.setdefault(digit, Timed()), timed)
    for digit, timed in call.client.items():
        _add_timed(total.client.setdefault(digit, Timed()), timed)
    total.request_bytes += call.request_bytes
    total.response_bytes += call.response_bytes
    _add_timed(total.first_token, call.first_token)
    _add_timed(total.per_chunk, call.per_chunk)


def _add_timed(sums: Timed, timed: Timed) -> None:
    add(sums.sketch, timed.sketch)
    sums.sum_s += timed.sum_s


def _listeners(report: Report) -> Iterable[ListenerGauge]:
    return report.gauges.listeners if report.gauges else ()


def _add_listener(sums: dict[str, ListenerGauge], gauge: ListenerGauge) -> None:
    total = sums.setdefault(gauge.listener, ListenerGauge(gauge.listener))
    total.open += gauge.open
    total.accepted += gauge.accepted
    total.refused += gauge.refused


BREAKERS: Final = ("closed", "probing", "open")
"""From best to worst."""


def _add_copies(sums: dict[tuple[str, str], CopyStats], copies: CopyStats) -> None:
    name = (copies.route, copies.shadow)
    total = sums.get(name)
    if total is None:
        sizes = len(SIZE_CLASSES) + 1
        total = sums[name] = CopyStats(*name, selected_by_size=[0] * sizes, sent_by_size=[0] * sizes)
    for field in ("exchanges", "selected", "sent", "complete", "censored", "held_bytes"):
        setattr(total, field, getattr(total, field) + getattr(copies, field))
    add(total.dropped, copies.dropped)
    for at, count in enumerate(copies.selected_by_size):
        total.selected_by_size[at] += count
    for at, count in enumerate(copies.sent_by_size):
        total.sent_by_size[at] += count
    total.breaker = max(total.breaker, copies.breaker, key=BREAKERS.index)


def _add_keys(sums: dict[str, KeyUse], keys: KeyUse) -> None:
    """Counts of the hottest keys stay too low by `requests / MOST_HOT` at most: the parts' errors add up to it."""
    total = sums.setdefault(keys.experiment, KeyUse(keys.experiment))
    total.requests += keys.requests
    total.missing += keys.missing
    total.issued += keys.issued
    add(total.hot, keys.hot)
    if len(total.hot) > MOST_HOT:
        total.hot = dict(sorted(total.hot.items(), key=lambda item: item[1], reverse=True)[:MOST_HOT])
