"""The metrics of copies, shadows, pairs and splits: families of their own, so that alerts on live calls stay theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from .exposition import Exposition
from .stats import CallStats, CopyStats
from .totals import BREAKERS

if TYPE_CHECKING:
    from ..comparison.view import Comparison
    from ..status import Status

Sample: TypeAlias = tuple[Mapping[str, object], float | None]


def write_shadows(out: Exposition, status: Status, calls: Sequence[CallStats], copies: Sequence[CopyStats]) -> None:
    """Nothing where nothing is mirrored or split."""
    _copies(out, copies)
    _shadows(out, [call for call in calls if call.key.role == "shadow"])
    _pairs(out, status)
    _splits(out, status)


def _copies(out: Exposition, copies: Sequence[CopyStats]) -> None:
    named = [({"route": each.route, "shadow": each.shadow}, each) for each in copies]
    out.family(
        "understudy_mirror_exchanges_total", "counter", "Exchanges that passed a mirror with this shadow.",
        ((name, each.exchanges) for name, each in named),
    )  # fmt: skip
    out.family(
        "understudy_mirror_selected_total", "counter", "Copies that condition and percentage asked for.",
        ((name, each.selected) for name, each in named),
    )  # fmt: skip
    out.family(
        "understudy_mirror_copies_total", "counter", "Selected copies by what became of them; a reason: never sent.",
        (
            ({**name, "outcome": outcome}, count)
            for name, each in named
            for outcome, count in (*_ends(each), *sorted(each.dropped.items()))
        ),
    )  # fmt: skip
    out.family(
        "understudy_mirror_held_bytes", "gauge", "Bytes of bodies kept for copies that lag.",
        ((name, each.held_bytes) for name, each in named),
    )  # fmt: skip
    out.family(
        "understudy_mirror_breaker", "gauge", "Of the worker where it is worst: 0 closed, 1 probing, 2 open.",
        ((name, BREAKERS.index(each.breaker)) for name, each in named),
    )  # fmt: skip


def _ends(each: CopyStats) -> Iterator[tuple[str, int]]:
    yield "complete", each.complete
    yield "censored", each.censored


def _shadows(out: Exposition, calls: Sequence[CallStats]) -> None:
    named = [
        ({"route": call.key.route, "backend": call.key.backend, "version": call.key.version}, call) for call in calls
    ]
    out.family(
        "understudy_shadow_requests_total", "counter", "Copies that ended, by the shadow's status (0: none).",
        (({**name, "status": status}, n) for name, call in named for status, n in sorted(call.statuses.items())),
    )  # fmt: skip
    out.family(
        "understudy_shadow_failures_total", "counter", "Copies without the whole answer, by reason.",
        (({**name, "reason": reason}, n) for name, call in named for reason, n in sorted(call.reasons.items())),
    )  # fmt: skip
    out.histogram(
        "understudy_shadow_request_duration_seconds", "From asking for both calls to the last byte of the answer.",
        ((name, call.total, call.total_s) for name, call in named),
    )  # fmt: skip
    out.histogram(
        "understudy_shadow_request_first_byte_seconds", "From asking for both calls to the first byte of the answer.",
        ((name, call.first_byte, call.first_byte_s) for name, call in named),
    )  # fmt: skip
    out.family(
        "understudy_shadow_requests_in_flight", "gauge", "Copies that have not ended.",
        ((name, call.in_flight) for name, call in named),
    )  # fmt: skip


def _pairs(out: Exposition, status: Status) -> None:
    compare = status.comparison
    named = [
        ({"route": each.route, "live": str(each.live), "shadow": str(each.shadow)}, each)
        for each in (compare.pairs if compare is not None else ())
    ]
    out.family(
        "understudy_pair_latency_ratio", "gauge", "Shadow over live of this epoch, and its interval.",
        (sample for name, each in named for sample in _ratios(name, each)),
    )  # fmt: skip
    out.family(
        "understudy_pairs_compared", "gauge", "Pairs of this epoch that the ratio is of.",
        ((name, each.counts.compared) for name, each in named),
    )  # fmt: skip
    out.family(
        "understudy_pair_verdict", "gauge", "1 for the verdict that holds.",
        (
            ({**name, "verdict": verdict}, each.verdict.state == verdict)
            for name, each in named
            for verdict in ("slower", "faster", "same", "undecided")
        ),
    )  # fmt: skip
    if compare is not None and compare.epoch is not None:
        out.family("understudy_epoch", "gauge", "Number of the epoch since the start.", (({}, compare.epoch.id),))


def _ratios(name: Mapping[str, object], each: Comparison) -> Iterator[Sample]:
    for measure in ("total", "first_byte"):
        ratio = getattr(each.latency_ms, measure).ratio
        for bound in ("estimate", "low", "high"):
            yield {**name, "measure": measure, "bound": bound}, getattr(ratio, bound)


def _splits(out: Exposition, status: Status) -> None:
    named = [({"experiment": each.experiment}, each) for each in status.keys]
    out.family(
        "understudy_split_keys_total", "counter", "Requests for which a split drew, by whether they carried a key.",
        (
            ({**name, "key": key}, count)
            for name, each in named
            for key, count in (("present", each.requests), ("missing", each.missing))
        ),
    )  # fmt: skip
    out.family(
        "understudy_split_keys_issued_total", "counter", "Requests that were sent a cookie as their key.",
        ((name, each.issued) for name, each in named),
    )  # fmt: skip
    out.family(
        "understudy_split_hottest_key_ratio", "gauge", "Share of the most frequent key, too low by 1/64 at most.",
        ((name, each.hottest) for name, each in named),
    )  # fmt: skip
