"""What the admin API shows, assembled from what control knows."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ...config.redact import redacted
from ...config.schema import Document
from ...filters.units import enc_hook
from ..configuration import Configuration
from ..giving_way import Pieces
from ..iso_time import now_text
from ..processes import usage
from ..status import SCHEMA, Call, Config, FailedCall, LatencyMs, Listener, Pool, Process, Rejection, Status
from ..telemetry.recent import Latency, Recent
from ..telemetry.stats import MOST_KEYS, OVERFLOW, CallStats
from ..telemetry.teller import SPANS_BEYOND_RATE
from ..telemetry.totals import by_backend, summed
from . import compared
from .compared import INSTANCE, Moment

if TYPE_CHECKING:
    from ..control import Control
    from ..worker_process import WorkerProcess

PROGRAM_VERSION = version("understudy")
YOUNG_DEATHS_WARN_S = 600.0
SILENT_TICKS_WARN = 5  # a worker reports every second


def status_of(control: Control) -> Pieces[tuple[Status, Moment]]:
    """Everything `GET /status` says, and the moment of which it is: that of the first piece."""
    summing = compared.moment_of(control)
    supervisor, configuration = control.supervisor, control.configuration
    counters = control.totals.counters()
    lost = control.losses.counts()
    if SPANS_BEYOND_RATE in counters:
        lost[SPANS_BEYOND_RATE] = counters.pop(SPANS_BEYOND_RATE)
    status = Status(
        schema=SCHEMA,
        program_version=PROGRAM_VERSION,
        instance=INSTANCE,
        generated=now_text(),
        state=control.state,
        uptime_s=round(time.monotonic() - control.started_s, 1),
        workers_wanted=supervisor.wanted,
        workers_serving=supervisor.serving,
        worker_restarts=supervisor.restarts,
        config=_config(control),
        calls=[],
        pools=[
            Pool(each.backend, each.endpoint, each.role, each.up, each.active, each.idle, each.connecting, each.pending)
            for each in control.totals.pools()
        ],
        listeners=_listeners(control),
        processes=_processes(control),
        counters=counters,
        failures=_failures(control),
        records_dropped=control.failures.dropped,
        lost=lost,
        not_active=list(configuration.running.warnings) if configuration.running else [],
        warnings=[],
        keys=compared.keys_of(control),
    )
    moment = yield from summing
    status.copies = yield from compared.copies_of(moment)
    status.calls = yield from _calls(control, moment)
    status.comparison = yield from compared.compare_of(control, moment, with_state=False)
    status.warnings = _warnings(control, status)
    return status, moment


def config_of(control: Control) -> dict[str, Any]:
    """What `GET /config` says: the running document without what is secret, defaults left out."""
    configuration = control.configuration
    running = configuration.running
    return {
        "file": str(configuration.path),
        "hash": running.hash if running else None,
        "version": running.version if running else None,
        "since": running.since if running else None,
        "rejected": _rejection(configuration),
        "document": _plain(redacted(running.document)) if running else None,
    }


def _plain(document: Document) -> Any:
    return msgspec.to_builtins(document, enc_hook=enc_hook)


def _rejection(configuration: Configuration) -> Rejection | None:
    refusal, running = configuration.refusal, configuration.running
    if refusal is None:
        return None
    stands = running is not None and running.version == refusal.version
    return Rejection(refusal.when, list(refusal.mistakes), stands)


def _config(control: Control) -> Config:
    configuration = control.configuration
    running = configuration.running
    return Config(
        file=str(configuration.path),
        hash=running.hash if running else "",
        version=running.version if running else 0,
        since=running.since if running else "",
        rejected=_rejection(configuration),
    )


def _calls(control: Control, moment: Moment) -> Pieces[list[Call]]:
    running = moment.running
    backends = running.document.backends if running else {}
    budgets = compared.budgets(running.document, control.supervisor.wanted) if running else {}
    shares = compared.shares(moment)
    found = []
    yield
    by_key = by_backend(moment.calls.values())
    yield
    for key in sorted(by_key, key=lambda key: (key.route, key.role, key)):
        yield
        backend = backends.get(key.backend)
        most = backend.max_in_flight if backend is not None else None
        if key.role == "shadow":
            most = budgets.get((key.route, key.backend))
        found.append(_call(control.recent, summed(key, by_key[key]), most, shares.get(key, compared.Share())))
    return found


def _call(recent: Recent, call: CallStats, max_in_flight: int | None, share: compared.Share) -> Call:
    rate_per_s, errors = recent.rate(call.key), recent.errors(call)
    return Call(
        route=call.key.route,
        backend=call.key.backend,
        version=call.key.version,
        role=call.key.role,
        requests=sum(call.statuses.values()),
        rate_per_s=None if rate_per_s is None else round(rate_per_s, 2),
        in_flight=call.in_flight,
        max_in_flight=max_in_flight,
        errors_ratio=None if errors is None else round(errors, 6),
        statuses={str(status): count for status, count in sorted(call.statuses.items())},
        reasons=dict(sorted(call.reasons.items())),
        first_byte_ms=_latency(recent.first_byte(call)),
        total_ms=_latency(recent.total(call)),
        first_token_ms=_latency(recent.first_token(call)),
        per_chunk_ms=_latency(recent.per_chunk(call)),
        request_bytes=call.request_bytes,
        response_bytes=call.response_bytes,
        want=share.want,
        got=share.got,
    )


def _latency(latency: Latency) -> LatencyMs:
    return LatencyMs(latency.p50, latency.p90, latency.p99)


def _listeners(control: Control) -> list[Listener]:
    counted = {gauge.listener: gauge for gauge in control.totals.listeners()}
    return [
        Listener(
            name, bound.url, *((each.open, each.accepted, each.refused) if (each := counted.get(name)) else (0,) * 3)
        )
        for name, bound in control.listening.bound.items()
    ]


def _failures(control: Control) -> list[FailedCall]:
    return [
        FailedCall(when, each.route, each.backend, each.endpoint, each.status, each.reason, each.request_id,
                   round(each.total_ms, 3))
        for when, each in control.failures.last
    ]  # fmt: skip


def _processes(control: Control) -> list[Process]:
    """Control first, then the workers by slot."""
    now_s = time.monotonic()
    memory_bytes, cpu_s = usage(os.getpid())
    state = "serving" if control.state == "ready" else control.state
    found = [
        Process("control", os.getpid(), state, round(now_s - control.started_s, 1), memory_bytes, cpu_s,
                round(control.lag_s * 1000, 3)),
    ]  # fmt: skip
    for _, worker in sorted(control.supervisor.workers.items()):
        memory_bytes, cpu_s = worker.usage()
        found.append(
            Process(worker.name, worker.pid, _state(control, worker), round(worker.age_s, 1), memory_bytes, cpu_s,
                    round(worker.lag_s * 1000, 3))
        )  # fmt: skip
    return found


def _state(control: Control, worker: WorkerProcess) -> Literal["starting", "serving", "silent", "draining"]:
    if not worker.serving_version:
        return "starting"
    if control.state == "draining":
        return "draining"
    return "silent" if worker.silent_ticks >= SILENT_TICKS_WARN else "serving"


def _warnings(control: Control, status: Status) -> list[str]:
    found: list[str] = []
    if status.workers_serving < status.workers_wanted:
        found.append(f"only {status.workers_serving} of {status.workers_wanted} workers serve")
    recent_deaths = control.supervisor.deaths_since(time.monotonic() - YOUNG_DEATHS_WARN_S)
    if recent_deaths:
        died = "1 worker" if recent_deaths == 1 else f"{recent_deaths} workers"
        found.append(f"{died} died in the last {YOUNG_DEATHS_WARN_S / 60:.0f} minutes")
    found += [
        f"{each.name} (pid {each.pid}) has said nothing for some seconds: who is connected to it waits"
        for each in status.processes
        if each.state == "silent"
    ]
    if status.config.rejected is not None and status.config.rejected.stands:
        found.append("the configuration file was refused; the one before it serves on")
    found += [f"endpoint {pool.endpoint} of {pool.backend} is down" for pool in status.pools if not pool.up]
    if control.access_log.problem:
        found.append(f"the access log cannot be written: {control.access_log.problem}")
    found += control.export.warnings()
    if status.counters.get("metrics_overflow"):
        found.append(f"more than {MOST_KEYS:,} combinations of names were counted: those past it are one, {OVERFLOW}")
    found += compared.warnings_of(status.calls, status.copies, status.keys)
    return found
