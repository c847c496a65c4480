"""The sums over all workers, dead ones included: what the program as a whole has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from ...filters.keytally import MOST_HOT
from ...filters.keyuse import KeyUse
from ..giving_way import Pieces, whole
from ..messages import Report
from .sketch import add
from .stats import MOST_KEYS, OVERFLOW, SIZE_CLASSES, CallKey, CallStats, CopyStats, ListenerGauge, PoolGauge, Timed

Key = TypeVar("Key", bound=str | tuple[str, ...])
Told = TypeVar("Told")


class _Names(Generic[Key, Told]):
    """Under which names things of one kind are counted. Mutable state: the names that are `_known`, the first
    `MOST_KEYS` of all workers, dead ones included; all others are counted as the `rest`."""

    def __init__(self, name_of: Callable[[Told], Key], rest: Callable[[Key], Key]) -> None:
        self._name_of = name_of
        self._rest = rest
        self._known: set[Key] = set()

    def of(self, each: Told) -> Key:
        """The name that it is counted under."""
        return self.counted(self._name_of(each))

    def counted(self, name: Key) -> Key:
        """The name, or that of the rest."""
        return name if name in self._known else self._rest(name)

    def refused(self, told: Iterable[Told], before: Iterable[Told]) -> int:
        """Know what a worker tells, as far as there is room; how many names were refused that it did not tell before.
        What it refused itself it has counted."""
        unknown = {name for name in map(self._name_of, told) if not self._knows(name)}
        return len(unknown.difference(map(self._name_of, before))) if unknown else 0

    def _knows(self, name: Key) -> bool:
        if len(self._known) < MOST_KEYS:
            self._known.add(name)
        return name in self._known or name == self._rest(name)


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
        self._call_names = _Names(_call_name, lambda name: CallKey(OVERFLOW, OVERFLOW, "", name.role))
        self._listener_names = _Names(_listener_name, lambda _: OVERFLOW)
        self._copy_names = _Names(_copy_name, lambda _: (OVERFLOW, OVERFLOW))
        self._key_names = _Names(_key_name, lambda _: OVERFLOW)

    def update(self, worker: int, report: Report) -> None:
        """Take a worker's report; what it leaves out stays as it was."""
        former = self._reports.get(worker) or Report([], {}, None, 0.0)
        if report.gauges is None:
            report.gauges, report.copies, report.keys = former.gauges, former.copies, former.keys
        self._reports[worker] = report
        calls = self._calls.setdefault(worker, {})
        refused = (
            self._call_names.refused(report.calls, calls.values())
            + self._listener_names.refused(_listeners(report), _listeners(former))
            + self._copy_names.refused(report.copies, former.copies)
            + self._key_names.refused(report.keys, former.keys)
        )
        if refused:
            self._retired_counters["metrics_overflow"] += refused  # each worker knows few names, all workers too many
        calls.update((call.key, call) for call in report.calls)

    def retire(self, worker: int) -> None:
        """The worker is gone: keep its sums, forget what was in flight and connected."""
        self._retired_calls = whole(self._summed_calls((self._retired_calls, self._calls.pop(worker, {}))))
        for key, call in self._retired_calls.items():
            self._retired_calls[key] = replace(call, in_flight=0)
        report = self._reports.pop(worker, None)
        if report is None:
            return
        self._retired_counters.update(report.counters)
        for gauge in _listeners(report):
            _add_listener(self._retired_listeners, self._listener_names.of(gauge), gauge)
        for total in self._retired_listeners.values():
            total.open = 0
        self._retired_copies = whole(
            _summed([*self._retired_copies.values(), *report.copies], self._copy_names, _add_copies)
        )
        for gone in self._retired_copies.values():
            gone.held_bytes, gone.breaker = 0, "closed"
        for keys in report.keys:
            _add_keys(self._retired_keys, self._key_names.of(keys), keys)

    def calls(self) -> dict[CallKey, CallStats]:
        """The sums of this moment, in the order of names: nobody changes them any more."""
        return whole(self.calls_in_pieces())

    def calls_in_pieces(self) -> Pieces[dict[CallKey, CallStats]]:
        """Likewise; all are of the moment when this is called."""
        return self._summed_calls([dict(calls) for calls in (self._retired_calls, *self._calls.values())])

    def _summed_calls(self, tables: Iterable[Mapping[CallKey, CallStats]]) -> Pieces[dict[CallKey, CallStats]]:
        parts: dict[CallKey, list[CallStats]] = {}
        for table in tables:
            for key, call in table.items():
                parts.setdefault(self._call_names.counted(key), []).append(call)
            yield
        sums: dict[CallKey, CallStats] = {}
        for key in sorted(parts):
            sums[key] = summed(key, parts[key])
            yield
        return sums

    def requests(self) -> Pieces[Counter[CallKey]]:
        """How many exchanges ended, by key: cheaper than `calls`."""
        sums: Counter[CallKey] = Counter()
        for calls in (self._retired_calls, *self._calls.values()):
            yield
            for key, call in calls.items():
                sums[self._call_names.counted(key)] += sum(call.statuses.values())
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
        told = [*self._retired_listeners.values(), *chain.from_iterable(map(_listeners, self._reports.values()))]
        return list(whole(_summed(told, self._listener_names, _add_listener)).values())

    def copies(self) -> dict[tuple[str, str], CopyStats]:
        """Fresh sums by route and shadow, in the order of names; the breaker is the one that is worst."""
        return whole(self.copies_in_pieces())

    def copies_in_pieces(self) -> Pieces[dict[tuple[str, str], CopyStats]]:
        """Likewise; all are of the moment when this is called."""
        told = [*self._retired_copies.values(), *(each for report in self._reports.values() for each in report.copies)]
        return _summed(told, self._copy_names, _add_copies)

    def keys(self) -> dict[str, KeyUse]:
        """Fresh sums by experiment, in the order of names."""
        told = [*self._retired_keys.values(), *(each for report in self._reports.values() for each in report.keys)]
        return whole(_summed(told, self._key_names, _add_keys))


