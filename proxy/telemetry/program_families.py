"""The metrics of the program itself: connections, configuration, processes, and what telemetry lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from .family import Entry, Sources

_Values: TypeAlias = tuple[object, ...]
_POOL: Final = ("backend", "endpoint", "role")
_STATES: Final = ("active", "idle", "connecting")


def _connections(sources: Sources) -> Iterator[tuple[_Values, int]]:
    for each in sources.status.pools:
        for state in _STATES:
            yield (each.backend, each.endpoint, each.role, state), getattr(each, state)


def _workers(sources: Sources) -> Iterator[tuple[_Values, int]]:
    yield ("wanted",), sources.status.workers_wanted
    yield ("serving",), sources.status.workers_serving


def _reloads(sources: Sources) -> Iterator[tuple[_Values, int]]:
    yield ("accepted",), sources.status.config.version
    yield ("rejected",), sources.rejected


def _lags(sources: Sources) -> Iterator[tuple[_Values, float | None]]:
    for each in sources.status.processes:
        yield (each.name,), None if each.lag_ms is None else each.lag_ms / 1000


PROGRAM: Final = (
    Entry(
        "understudy.pool.connections", "{connection}", "updown", (*_POOL, "state"), "Connections to an endpoint.",
        _connections,
    ),
    Entry(
        "understudy.pool.pending_requests", "{request}", "updown", _POOL, "Requests that wait for a connection.",
        lambda sources: (((each.backend, each.endpoint, each.role), each.pending) for each in sources.status.pools),
    ),
    Entry(
        "understudy.endpoint.up", "", "gauge", _POOL, "Whether an endpoint is used.",
        lambda sources: (((each.backend, each.endpoint, each.role), int(each.up)) for each in sources.status.pools),
    ),
    Entry(
        "understudy.listener.connections", "{connection}", "updown", ("listener",), "Open connections of callers.",
        lambda sources: (((each.name,), each.open) for each in sources.status.listeners),
    ),
    Entry(
        "understudy.listener.accepted", "{connection}", "counter", ("listener",), "Connections accepted.",
        lambda sources: (((each.name,), each.accepted) for each in sources.status.listeners),
    ),
    Entry(
        "understudy.listener.refused", "{connection}", "counter", ("listener",),
        "Connections refused over the listener's limit.",
        lambda sources: (((each.name,), each.refused) for each in sources.status.listeners),
    ),
    Entry(
        "understudy.events", "{event}", "counter", ("event",), "Rare events, by name.",
        lambda sources: (((name,), count) for name, count in sources.status.counters.items()),
    ),
    Entry(
        "understudy.telemetry.dropped", "{item}", "counter", ("kind",),
        "What was not told: nobody took it in time, or the rate had no room for it.",
        lambda sources: (((kind,), count) for kind, count in sorted(sources.lost.items())),
    ),
    Entry("understudy.workers", "{process}", "gauge", ("state",), "Worker processes.", _workers),
    Entry(
        "understudy.worker.restarts", "{process}", "counter", (), "Workers that died and were replaced.",
        lambda sources: [((), sources.status.worker_restarts)],
    ),
    Entry(
        "understudy.ready", "", "gauge", (), "1 while /readyz answers 200.",
        lambda sources: [((), int(sources.status.state == "ready"))],
    ),
    Entry(
        "understudy.config.info", "", "gauge", ("hash", "version"), "The running configuration.",
        lambda sources: [((sources.status.config.hash, sources.status.config.version), 1)],
    ),
    Entry(
        "understudy.config.reloads", "{reload}", "counter", ("result",),
        "Configurations accepted (the first included) and rejected.", _reloads,
    ),
    Entry(
        "understudy.build.info", "", "gauge", ("version",), "This program.",
        lambda sources: [((sources.status.program_version,), 1)],
    ),
    Entry(
        "process.memory.usage", "By", "updown", ("process",), "Resident memory of a process.",
        lambda sources: (((each.name,), each.memory_bytes) for each in sources.status.processes),
    ),
    Entry(
        "process.cpu.time", "s", "counter", ("process",), "CPU time of a process; a replaced worker starts at 0.",
        lambda sources: (((each.name,), each.cpu_s) for each in sources.status.processes),
    ),
    Entry(
        "understudy.process.loop_lag", "s", "gauge", ("process",),
        "How late the event loop's timer was when last looked.", _lags,
    ),
)  # fmt: skip
