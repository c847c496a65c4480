"""The state of the whole program at one moment: what `GET /status` says and the screen of `understudy status` shows.

Times are milliseconds where named so; wall-clock times are ISO 8601 in UTC. Unknown is null, never 0.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .comparison.view import Compare

SCHEMA = "understudy.status/1"


class LatencyMs(msgspec.Struct, gc=False):
    """Of the last 30 to 60 seconds, within 1.5 %."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Call(msgspec.Struct, gc=False):
    """One backend version on one route, whichever arm or flag chose it. Counts are since the program started, rates and
    latencies recent; arms are in `Status.comparison`."""

    route: str
    backend: str
    version: str
    role: Literal["live", "shadow"]
    requests: int
    rate_per_s: float | None
    in_flight: int
    max_in_flight: int | None  # None: no such backend in the running configuration
    errors_ratio: float | None  # 5xx among what ended lately
    statuses: dict[str, int]  # "0": the client left before an answer
    reasons: dict[str, int]
    first_byte_ms: LatencyMs
    total_ms: LatencyMs
    first_token_ms: LatencyMs  # of streams of events, to the first with content
    per_chunk_ms: LatencyMs  # and the mean time between two of them
    request_bytes: int
    response_bytes: int
    want: float | None = (
        None  # the share (0..1) of a split that its weight asks for, or of exchanges that a mirror does
    )
    got: float | None = None  # the share that it had since the epoch began


class SizeShare(msgspec.Struct):
    """The copies of requests whose bodies are of one size class."""

    up_to_bytes: int | None  # null: larger than all other classes
    selected: int
    compared: int  # what the ratio is of


class Copies(msgspec.Struct):
    """One shadow of one route since the epoch began; see telemetry/stats.py:CopyStats."""

    route: str
    shadow: str
    exchanges: int
    selected: int
    sent: int
    complete: int
    censored: int
    dropped: dict[str, int]
    by_size: list[SizeShare]
    held_bytes: int  # now
    breaker: Literal["closed", "open", "probing"]  # of the worker where it is worst


class Keys(msgspec.Struct):
    """The keys of one split since the program started."""

    experiment: str
    requests: int  # with a key
    missing: int  # without one
    issued: int  # that were sent a cookie of ours
    hottest: float | None  # the share (0..1) of the most frequent key, too low by 1/64 at most


class Pool(msgspec.Struct):
    """Connections to one endpoint, summed over workers."""

    backend: str
    endpoint: str
    role: Literal["live", "shadow"]
    up: bool
    active: int
    idle: int
    connecting: int
    pending: int  # requests that wait for a connection


class FailedCall(msgspec.Struct):
    """One exchange that ended without the backend's whole answer."""

    when: str
    route: str
    backend: str
    endpoint: str
    status: int
    reason: str
    request_id: str
    total_ms: float


class Listener(msgspec.Struct):
    """One bound address."""

    name: str
    address: str
    open: int
    accepted: int
    refused: int


class Process(msgspec.Struct):
    """Control or a worker."""

    name: str
    pid: int
    state: Literal["starting", "serving", "silent", "draining"]  # silent: a worker that should have told something
    uptime_s: float
    memory_bytes: int | None  # resident
    cpu_s: float | None
    lag_ms: float | None  # how late the event loop's timer was when last looked


class Rejection(msgspec.Struct):
    """A configuration that was refused; the one before it keeps serving."""

    when: str
    mistakes: list[str]
    stands: bool  # no configuration was accepted since


class Config(msgspec.Struct):
    """The running configuration."""

    file: str
    hash: str
    version: int
    since: str
    rejected: Rejection | None


class Status(msgspec.Struct):
    """Everything."""

    schema: str
    program_version: str
    instance: str
    generated: str
    state: Literal["starting", "ready", "draining"]
    uptime_s: float
    workers_wanted: int
    workers_serving: int
    worker_restarts: int
    config: Config
    calls: list[Call]
    pools: list[Pool]
    listeners: list[Listener]
    processes: list[Process]
    counters: dict[str, int]
    failures: list[FailedCall]  # the last ones, oldest first; clients that left are not among them
    records_dropped: int  # of single exchanges, that control did not take from a worker in time
    not_active: list[str]  # configured, but this version does not do it yet
    warnings: list[str]  # what an operator should look at now
    copies: list[Copies] = []
    keys: list[Keys] = []
    lost: dict[str, int] = {}  # what was dropped on its way out of the program, by kind: logs, spans, metrics
    comparison: Compare | None = None  # what `GET /compare` says, without its mergeable state

    def losses(self) -> dict[str, int]:
        """All that telemetry lost, by kind, what control was not told of among it."""
        return {"records": self.records_dropped, **self.lost}