def _summed(
    told: Iterable[Told], names: _Names[Key, Told], add_to: Callable[[dict[Key, Told], Key, Told], None]
) -> Pieces[dict[Key, Told]]:
    """Fresh sums, in the order of names."""
    sums: dict[Key, Told] = {}
    for each in told:
        add_to(sums, names.of(each), each)
        yield
    return dict(sorted(sums.items()))


def by_backend(calls: Iterable[CallStats]) -> dict[CallKey, list[CallStats]]:
    """The calls of each backend version and role on a route, whichever arm or flag chose it: for `summed`."""
    found: dict[CallKey, list[CallStats]] = {}
    for call in calls:
        found.setdefault(call.key._replace(arm="") if call.key.arm else call.key, []).append(call)
    return found


def summed(key: CallKey, calls: Sequence[CallStats]) -> CallStats:
    """The sum of these, under this name. It shares what is in one that is alone: it must not be changed."""
    if len(calls) == 1:
        return calls[0] if calls[0].key == key else replace(calls[0], key=key)
    total = CallStats(key)
    for call in calls:
        _add_call(total, call)
    return total


def _add_call(total: CallStats, call: CallStats) -> None:
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


def _call_name(call: CallStats) -> CallKey:
    return call.key


def _listener_name(gauge: ListenerGauge) -> str:
    return gauge.listener


def _copy_name(copies: CopyStats) -> tuple[str, str]:
    return copies.route, copies.shadow


def _key_name(keys: KeyUse) -> str:
    return keys.experiment


def _listeners(report: Report) -> Iterable[ListenerGauge]:
    return report.gauges.listeners if report.gauges else ()


def _add_listener(sums: dict[str, ListenerGauge], name: str, gauge: ListenerGauge) -> None:
    total = sums.setdefault(name, ListenerGauge(name))
    total.open += gauge.open
    total.accepted += gauge.accepted
    total.refused += gauge.refused


BREAKERS: Final = ("closed", "probing", "open")
"""From best to worst."""


def _add_copies(sums: dict[tuple[str, str], CopyStats], name: tuple[str, str], copies: CopyStats) -> None:
    total = sums.get(name)
    if total is None:
        sizes = len(SIZE_CLASSES) + 1
        total = sums[name] = CopyStats(*name, selected_by_size=[0] * sizes, compared_by_size=[0] * sizes)
    for field in ("exchanges", "selected", "sent", "complete", "censored", "held_bytes"):
        setattr(total, field, getattr(total, field) + getattr(copies, field))
    add(total.dropped, copies.dropped)
    add(total.failed, copies.failed)
    for at, count in enumerate(copies.selected_by_size):
        total.selected_by_size[at] += count
    for at, count in enumerate(copies.compared_by_size):
        total.compared_by_size[at] += count
    total.breaker = max(total.breaker, copies.breaker, key=BREAKERS.index)


def _add_keys(sums: dict[str, KeyUse], name: str, keys: KeyUse) -> None:
    """Counts of the hottest keys stay too low by `requests / MOST_HOT` at most: the parts' errors add up to it."""
    total = sums.setdefault(name, KeyUse(name))
    total.requests += keys.requests
    total.missing += keys.missing
    total.issued += keys.issued
    add(total.hot, keys.hot)
    if len(total.hot) > MOST_HOT:
        total.hot = dict(sorted(total.hot.items(), key=lambda item: item[1], reverse=True)[:MOST_HOT])
