"""The metrics of copies, shadows, pairs and splits: families of their own, so that alerts on live calls stay theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ..status import Keys
from .family import Entry, Sources, Values
from .rows import WHOLE, Calls, Rows
from .stats import CopyStats
from .totals import BREAKERS

if TYPE_CHECKING:
    from ..comparison.view import Arm, Comparison

_COPY: Final = ("route", "shadow")
_SHADOW: Final = ("route", "backend", "version")
_PAIR: Final = ("route", "live", "shadow")
_ARM: Final = ("route", "experiment", "arm", "backend", "version")
_VERDICTS: Final = ("slower", "faster", "same", "undecided")


def _compared(sources: Sources) -> Iterable[Comparison]:
    return sources.status.comparison.pairs if sources.status.comparison is not None else ()


def _arms(sources: Sources) -> Iterable[Arm]:
    return sources.status.comparison.arms if sources.status.comparison is not None else ()


_CALLS: Final = Calls("shadow", lambda key: (key.route, key.backend, key.version))
_COPIES: Final = Rows[CopyStats](lambda sources: sources.copies, lambda each: (each.route, each.shadow))
_PAIRS: Final = Rows["Comparison"](_compared, lambda each: (each.route, each.live, each.shadow))
_KEYS: Final = Rows[Keys](lambda sources: sources.status.keys, lambda each: (each.experiment,))
_ARMS: Final = Rows["Arm"](_arms, lambda arm: (arm.route, arm.experiment, arm.arm, arm.backend, arm.version))


def _outcomes(each: CopyStats) -> Iterator[tuple[Values, int]]:
    yield ("complete",), each.complete
    yield ("censored",), each.censored
    for reason, count in sorted((Counter(each.dropped) + Counter(each.failed)).items()):
        yield (reason,), count


def _ratios(each: Comparison) -> Iterator[tuple[Values, float | None]]:
    for measure in ("total", "first_byte", "time_to_first_token", "time_per_output_chunk"):
        found = getattr(each.latency_ms, measure)
        for bound in ("estimate", "low", "high") if found is not None else ():
            yield (measure, bound), getattr(found.ratio, bound)


def _epoch(sources: Sources) -> int | None:
    compare = sources.status.comparison
    return compare.epoch.id if compare is not None and compare.epoch is not None else None


SHADOWS: Final = (
    Entry(
        "understudy.shadow.request.duration", "s", "histogram", (*_SHADOW, "status_class"),
        "From asking for both calls to the last byte of the shadow's answer.",
        _CALLS.by_class(lambda call: call.total),
    ),
    Entry(
        "understudy.shadow.request.first_byte", "s", "histogram", _SHADOW,
        "From asking for both calls to the first byte of the shadow's answer.",
        _CALLS.durations(lambda call: call.first_byte),
    ),
    Entry(
        "understudy.shadow.request.time_to_first_token", "s", "histogram", _SHADOW,
        "From asking for both calls to the shadow's first event with content.",
        _CALLS.durations(lambda call: call.first_token),
    ),
    Entry(
        "understudy.shadow.request.time_per_output_chunk", "s", "histogram", _SHADOW,
        "Of a shadow's stream of events, the mean time between two with content.",
        _CALLS.durations(lambda call: call.per_chunk),
    ),
    Entry(
        "understudy.shadow.active_requests", "{request}", "updown", _SHADOW, "Copies that have not ended.",
        _CALLS.value(lambda call: call.in_flight),
    ),
    Entry(
        "understudy.shadow.requests", "{request}", "counter", (*_SHADOW, "status"),
        "Copies that ended, by the shadow's status (0: none).",
        _CALLS.counts(lambda call: call.statuses),
    ),
    Entry(
        "understudy.shadow.failures", "{request}", "counter", (*_SHADOW, "reason"),
        "Copies without the whole answer, by reason.",
        _CALLS.counts(lambda call: call.reasons),
    ),
    Entry(
        "understudy.mirror.exchanges", "{request}", "counter", _COPY,
        "Exchanges that passed a mirror with this shadow.",
        _COPIES.value(lambda each: each.exchanges),
    ),
    Entry(
        "understudy.mirror.selected", "{copy}", "counter", _COPY, "Copies that condition and percentage asked for.",
        _COPIES.value(lambda each: each.selected),
    ),
    Entry(
        "understudy.mirror.copies", "{copy}", "counter", (*_COPY, "outcome"),
        "Selected copies by what became of them; a reason: never sent, or failed.",
        _COPIES.values(_outcomes),
    ),
    Entry(
        "understudy.mirror.held", "By", "updown", _COPY, "Bytes of bodies kept for copies that lag.",
        _COPIES.value(lambda each: each.held_bytes),
    ),
    Entry(
        "understudy.mirror.breaker", "", "gauge", _COPY,
        "Of the worker where it is worst: 0 closed, 1 probing, 2 open.",
        _COPIES.value(lambda each: BREAKERS.index(each.breaker)),
    ),
    Entry(
        "understudy.pair.latency_ratio", "1", "gauge", (*_PAIR, "measure", "bound"),
        "Shadow over live of this epoch, and its interval.",
        _PAIRS.values(_ratios),
    ),
    Entry(
        "understudy.pair.compared", "{pair}", "gauge", _PAIR, "Pairs of this epoch that the ratio is of.",
        _PAIRS.value(lambda each: each.counts.compared),
    ),
    Entry(
        "understudy.pair.verdict", "", "gauge", (*_PAIR, "verdict"), "1 for the verdict that holds.",
        _PAIRS.values(lambda each: (((verdict,), int(each.verdict.state == verdict)) for verdict in _VERDICTS)),
    ),
    Entry("understudy.epoch", "", "gauge", (), "Number of the epoch since the start.", WHOLE.value(_epoch)),
    Entry(
        "understudy.split.keys", "{request}", "counter", ("experiment", "key"),
        "Requests for which a split drew, by whether they carried a key.",
        _KEYS.values(lambda each: ((("present",), each.requests), (("missing",), each.missing))),
    ),
    Entry(
        "understudy.split.keys_issued", "{request}", "counter", ("experiment",),
        "Requests that were sent a cookie as their key.",
        _KEYS.value(lambda each: each.issued),
    ),
    Entry(
        "understudy.split.hottest_key", "1", "gauge", ("experiment",),
        "Share of the most frequent key, too low by 1/64 at most.",
        _KEYS.value(lambda each: each.hottest),
    ),
    Entry(
        "understudy.split.share", "1", "gauge", (*_ARM, "share"),
        "Of an arm: what its weight wants, and what it got in this epoch.",
        _ARMS.values(lambda arm: ((("want",), arm.want), (("got",), arm.got))),
    ),
)  # fmt: skip
