"""The metrics of copies, shadows, pairs and splits: families of their own, so that alerts on live calls stay theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from .family import Distribution, Entry, Sources
from .stats import CallStats, CopyStats
from .totals import BREAKERS

if TYPE_CHECKING:
    from ..comparison.view import Comparison

_Values: TypeAlias = tuple[object, ...]
_COPY: Final = ("route", "shadow")
_SHADOW: Final = ("route", "backend", "version")
_PAIR: Final = ("route", "live", "shadow")
_VERDICTS: Final = ("slower", "faster", "same", "undecided")


def _copies(sources: Sources) -> Iterator[tuple[_Values, CopyStats]]:
    return (((each.route, each.shadow), each) for each in sources.copies)


def _outcomes(sources: Sources) -> Iterator[tuple[_Values, int]]:
    for name, each in _copies(sources):
        yield (*name, "complete"), each.complete
        yield (*name, "censored"), each.censored
        for reason, count in sorted(each.dropped.items()):
            yield (*name, reason), count


def _shadows(sources: Sources) -> Iterator[tuple[_Values, CallStats]]:
    for call in sources.calls:
        if call.key.role == "shadow":
            yield (call.key.route, call.key.backend, call.key.version), call


def _durations(sources: Sources) -> Iterator[tuple[_Values, Distribution]]:
    return sources.bounds.by_class((name, call.total) for name, call in _shadows(sources))


def _first_bytes(sources: Sources) -> Iterator[tuple[_Values, Distribution]]:
    return sources.bounds.each((name, call.first_byte) for name, call in _shadows(sources))


def _first_tokens(sources: Sources) -> Iterator[tuple[_Values, Distribution]]:
    return sources.bounds.each((name, call.first_token) for name, call in _shadows(sources))


def _per_chunk(sources: Sources) -> Iterator[tuple[_Values, Distribution]]:
    return sources.bounds.each((name, call.per_chunk) for name, call in _shadows(sources))


def _requests(sources: Sources) -> Iterator[tuple[_Values, int]]:
    for name, call in _shadows(sources):
        for status, count in sorted(call.statuses.items()):
            yield (*name, status), count


def _failures(sources: Sources) -> Iterator[tuple[_Values, int]]:
    for name, call in _shadows(sources):
        for reason, count in sorted(call.reasons.items()):
            yield (*name, reason), count


def _pairs(sources: Sources) -> Iterator[tuple[_Values, Comparison]]:
    compare = sources.status.comparison
    for each in compare.pairs if compare is not None else ():
        yield (each.route, str(each.live), str(each.shadow)), each


def _ratios(sources: Sources) -> Iterator[tuple[_Values, float | None]]:
    for name, each in _pairs(sources):
        for measure in ("total", "first_byte", "time_to_first_token", "time_per_output_chunk"):
            found = getattr(each.latency_ms, measure)
            for bound in ("estimate", "low", "high") if found is not None else ():
                yield (*name, measure, bound), getattr(found.ratio, bound)


def _verdicts(sources: Sources) -> Iterator[tuple[_Values, int]]:
    for name, each in _pairs(sources):
        for verdict in _VERDICTS:
            yield (*name, verdict), int(each.verdict.state == verdict)


def _epoch(sources: Sources) -> Iterator[tuple[_Values, int | None]]:
    compare = sources.status.comparison
    if compare is not None and compare.epoch is not None:
        yield (), compare.epoch.id


def _keys(sources: Sources) -> Iterator[tuple[_Values, int]]:
    for each in sources.status.keys:
        yield (each.experiment, "present"), each.requests
        yield (each.experiment, "missing"), each.missing


def _shares(sources: Sources) -> Iterator[tuple[_Values, float | None]]:
    compare = sources.status.comparison
    for arm in compare.arms if compare is not None else ():
        name = arm.route, arm.experiment, arm.arm, arm.backend, arm.version
        yield (*name, "want"), arm.want
        yield (*name, "got"), arm.got


SHADOWS: Final = (
    Entry(
        "understudy.shadow.request.duration", "s", "histogram", (*_SHADOW, "status_class"),
        "From asking for both calls to the last byte of the shadow's answer.", _durations,
    ),
    Entry(
        "understudy.shadow.request.first_byte", "s", "histogram", _SHADOW,
        "From asking for both calls to the first byte of the shadow's answer.", _first_bytes,
    ),
    Entry(
        "understudy.shadow.request.time_to_first_token", "s", "histogram", _SHADOW,
        "From asking for both calls to the shadow's first event with content.", _first_tokens,
    ),
    Entry(
        "understudy.shadow.request.time_per_output_chunk", "s", "histogram", _SHADOW,
        "Of a shadow's stream of events, the mean time between two with content.", _per_chunk,
    ),
    Entry(
        "understudy.shadow.active_requests", "{request}", "updown", _SHADOW, "Copies that have not ended.",
        lambda sources: ((name, call.in_flight) for name, call in _shadows(sources)),
    ),
    Entry(
        "understudy.shadow.requests", "{request}", "counter", (*_SHADOW, "status"),
        "Copies that ended, by the shadow's status (0: none).", _requests,
    ),
    Entry(
        "understudy.shadow.failures", "{request}", "counter", (*_SHADOW, "reason"),
        "Copies without the whole answer, by reason.", _failures,
    ),
    Entry(
        "understudy.mirror.exchanges", "{request}", "counter", _COPY,
        "Exchanges that passed a mirror with this shadow.",
        lambda sources: ((name, each.exchanges) for name, each in _copies(sources)),
    ),
    Entry(
        "understudy.mirror.selected", "{copy}", "counter", _COPY, "Copies that condition and percentage asked for.",
        lambda sources: ((name, each.selected) for name, each in _copies(sources)),
    ),
    Entry(
        "understudy.mirror.copies", "{copy}", "counter", (*_COPY, "outcome"),
        "Selected copies by what became of them; a reason: never sent.", _outcomes,
    ),
    Entry(
        "understudy.mirror.held", "By", "updown", _COPY, "Bytes of bodies kept for copies that lag.",
        lambda sources: ((name, each.held_bytes) for name, each in _copies(sources)),
    ),
    Entry(
        "understudy.mirror.breaker", "", "gauge", _COPY,
        "Of the worker where it is worst: 0 closed, 1 probing, 2 open.",
        lambda sources: ((name, BREAKERS.index(each.breaker)) for name, each in _copies(sources)),
    ),
    Entry(
        "understudy.pair.latency_ratio", "1", "gauge", (*_PAIR, "measure", "bound"),
        "Shadow over live of this epoch, and its interval.", _ratios,
    ),
    Entry(
        "understudy.pair.compared", "{pair}", "gauge", _PAIR, "Pairs of this epoch that the ratio is of.",
        lambda sources: ((name, each.counts.compared) for name, each in _pairs(sources)),
    ),
    Entry("understudy.pair.verdict", "", "gauge", (*_PAIR, "verdict"), "1 for the verdict that holds.", _verdicts),
    Entry("understudy.epoch", "", "gauge", (), "Number of the epoch since the start.", _epoch),
    Entry(
        "understudy.split.keys", "{request}", "counter", ("experiment", "key"),
        "Requests for which a split drew, by whether they carried a key.", _keys,
    ),
    Entry(
        "understudy.split.keys_issued", "{request}", "counter", ("experiment",),
        "Requests that were sent a cookie as their key.",
        lambda sources: (((each.experiment,), each.issued) for each in sources.status.keys),
    ),
    Entry(
        "understudy.split.hottest_key", "1", "gauge", ("experiment",),
        "Share of the most frequent key, too low by 1/64 at most.",
        lambda sources: (((each.experiment,), each.hottest) for each in sources.status.keys),
    ),
    Entry(
        "understudy.split.share", "1", "gauge", ("route", "experiment", "arm", "backend", "version", "share"),
        "Of an arm: what its weight wants, and what it got in this epoch.", _shares,
    ),
)  # fmt: skip
