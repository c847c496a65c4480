"""The metrics of live exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias, cast

from ...filters.api import Reason
from ..rescue import RESCUES
from .family import Distribution, Entry, Sources
from .stats import CallStats

_Name: TypeAlias = tuple[str, str, str, str]
_CALL: Final = ("route", "backend", "version", "arm")


def _live(sources: Sources) -> Iterator[tuple[_Name, CallStats]]:
    for call in sources.calls:
        key = call.key
        if key.role == "live":
            yield (key.route, key.backend, key.version, key.arm), call


def _durations(sources: Sources) -> Iterator[tuple[tuple[object, ...], Distribution]]:
    return sources.bounds.by_class((name, call.total) for name, call in _live(sources))


def _client_durations(sources: Sources) -> Iterator[tuple[tuple[object, ...], Distribution]]:
    return sources.bounds.by_class((name, call.client) for name, call in _live(sources))


def _first_bytes(sources: Sources) -> Iterator[tuple[_Name, Distribution]]:
    return sources.bounds.each((name, call.first_byte) for name, call in _live(sources))


def _first_tokens(sources: Sources) -> Iterator[tuple[_Name, Distribution]]:
    return sources.bounds.each((name, call.first_token) for name, call in _live(sources))


def _per_chunk(sources: Sources) -> Iterator[tuple[_Name, Distribution]]:
    return sources.bounds.each((name, call.per_chunk) for name, call in _live(sources))


def _requests(sources: Sources) -> Iterator[tuple[tuple[object, ...], int]]:
    for name, call in _live(sources):
        for status, count in sorted(call.statuses.items()):
            yield (*name, status), count


def _failures(sources: Sources) -> Iterator[tuple[tuple[object, ...], int]]:
    for name, call in _live(sources):
        for reason, count in sorted(call.reasons.items()):
            yield (*name, reason, RESCUES[cast(Reason, reason)].blame), count


def _quantiles(sources: Sources) -> Iterator[tuple[tuple[object, ...], float | None]]:
    for call in sources.status.calls:
        name = call.route, call.backend, call.version, call.role
        for measure, latency in (
            ("total", call.total_ms), ("first_byte", call.first_byte_ms),
            ("time_to_first_token", call.first_token_ms), ("time_per_output_chunk", call.per_chunk_ms),
        ):  # fmt: skip
            for quantile, ms in ((0.5, latency.p50), (0.9, latency.p90), (0.99, latency.p99)):
                yield (*name, measure, quantile), None if ms is None else ms / 1000


LIVE: Final = (
    Entry(
        "http.server.request.duration", "s", "histogram", (*_CALL, "status_class"),
        "From a request's head to the last byte of its answer.", _durations,
    ),
    Entry(
        "http.client.request.duration", "s", "histogram", (*_CALL, "status_class"),
        "From asking for a connection to the backend's last byte; live calls only.", _client_durations,
    ),
    Entry(
        "understudy.request.first_byte", "s", "histogram", _CALL,
        "From a request's head to the first byte of its answer.", _first_bytes,
    ),
    Entry(
        "gen_ai.server.time_to_first_token", "s", "histogram", _CALL,
        "From a request's head to the first event with content of a stream of events.", _first_tokens,
    ),
    Entry(
        "understudy.request.time_per_output_chunk", "s", "histogram", _CALL,
        "Of a stream of events, the mean time between two with content.", _per_chunk,
    ),
    Entry(
        "http.server.active_requests", "{request}", "updown", _CALL, "Exchanges that have not ended.",
        lambda sources: ((name, call.in_flight) for name, call in _live(sources)),
    ),
    Entry(
        "understudy.requests", "{request}", "counter", (*_CALL, "status"),
        "Exchanges that ended, by the status the client was told (0: it left).", _requests,
    ),
    Entry(
        "understudy.failures", "{request}", "counter", (*_CALL, "reason", "blame"),
        "Exchanges without the whole answer, by reason.", _failures,
    ),
    Entry(
        "understudy.request.body", "By", "counter", _CALL, "Bytes of request bodies received.",
        lambda sources: ((name, call.request_bytes) for name, call in _live(sources)),
    ),
    Entry(
        "understudy.response.body", "By", "counter", _CALL, "Bytes of answer bodies sent.",
        lambda sources: ((name, call.response_bytes) for name, call in _live(sources)),
    ),
    Entry(
        "understudy.latency.quantile", "s", "gauge",
        ("route", "backend", "version", "role", "measure", "quantile"),
        "Of the last 30 to 60 seconds, within 1.5 %: what the status screen shows.", _quantiles,
    ),
)  # fmt: skip
