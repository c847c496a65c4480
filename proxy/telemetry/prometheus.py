"""What `GET /metrics` says. Every name and label value here is documented in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ...filters.api import Reason
from ..rescue import RESCUES
from ..status import Status
from .exposition import CONTENT_TYPE, Exposition
from .shadow_metrics import write_shadows
from .stats import CallStats, CopyStats

__all__ = ["CONTENT_TYPE", "render"]


def render(status: Status, calls: Sequence[CallStats], copies: Sequence[CopyStats], rejected: int) -> str:
    """The whole page: `status` for what is now, `calls` and `copies` for the sums since the start."""
    out = Exposition()
    _calls(out, calls)
    write_shadows(out, status, calls, copies)
    _connections(out, status)
    _program(out, status, rejected)
    return out.text()


def _calls(out: Exposition, calls: Sequence[CallStats]) -> None:
    named = [
        ({"route": call.key.route, "backend": call.key.backend, "version": call.key.version, "arm": call.key.arm}, call)
        for call in calls
        if call.key.role == "live"
    ]
    out.family(
        "understudy_requests_total", "counter", "Exchanges that ended, by the status the client was told (0: it left).",
        (({**name, "status": status}, n) for name, call in named for status, n in sorted(call.statuses.items())),
    )  # fmt: skip
    out.family(
        "understudy_failures_total", "counter", "Exchanges without the whole answer, by reason.",
        (
            ({**name, "reason": reason, "blame": RESCUES[cast(Reason, reason)].blame}, n)
            for name, call in named
            for reason, n in sorted(call.reasons.items())
        ),
    )  # fmt: skip
    out.histogram(
        "understudy_request_duration_seconds", "From a request's head to the last byte of its answer.",
        ((name, call.total, call.total_s) for name, call in named),
    )  # fmt: skip
    out.histogram(
        "understudy_request_first_byte_seconds", "From a request's head to the first byte of its answer.",
        ((name, call.first_byte, call.first_byte_s) for name, call in named),
    )  # fmt: skip
    out.family(
        "understudy_requests_in_flight", "gauge", "Exchanges that have not ended.",
        ((name, call.in_flight) for name, call in named),
    )  # fmt: skip
    out.family(
        "understudy_request_body_bytes_total", "counter", "Bytes of request bodies received.",
        ((name, call.request_bytes) for name, call in named),
    )  # fmt: skip
    out.family(
        "understudy_response_body_bytes_total", "counter", "Bytes of answer bodies sent.",
        ((name, call.response_bytes) for name, call in named),
    )  # fmt: skip


def _connections(out: Exposition, status: Status) -> None:
    pools = [({"backend": pool.backend, "endpoint": pool.endpoint, "role": pool.role}, pool) for pool in status.pools]
    out.family(
        "understudy_pool_connections", "gauge", "Connections to an endpoint.",
        (({**name, "state": state}, getattr(pool, state)) for name, pool in pools
         for state in ("active", "idle", "connecting")),
    )  # fmt: skip
    out.family(
        "understudy_pool_pending_requests", "gauge", "Requests that wait for a connection.",
        ((name, pool.pending) for name, pool in pools),
    )  # fmt: skip
    out.family(
        "understudy_endpoint_up", "gauge", "Whether an endpoint is used.", ((name, pool.up) for name, pool in pools)
    )
    listeners = [({"listener": each.name}, each) for each in status.listeners]
    out.family(
        "understudy_listener_connections", "gauge", "Open connections of callers.",
        ((name, each.open) for name, each in listeners),
    )  # fmt: skip
    out.family(
        "understudy_listener_accepted_total", "counter", "Connections accepted.",
        ((name, each.accepted) for name, each in listeners),
    )  # fmt: skip
    out.family(
        "understudy_listener_refused_total", "counter", "Connections refused over the listener's limit.",
        ((name, each.refused) for name, each in listeners),
    )  # fmt: skip


def _program(out: Exposition, status: Status, rejected: int) -> None:
    out.family(
        "understudy_events_total", "counter", "Rare events, by name.",
        (({"event": name}, count) for name, count in status.counters.items()),
    )  # fmt: skip
    out.family(
        "understudy_telemetry_dropped_total", "counter", "What was not told because nobody took it in time.",
        (({"kind": "records"}, status.records_dropped),),
    )  # fmt: skip
    out.family(
        "understudy_workers", "gauge", "Worker processes.",
        (({"state": "wanted"}, status.workers_wanted), ({"state": "serving"}, status.workers_serving)),
    )  # fmt: skip
    out.family(
        "understudy_worker_restarts_total", "counter", "Workers that died and were replaced.",
        (({}, status.worker_restarts),),
    )  # fmt: skip
    out.family(
        "understudy_ready", "gauge", "1 while /readyz answers 200.", (({}, status.state == "ready"),)
    )  # fmt: skip
    out.family(
        "understudy_config_info", "gauge", "The running configuration.",
        (({"hash": status.config.hash, "version": status.config.version}, 1),),
    )  # fmt: skip
    out.family(
        "understudy_config_reloads_total", "counter", "Configurations accepted (the first included) and rejected.",
        (({"result": "accepted"}, status.config.version), ({"result": "rejected"}, rejected)),
    )  # fmt: skip
    out.family("understudy_build_info", "gauge", "This program.", (({"version": status.program_version}, 1),))
    processes = [({"process": each.name}, each) for each in status.processes]
    out.family(
        "understudy_process_resident_bytes", "gauge", "Resident memory of a process.",
        ((name, each.memory_bytes) for name, each in processes),
    )  # fmt: skip
    out.family(
        "understudy_process_cpu_seconds_total", "counter", "CPU time of a process; a replaced worker starts at 0.",
        ((name, each.cpu_s) for name, each in processes),
    )  # fmt: skip
    out.family(
        "understudy_process_loop_lag_seconds", "gauge", "How late the event loop's timer was when last looked.",
        ((name, None if each.lag_ms is None else each.lag_ms / 1000) for name, each in processes),
    )  # fmt: skip
