"""Droppable records: what a worker tells control once, about single exchanges, and may lose."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class FailedExchange(msgspec.Struct, array_like=True, gc=False):
    """An exchange that ended without the backend's whole answer, save that its client simply left."""

    route: str
    backend: str  # "" when none was asked
    endpoint: str  # that was asked last, reached or not; "" when none was chosen
    status: int  # what the client was told
    reason: str
    request_id: str
    total_ms: float


class StreamTimes(msgspec.Struct, array_like=True, gc=False):
    """What a streamed answer (server-sent events) adds to a call's times."""

    first_token_ms: float | None  # from the call's start to the first event with content; the role's event has none
    per_chunk_ms: float | None  # mean time between two events with content; None where all came at once
    chunks: int  # events with content


class PairKind(msgspec.Struct, array_like=True, gc=False):
    """What pairs of a kind have in common.

    An outcome is "complete" or a reason: of contract.md's table for the live call, of a dropped or failed copy for the
    shadow's. `censored`: the copy was cut short, so that it counts as at least `shadow_total_ms` slow. `tainted`: the
    live answer was held back by its client, so that its total is no measure of the backend.
    """

    route: str
    arm: str
    config: int  # version of the snapshot
    live: str  # backend
    live_version: str
    shadow: str
    shadow_version: str
    live_status: int
    shadow_status: int  # 0: no answer
    live_outcome: str
    shadow_outcome: str
    sent: bool  # False: the copy was dropped before anything was sent
    censored: bool
    tainted: bool
    calibration: bool


class Pair(PairKind, array_like=True, gc=False):
    """The live and the shadow call of one exchange. Times are milliseconds since both were asked for; None: never.

    Control is told of pairs by the kind, as `PairsOfKind`; this is one of them, spelled out.
    """

    request_id: str
    live_first_byte_ms: float | None
    live_total_ms: float | None
    shadow_first_byte_ms: float | None
    shadow_total_ms: float | None
    live_gap_ms: float | None  # the longest silence within the answer's body
    shadow_gap_ms: float | None
    request_bytes: int
    live_bytes: int
    shadow_bytes: int
    live_stream: StreamTimes | None = None  # None: no stream of events, or none that could be read
    shadow_stream: StreamTimes | None = None  # likewise, and where live's is None


class PairsOfKind(msgspec.Struct, array_like=True, gc=False):
    """Pairs of one kind as a worker tells them; pairs.py packs and unpacks what sets them apart."""

    kind: PairKind
    figures: bytes
    request_ids: bytes
    streams: bytes = b""  # where the live answers were streams of events


class ShadowLine(msgspec.Struct, gc=False):
    """A copy, in a line of the access log."""

    backend: str
    version: str
    status: int
    outcome: str
    first_byte_ms: float | None
    total_ms: float | None


class Line(msgspec.Struct, gc=False, kw_only=True):
    """A line of the access log, in the order of JSON; what is UNSET is left out. Sizes are bytes of bodies."""

    time: str
    request_id: str
    trace_id: str | UnsetType = UNSET
    method: str
    path: str
    http_version: str
    status: int
    reason: str
    route: str
    flags: dict[str, str] | UnsetType = UNSET
    experiment: str | UnsetType = UNSET
    arm: str | UnsetType = UNSET
    backend: str
    version: str
    endpoint: str
    first_byte_ms: float | None
    total_ms: float
    request_bytes: int
    response_bytes: int
    client: str
    resent: int
    shadows: list[ShadowLine] | UnsetType = UNSET
    time_to_first_token_ms: float | UnsetType | None = UNSET
    time_per_output_chunk_ms: float | UnsetType | None = UNSET
    output_chunks: int | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET  # all that were told: the access log may name fewer


class SpanBatch(msgspec.Struct, array_like=True, gc=False):
    """Spans as otlp.py has them, behind each other."""

    count: int
    encoded: bytes
