"""The metrics of the program itself: connections, configuration, processes, and what telemetry lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..status import Listener, Pool, Process
from .family import Entry, Sources, Values
from .rows import WHOLE, Rows

_POOL: Final = ("backend", "endpoint", "role")
_STATES: Final = ("active", "idle", "connecting")
_POOLS: Final = Rows[Pool](lambda sources: sources.status.pools, lambda each: (each.backend, each.endpoint, each.role))
_LISTENERS: Final = Rows[Listener](lambda sources: sources.status.listeners, lambda each: (each.name,))
_PROCESSES: Final = Rows[Process](lambda sources: sources.status.processes, lambda each: (each.name,))


def _workers(sources: Sources) -> Iterator[tuple[Values, int]]:
    yield ("wanted",), sources.status.workers_wanted
    yield ("serving",), sources.status.workers_serving


def _reloads(sources: Sources) -> Iterator[tuple[Values, int]]:
    yield ("accepted",), sources.status.config.version
    yield ("rejected",), sources.rejected


def _cpu_s(sources: Sources) -> Iterator[tuple[Values, float]]:
    """A replaced worker goes on where the one before it ended: sums do not fall."""
    spent = dict(sources.ended_cpu_s)
    for each in sources.status.processes:
        if each.cpu_s is not None:
            spent[each.name] = spent.get(each.name, 0.0) + each.cpu_s
    for name, seconds in sorted(spent.items()):
        yield (name,), seconds


PROGRAM: Final = (
    Entry(
        "understudy.pool.connections", "{connection}", "updown", (*_POOL, "state"), "Connections to an endpoint.",
        _POOLS.values(lambda each: (((state,), getattr(each, state)) for state in _STATES)),
    ),
    Entry(
        "understudy.pool.pending_requests", "{request}", "updown", _POOL, "Requests that wait for a connection.",
        _POOLS.value(lambda each: each.pending),
    ),
    Entry(
        "understudy.endpoint.up", "", "gauge", _POOL, "Whether an endpoint is used.",
        _POOLS.value(lambda each: int(each.up)),
    ),
    Entry(
        "understudy.listener.connections", "{connection}", "updown", ("listener",), "Open connections of callers.",
        _LISTENERS.value(lambda each: each.open),
    ),
    Entry(
        "understudy.listener.accepted", "{connection}", "counter", ("listener",), "Connections accepted.",
        _LISTENERS.value(lambda each: each.accepted),
    ),
    Entry(
        "understudy.listener.refused", "{connection}", "counter", ("listener",),
        "Connections refused over the listener's limit.",
        _LISTENERS.value(lambda each: each.refused),
    ),
    Entry(
        "understudy.events", "{event}", "counter", ("event",), "Rare events, by name.",
        WHOLE.counts(lambda sources: sources.status.counters),
    ),
    Entry(
        "understudy.telemetry.dropped", "{item}", "counter", ("kind",),
        "What was not told: nobody took it in time, or the rate had no room for it.",
        WHOLE.counts(lambda sources: sources.lost),
    ),
    Entry("understudy.workers", "{process}", "gauge", ("state",), "Worker processes.", WHOLE.values(_workers)),
    Entry(
        "understudy.worker.restarts", "{process}", "counter", (), "Workers that died and were replaced.",
        WHOLE.value(lambda sources: sources.status.worker_restarts),
    ),
    Entry(
        "understudy.ready", "", "gauge", (), "1 while /readyz answers 200.",
        WHOLE.value(lambda sources: int(sources.status.state == "ready")),
    ),
    Entry(
        "understudy.config.info", "", "gauge", ("hash", "version"), "The running configuration.",
        WHOLE.values(lambda sources: [((sources.status.config.hash, sources.status.config.version), 1)]),
    ),
    Entry(
        "understudy.config.reloads", "{reload}", "counter", ("result",),
        "Configurations accepted (the first included) and rejected.", WHOLE.values(_reloads),
    ),
    Entry(
        "understudy.build.info", "", "gauge", ("version",), "This program.",
        WHOLE.values(lambda sources: [((sources.status.program_version,), 1)]),
    ),
    Entry(
        "process.memory.usage", "By", "updown", ("process",), "Resident memory of a process.",
        _PROCESSES.value(lambda each: each.memory_bytes),
    ),
    Entry(
        "process.cpu.time", "s", "counter", ("process",), "CPU time of a process and of those that it replaced.",
        WHOLE.values(_cpu_s),
    ),
    Entry(
        "understudy.process.loop_lag", "s", "gauge", ("process",),
        "How late the event loop's timer was when last looked.",
        _PROCESSES.value(lambda each: None if each.lag_ms is None else each.lag_ms / 1000),
    ),
)  # fmt: skip
