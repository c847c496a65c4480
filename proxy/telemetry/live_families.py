"""The metrics of live exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from ...filters.api import Reason
from ..rescue import RESCUES
from ..status import Call
from .family import Entry, Values
from .rows import Calls, Rows
from .stats import CallStats

_CALL: Final = ("route", "backend", "version", "arm")
_CALLS: Final = Calls("live", lambda key: (key.route, key.backend, key.version, key.arm))
_LATELY: Final = Rows[Call](
    lambda sources: sources.status.calls, lambda call: (call.route, call.backend, call.version, call.role)
)


def _failures(call: CallStats) -> Iterator[tuple[Values, int]]:
    for reason, count in sorted(call.reasons.items()):
        yield (reason, RESCUES[cast(Reason, reason)].blame), count


def _quantiles(call: Call) -> Iterator[tuple[Values, float | None]]:
    for measure, latency in (
        ("total", call.total_ms), ("first_byte", call.first_byte_ms),
        ("time_to_first_token", call.first_token_ms), ("time_per_output_chunk", call.per_chunk_ms),
    ):  # fmt: skip
        for quantile, ms in ((0.5, latency.p50), (0.9, latency.p90), (0.99, latency.p99)):
            yield (measure, quantile), None if ms is None else ms / 1000


LIVE: Final = (
    Entry(
        "http.server.request.duration", "s", "histogram", (*_CALL, "status_class"),
        "From a request's head to the last byte of its answer.",
        _CALLS.by_class(lambda call: call.total),
    ),
    Entry(
        "http.client.request.duration", "s", "histogram", (*_CALL, "status_class"),
        "From asking for a connection to the backend's last byte; live calls only.",
        _CALLS.by_class(lambda call: call.client),
    ),
    Entry(
        "understudy.request.first_byte", "s", "histogram", _CALL,
        "From a request's head to the first byte of its answer.",
        _CALLS.durations(lambda call: call.first_byte),
    ),
    Entry(
        "gen_ai.server.time_to_first_token", "s", "histogram", _CALL,
        "From a request's head to the first event with content of a stream of events.",
        _CALLS.durations(lambda call: call.first_token),
    ),
    Entry(
        "gen_ai.server.time_per_output_token", "s", "histogram", _CALL,
        "Of a stream of events, the mean time between two with content; each is taken for a token.",
        _CALLS.durations(lambda call: call.per_chunk),
    ),
    Entry(
        "http.server.active_requests", "{request}", "updown", _CALL,
        "Exchanges for which a backend is being asked and that have not ended.",
        _CALLS.value(lambda call: call.in_flight),
    ),
    Entry(
        "understudy.requests", "{request}", "counter", (*_CALL, "status"),
        "Exchanges that ended, by the status the client was told (0: it left).",
        _CALLS.counts(lambda call: call.statuses),
    ),
    Entry(
        "understudy.failures", "{request}", "counter", (*_CALL, "reason", "blame"),
        "Exchanges without the whole answer, by reason.",
        _CALLS.values(_failures),
    ),
    Entry(
        "understudy.request.body", "By", "counter", _CALL, "Bytes of request bodies received.",
        _CALLS.value(lambda call: call.request_bytes),
    ),
    Entry(
        "understudy.response.body", "By", "counter", _CALL, "Bytes of answer bodies sent.",
        _CALLS.value(lambda call: call.response_bytes),
    ),
    Entry(
        "understudy.latency.quantile", "s", "gauge",
        ("route", "backend", "version", "role", "measure", "quantile"),
        "Of the last 30 to 60 seconds, within 1.5 %: what the status screen shows.",
        _LATELY.values(_quantiles),
    ),
)  # fmt: skip
